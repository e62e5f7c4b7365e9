/**
 * Batches of datagrams as an attacker on the path sends them: noise, messages cut, grown, flipped,
 * replayed, mixed, and sealed by a peer that has valid keys but bad intentions; singly and as runs whose
 * stride lies (PF-36).
 */
import type { PlaneReceive } from "../../bindings/plane/index.ts";
import { concatBytes, ip, type SocketAddress } from "../../src/base/index.ts";
import type { SessionKeys } from "../../src/plane/index.ts";
import { sealMessage } from "../twin/plane/message.ts";
import { STUN_HEADER } from "../unit/plane/pair.ts";
import type { Chance } from "./chance.ts";
import { createInnerPackets, type InnerPackets } from "./inner-packets.ts";
import {
  BY_FLOW,
  CHANNEL,
  ENDPOINT,
  LIMITS,
  OWN,
  type PlaneWorld,
  peerNamed,
  RELAY,
  type WorldPeer,
} from "./plane-world.ts";

export interface DatagramSource {
  batch(): PlaneReceive;
  /** A message that must pass, on a session that nobody else uses up. */
  honest(): { readonly message: Uint8Array; readonly packet: Uint8Array };
}

const REMEMBERED = 200;
const ELSEWHERE: readonly SocketAddress[] = [
  ENDPOINT,
  { ...ENDPOINT, port: 4001 },
  { ...ENDPOINT, port: 3478 },
  RELAY,
  { ...RELAY, port: 3479 },
  { address: ip("2001:db8::1"), port: 4000 },
];

/** One who sends: an attacker with valid keys and all the messages that were good once. */
interface Source {
  readonly chance: Chance;
  readonly mallory: WorldPeer;
  readonly alice: WorldPeer;
  readonly inner: InnerPackets;
  readonly innerOfAlice: InnerPackets;
  /** What passes whatever control has decided about flows. */
  readonly honest: InnerPackets;
  /** Messages that were good when they were made. */
  readonly captured: Uint8Array[];
  /** The next counter of each session. */
  readonly counters: Map<SessionKeys, bigint>;
}

/** Several datagrams in one buffer, as the kernel joins them. */
type Joined = Pick<PlaneReceive, "bytes" | "segmentBytes">;

export function createDatagramSource(chance: Chance, world: PlaneWorld): DatagramSource {
  const mallory = peerNamed(world.peers, "mallory");
  const alice = peerNamed(world.peers, "alice");
  const bob = peerNamed(world.peers, "bob");
  const granted = world.policy.ownAddresses ?? [ip("10.2.0.9"), ip("fd02::9")];
  const byFlow = world.mode === "gateway" ? BY_FLOW : [];
  const innerOf = (
    own: WorldPeer,
    others: readonly WorldPeer[],
    destinations: readonly Uint8Array[] = [...granted, ...byFlow],
    isPassing = false,
  ) =>
    createInnerPackets(chance, {
      own: [own.v4, own.v6],
      foreign: others.flatMap(({ v4, v6 }) => [v4, v6]),
      destinations,
      payloadMax: world.mtu - 80,
      isPassing,
    });
  const source: Source = {
    chance,
    mallory,
    alice,
    inner: innerOf(mallory, [alice, bob]),
    innerOfAlice: innerOf(alice, [mallory, bob]),
    honest: innerOf(mallory, [alice, bob], granted, true),
    captured: [],
    counters: new Map(),
  };
  return { batch: () => batch(source), honest: () => honest(source) };
}

function batch(source: Source): PlaneReceive {
  const { chance } = source;
  const shape = chance.below(8);
  const joined = chance.isOneIn(8) ? stunFlood : heap;
  const body = shape === 0 ? joined(source) : shape <= 2 ? run(source) : { bytes: datagram(source) };
  const from = chance.isOneIn(4) ? chance.pick(ELSEWHERE) : ENDPOINT;
  const local = chance.isOneIn(64) ? {} : { local: OWN.address };
  return { from, ...local, ecn: chance.pick([0, 0, 1, 2, 3]), ...body };
}

function honest({ mallory, honest: inner, counters }: Source): ReturnType<DatagramSource["honest"]> {
  const packet = inner.good();
  const session = firstOf(mallory.sessions);
  const next = counters.get(session) ?? 0n;
  counters.set(session, next + 1n);
  return { packet, message: sealMessage(session.receiveKey, session.local, next, packet) };
}

function seal(source: Source, session: SessionKeys, text: Uint8Array): Uint8Array {
  const { chance, captured } = source;
  const message = sealMessage(session.receiveKey, session.local, nextCounter(source, session), text);
  if (captured.length < REMEMBERED) captured.push(message);
  else captured[chance.below(REMEMBERED)] = message;
  return message;
}

/** Mostly the next; also gaps, late ones, and on one session leaps to the limits. */
function nextCounter({ chance, counters }: Source, session: SessionKeys): bigint {
  const next = counters.get(session) ?? 0n;
  const isLeaper = session.generation === 4;
  const way = chance.below(20);
  if (way === 0) return next > 50n ? next - BigInt(chance.between(1, 50)) : next;
  if (way === 1 && isLeaper) {
    return LIMITS.rejectAfterMessages + BigInt(chance.between(-1, 2));
  }
  if (way === 2 && isLeaper) return 2n ** 64n - BigInt(chance.between(1, 3));
  const leap = way === 3 ? chance.pick([1, 63, 64, 65, 8127, 8128, 8129, 20_000]) : 0;
  counters.set(session, next + BigInt(leap) + 1n);
  return next + BigInt(leap);
}

function sealed(source: Source): Uint8Array {
  const { chance, mallory, alice, inner, innerOfAlice } = source;
  const isAlice = chance.isOneIn(8);
  const { sessions } = isAlice ? alice : mallory;
  const session = chance.isOneIn(8) ? chance.pick(sessions) : firstOf(sessions);
  const text = chance.isOneIn(12) ? new Uint8Array() : (isAlice ? innerOfAlice : inner).hostile();
  // A peer pads, and an odd one pads with anything.
  const padding = chance.isOneIn(3) ? chance.bytes(chance.below(20)) : new Uint8Array();
  return seal(source, session, concatBytes(text, padding).subarray(0, 1500));
}

/** Something that was authentic, no longer as it was. */
function damaged(source: Source): Uint8Array {
  const { chance, captured } = source;
  const original = captured.length === 0 ? sealed(source) : chance.pick(captured);
  const copy = Uint8Array.from(original);
  switch (chance.below(6)) {
    case 0:
      return copy.subarray(0, chance.below(copy.length));
    case 1:
      return concatBytes(copy, chance.bytes(chance.between(1, 40)));
    case 2:
      copy.set(chance.bytes(4), 4);
      return copy;
    case 3:
      // The right peer, another session number.
      copy[4] = chance.below(256);
      return copy;
    case 4:
      copy.set(chance.bytes(8), 8);
      return copy;
    default: {
      const at = chance.isOneIn(2) ? chance.below(16) : chance.below(copy.length);
      copy[at] = (copy[at] ?? 0) ^ (1 << chance.below(8));
      return copy;
    }
  }
}

/** Looks like something: WireGuard of every type and length, STUN, channel data. */
function shaped(source: Source): Uint8Array {
  const { chance, mallory } = source;
  const length = chance.pick([4, 20, 28, 31, 32, 33, 63, 64, 65, 91, 92, 93, 147, 148, 149, 300]);
  const bytes = chance.bytes(length);
  const view = new DataView(bytes.buffer);
  switch (chance.below(3)) {
    case 0:
      view.setUint32(0, chance.pick([1, 2, 3, 4, 4, 5, 0, 0x104, 0x1000004]), true);
      if (length >= 8 && chance.isOneIn(2)) view.setUint32(4, chance.pick(mallory.sessions).local, true);
      return bytes;
    case 1:
      view.setUint16(0, chance.pick([0x0001, 0x0101, 0x0111, 0x0004, 0x0400, 0x4001]));
      view.setUint16(2, length - 20 + chance.pick([0, 0, 0, 4, 1]));
      if (length >= 8) view.setUint32(4, chance.pick([0x2112a442, 0x2112a442, 0x2112a443]));
      return bytes;
    default:
      return channelData(chance, chance.pick([bytes, sealed(source), damaged(source)]));
  }
}

function channelData(chance: Chance, message: Uint8Array): Uint8Array {
  const header = new Uint8Array(4);
  const view = new DataView(header.buffer);
  view.setUint16(0, chance.pick([CHANNEL, CHANNEL, CHANNEL, 0x4000, 0x4fff, 0x5000]));
  view.setUint16(2, Math.max(0, message.length + chance.pick([0, 0, 0, 1, -1, -3, -4])));
  return concatBytes(header, message, chance.bytes(chance.pick([0, 0, 1, 3, 4])));
}

/** One datagram of any kind. */
function datagram(source: Source): Uint8Array {
  const { chance, captured } = source;
  switch (chance.below(8)) {
    case 0:
      return chance.bytes(chance.pick([1, 3, 31, 32, 33, chance.below(1600)]));
    case 1:
      return shaped(source);
    case 2:
    case 3:
      return damaged(source);
    case 4:
      return captured.length === 0 ? sealed(source) : chance.pick(captured);
    default:
      return sealed(source);
  }
}

/** A run as the kernel joins it: equal lengths, and bad ones among them. */
function run(source: Source): Joined {
  const { chance, mallory, inner } = source;
  const session = chance.pick(mallory.sessions.slice(0, 2));
  const messages = inner.run(chance.between(2, 45)).map((packet) => {
    const message = seal(source, session, packet);
    return chance.isOneIn(10) ? damaged(source) : message;
  });
  const segmentBytes = firstOf(messages).length;
  const whole = messages.map((message) => {
    const cell = new Uint8Array(segmentBytes);
    cell.set(message.subarray(0, segmentBytes));
    return cell;
  });
  return { bytes: concatBytes(...whole).subarray(0, 65_536), segmentBytes };
}

/** More STUN in one receive than the ring holds entries. */
function stunFlood({ chance }: Source): Joined {
  const count = chance.between(900, 1200);
  return { bytes: concatBytes(...Array<Uint8Array>(count).fill(STUN_HEADER)), segmentBytes: 20 };
}

/** Anything behind anything, cut into pieces of some length. */
function heap(source: Source): Joined {
  const { chance } = source;
  const pieces = Array.from({ length: chance.between(1, 12) }, () => datagram(source));
  const bytes = concatBytes(...pieces);
  const first = firstOf(pieces).length;
  const strides = [first, first, first + 1, first - 1, 1, 31, 32, 96, 1500, 4000, 65_535, 0];
  return { bytes, segmentBytes: Math.max(0, chance.pick(strides)) };
}

function firstOf<T>(list: readonly T[]): T {
  const [first] = list;
  if (first === undefined) throw new Error("an empty list");
  return first;
}
