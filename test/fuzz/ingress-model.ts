/**
 * What must become of a received batch, datagram by datagram, computed from the specification with
 * Node's own cryptography (WG-47, PG-48, SN-98 to SN-102, TN-3, TN-38, TN-61). It knows nothing of the
 * plane's memory.
 */

import type { Reason } from "../../bindings/memory/index.ts";
import type { PlaneReceive } from "../../bindings/plane/index.ts";
import { copyOf, equalSocketAddress, type Instant, type SocketAddress } from "../../src/base/index.ts";
import { parsePacket } from "../../src/packet/index.ts";
import type { DataPunt, PlaneEvent } from "../../src/plane/index.ts";
import { isStunShaped } from "../../src/stun/index.ts";
import { openMessage } from "../twin/plane/message.ts";
import { markCongestion } from "./congestion.ts";
import { acceptCounter, isFresh, type PeerModel, type SessionModel } from "./peer-model.ts";
import { LIMITS, type PlaneWorld } from "./plane-world.ts";
import { judgeIngress } from "./policy-model.ts";
import { dropIn, mayBeJudged, mayRefuse, mayReport, puntIn, type WorkerModel } from "./worker-model.ts";

export interface IngressModel {
  /** Judges a batch and returns the packets that must come out, in order. */
  receive(now: Instant, batch: PlaneReceive): readonly Uint8Array[];
  /** Sessions that accepted something in the last batch, by local index. */
  readonly accepted: ReadonlySet<number>;
}

export interface IngressModelOptions {
  readonly world: PlaneWorld;
  readonly worker: WorkerModel;
  readonly peers: readonly PeerModel[];
}

interface Batch {
  readonly now: Instant;
  readonly from: SocketAddress;
  readonly local: SocketAddress;
  readonly ecn: number;
  readonly out: Uint8Array[];
  /** The peer whose activity is being summed. */
  noted: { readonly peer: PeerModel; packets: number; bytes: number } | undefined;
}

type DatagramEvent = Extract<PlaneEvent, { readonly bytes: Uint8Array }>;

const DATA = 4;
const DATA_BYTES_MIN = 32;
const HANDSHAKE_BYTES: Readonly<Record<number, number>> = { 1: 148, 2: 92, 3: 64 };
const RELAY_PORT = 3478;
const REFUSALS = { plain: 10, client: 200, gateway: 200 } as const;

export function createIngressModel({ world, worker, peers }: IngressModelOptions): IngressModel {
  const { mode, policy, maxPacket, maxDatagram } = world;
  const accepted = new Set<number>();
  const dropped = (reason: Reason) => dropIn(worker, reason);

  function handleDatagram(batch: Batch, bytes: Uint8Array): void {
    if (bytes.length > maxDatagram) return dropped("udp_too_long");
    if (isData(bytes)) return handleData(batch, bytes, bytes.length);
    const relayed = relayedIn(bytes, batch.from, peers);
    if (relayed === undefined) return handleOther(batch, bytes, undefined);
    if (isData(relayed.message)) return handleData(batch, relayed.message, bytes.length);
    return handleOther(batch, relayed.message, relayed.channel);
  }

  /** Not a transport message: for control, unless it is the beginning of one. */
  function handleOther(batch: Batch, bytes: Uint8Array, channel: number | undefined): void {
    const isStun = isStunShaped(bytes);
    if (!isStun && typeOf(bytes) === DATA && bytes.length < DATA_BYTES_MIN) return dropped("wg_malformed");
    const { now, from, local } = batch;
    const isHandshake = HANDSHAKE_BYTES[typeOf(bytes) ?? 0] === bytes.length;
    if (!isStun && !mayBeJudged(worker, now, isHandshake)) return dropped("punt-rate");
    if (!worker.control.fits(bytes.length)) return dropped("punt-control-full");
    const kind = isStun ? "stun" : isHandshake ? "handshake" : "other";
    const event: DatagramEvent = { kind, bytes: copyOf(bytes), from, local };
    const relayed = channel === undefined ? event : { ...event, relayed: { relay: from, channel } };
    worker.control.put(relayed, bytes.length);
    worker.punted++;
  }

  function handleData(batch: Batch, message: Uint8Array, wireBytes: number): void {
    const { index, counter } = headerOf(message);
    const peer = peers.find(({ sessions }) => sessions.some(({ keys }) => keys.local === index));
    const session = peer?.sessions.find(({ keys }) => keys.local === index);
    if (peer === undefined || session === undefined) return dropped("wg_unknown_index");
    if (batch.now >= session.keys.recvUntil) return dropped("wg_expired_session");
    if (counter >= LIMITS.rejectAfterMessages) return dropped("wg_counter_limit");
    if (!isFresh(session, counter)) return dropped("wg_replay");
    const text = tryOpen(session, message);
    if (text === undefined) return dropped("wg_bad_tag");
    acceptCounter(session, counter);
    accepted.add(index);
    noteAuthentic(batch, peer, session, text.length, wireBytes);
    if (text.length === 0) {
      worker.passed++;
      worker.keepalives++;
      return;
    }
    deliver(batch, peer, text);
  }

  function noteAuthentic(
    batch: Batch,
    peer: PeerModel,
    session: SessionModel,
    textBytes: number,
    wireBytes: number,
  ): void {
    if (batch.noted?.peer !== peer) {
      notePeer(batch);
      batch.noted = { peer, packets: 0, bytes: 0 };
    }
    batch.noted.bytes += wireBytes;
    if (textBytes > 0) batch.noted.packets++;
    const { keys } = session;
    if (keys.isInitiator || peer.current === session) return;
    if (peer.current !== undefined && peer.current.keys.generation >= keys.generation) return;
    if (!mayReport(worker)) return;
    peer.current = session;
    const { slot } = peer.world;
    worker.control.put({ kind: "confirmed", slot, generation: keys.generation }, 0);
  }

  /** The end of a run of one peer's messages: activity, watch, roaming. */
  function notePeer(batch: Batch): void {
    const { noted, now, from, local } = batch;
    batch.noted = undefined;
    if (noted === undefined) return;
    const { peer, packets, bytes } = noted;
    const { slot } = peer.world;
    const before = peer.activity;
    peer.activity = {
      ...before,
      recvAny: now,
      unanswered: 0,
      ...(packets > 0 && { recvData: now, unreplied: before.unreplied || now }),
      rxPackets: before.rxPackets + packets,
      rxBytes: before.rxBytes + bytes,
    };
    if (packets > 0 && peer.isWatched && mayReport(worker)) {
      peer.isWatched = false;
      worker.control.put({ kind: "activity", slot }, 0);
    }
    if (mode !== "plain" || isFromEndpoint(peer, from)) return;
    if (!mayReport(worker) || peer.isRoaming) return;
    peer.isRoaming = true;
    worker.control.put({ kind: "roamed", slot, from, local: local.address }, 0);
  }

  function deliver(batch: Batch, peer: PeerModel, text: Uint8Array): void {
    const { slot } = peer.world;
    const limits = { limitBytes: maxPacket, mode: mode === "plain" ? "plain" : "strict" } as const;
    const found = parsePacket(text, limits);
    if (!found.ok) return dropped(found.reason);
    const packet = text.slice(0, found.value.totalBytes);
    const verdict = judgeIngress(slot, { mode, policy, packet, found: found.value });
    switch (verdict.kind) {
      case "pass":
        if (batch.ecn === 3) markCongestion(packet);
        batch.out.push(packet);
        worker.passed++;
        return;
      case "control":
        puntIn(worker, { reason: "control-event", slot, packet });
        return;
      case "refuse": {
        const punt: DataPunt = { reason: "refused", slot, packet };
        if (mayRefuse(worker, batch.now, REFUSALS[mode])) puntIn(worker, punt);
        else dropped("refuse-rate");
        return;
      }
      default:
        return dropped(verdict.reason);
    }
  }

  return {
    accepted,
    receive(now, { from, local, ecn, bytes, segmentBytes }) {
      accepted.clear();
      const out: Uint8Array[] = [];
      if (bytes.length === 0) return out;
      const stride = Math.min(segmentBytes ?? bytes.length, bytes.length);
      const datagrams = stride === 0 ? 1 : Math.ceil(bytes.length / stride);
      worker.packetsIn += datagrams;
      if (stride === 0 || local === undefined) {
        dropIn(worker, "udp_bad_meta", datagrams);
        return out;
      }
      const batch: Batch = {
        now,
        from,
        local: { address: local, port: 0 },
        ecn: ecn ?? 0,
        out,
        noted: undefined,
      };
      for (let at = 0; at < bytes.length; at += stride) {
        handleDatagram(batch, bytes.subarray(at, at + stride));
      }
      notePeer(batch);
      return out;
    },
  };
}

function typeOf(bytes: Uint8Array): number | undefined {
  if (bytes.length < 4) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

function isData(bytes: Uint8Array): boolean {
  return bytes.length >= DATA_BYTES_MIN && typeOf(bytes) === DATA;
}

function headerOf(message: Uint8Array): { readonly index: number; readonly counter: bigint } {
  const view = new DataView(message.buffer, message.byteOffset);
  return { index: view.getUint32(4, true), counter: view.getBigUint64(8, true) };
}

/** Channel data from a relay through which one of our paths leads (SN-98). */
function relayedIn(
  bytes: Uint8Array,
  from: SocketAddress,
  peers: readonly PeerModel[],
): { readonly message: Uint8Array; readonly channel: number } | undefined {
  if (bytes.length < 4 || (bytes[0] ?? 0) >> 4 !== 4 || from.port !== RELAY_PORT) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const channel = view.getUint16(0);
  const length = view.getUint16(2);
  const surplus = bytes.length - 4 - length;
  if (surplus < 0 || surplus > 3) return undefined;
  const isOurs = peers.some(
    ({ path }) =>
      path?.kind === "relayed" &&
      path.channel === channel &&
      path.destination !== undefined &&
      equalSocketAddress(path.destination, from),
  );
  return isOurs ? { message: bytes.subarray(4, 4 + length), channel } : undefined;
}

function isFromEndpoint({ path }: PeerModel, from: SocketAddress): boolean {
  if (path?.kind !== "direct" || path.destination === undefined) return false;
  return equalSocketAddress(path.destination, from);
}

function tryOpen({ keys }: SessionModel, message: Uint8Array): Uint8Array | undefined {
  try {
    return openMessage(keys.receiveKey, message).text;
  } catch {
    // That is the answer: the tag is wrong.
    return undefined;
  }
}
