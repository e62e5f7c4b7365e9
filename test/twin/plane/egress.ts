/**
 * From a frame of the TUN device to sealed datagrams: the twin of `assembly/batch/egress.ts` and `send.ts`
 * (WG-45, WG-46, TN-4, TN-10, TN-20, TN-62, PG-51). How datagrams are joined to sends it does not say.
 *
 * Counters: the plane gives one up where an injected packet does not fit the send under construction. The
 * twin never does.
 */
import type { Reason } from "../../../bindings/memory/index.ts";
import type { Instant, IpAddress, SocketAddress } from "../../../src/base/index.ts";
import { concatBytes } from "../../../src/base/index.ts";
import { type PacketDescriptor, parsePacket } from "../../../src/packet/index.ts";
import type { FlowDirection } from "../../../src/plane/index.ts";
import { ecnOf } from "./congestion.ts";
import { isCutInside, isTooBig, lowered } from "./fit.ts";
import { followFlow, type TwinSide, translate } from "./flows.ts";
import { sealMessage } from "./message.ts";
import { mayHandOut, noteData, stampSent, type TwinPeer, type TwinSession, usableSession } from "./peer.ts";
import { judgeEgress } from "./policy.ts";
import { splitFrame } from "./split.ts";
import { type TwinState, waitingOf } from "./state.ts";
import { drop, mayRefuse, mayReport, punt, puntFlow, report } from "./worker.ts";

/** A datagram as it leaves, and where to. */
export interface SealedDatagram {
  readonly slot: number;
  readonly to: SocketAddress;
  readonly source: IpAddress | undefined;
  readonly ecn: number;
  readonly bytes: Uint8Array;
}

const VNET_BYTES = 10;
const STAGED_MAX = 128;
/** The plane takes counters for as many segments at once as a send may carry. */
const COUNTERS_AT_ONCE = 64;
const PADDING_BYTES = 16;

/** What control has injected, which leaves before the next frame (WG-46). */
export function sendInjected(state: TwinState, now: Instant): readonly SealedDatagram[] {
  const { egress: worker } = state;
  const sent: SealedDatagram[] = [];
  for (const { slot, peerId, packet } of state.injected.drain(Number.POSITIVE_INFINITY)) {
    worker.packetsIn++;
    worker.injected++;
    const peer = state.peers.get(slot);
    const session = peer?.peerId === peerId ? usableSession(peer, now) : undefined;
    const [counter] =
      peer !== undefined && session !== undefined ? takeCounters(state, peer, session, 1) : [];
    // It came from control already: it is not sent there again (TN-85).
    if (peer === undefined || session === undefined || counter === undefined) drop(worker, "inject-stale");
    else sent.push(seal(state, now, { peer, session, counter, packet: lowered(peer, packet) }));
  }
  return sent;
}

export function readFrame(state: TwinState, now: Instant, frame: Uint8Array): readonly SealedDatagram[] {
  const { egress: worker, settings, policy } = state;
  const sent = [...sendInjected(state, now)];
  const { mode, validation, maxPacket } = settings;
  const packets = splitFrame(frame, { limitBytes: maxPacket, mode: validation });
  if (!packets.ok) {
    worker.packetsIn++;
    drop(worker, packets.reason);
    return sent;
  }
  worker.packetsIn += packets.value.length;
  const read = { packets: packets.value, isSingle: frame[1] === 0 };
  const { packet, found } = judgedOf(frame, packets.value, validation);
  const verdict = judgeEgress({ mode, policy, packet, found });
  switch (verdict.kind) {
    case "peer":
      sent.push(...leadToPeer(state, now, verdict.slot, read));
      break;
    case "punt":
      for (const segment of packets.value) punt(worker, { reason: "first", packet: segment });
      break;
    case "flow":
      sent.push(...follow(state, now, read, { ...verdict, packet, found }));
      break;
    case "icmp-error":
      handError(state, now, packets.value, verdict.slot);
      break;
    case "refuse":
      refuse(state, now, packets.value, { as: "refused", plainReason: "wg_no_route" });
      break;
    default:
      drop(worker, verdict.reason, packets.value.length);
  }
  return sent;
}

interface ReadFrame {
  readonly packets: readonly Uint8Array[];
  readonly isSingle: boolean;
  /** What becomes of each packet when it is known that it fits. */
  readonly change?: (packet: Uint8Array) => Uint8Array;
}

interface ByFlow {
  readonly slot?: number;
  readonly isElseAllowed?: boolean;
  readonly packet: Uint8Array;
  readonly found: PacketDescriptor;
}

/** Flows decide (TN-76, TN-78). */
function follow(
  state: TwinState,
  now: Instant,
  read: ReadFrame,
  { slot, isElseAllowed, packet, found }: ByFlow,
): readonly SealedDatagram[] {
  const { egress: worker, settings } = state;
  const direction = settings.mode === "gateway" ? "in" : "out";
  const sought = {
    direction,
    slot,
    packet,
    found,
    packets: read.packets.length,
    isElse: isElseAllowed,
  } as const;
  const followed = followFlow(state, now, sought);
  switch (followed.kind) {
    case "pass":
      return leadToPeer(state, now, followed.flow.record.slot ?? 0, read);
    case "nat": {
      const change = (each: Uint8Array) => translate(followed.flow, direction, each, describe(each));
      return leadToPeer(state, now, followed.flow.record.slot ?? 0, { ...read, change });
    }
    case "later": {
      const { slot: peer, change } = followed.fragment;
      return leadToPeer(state, now, peer, { ...read, change });
    }
    case "refuse":
      refuse(state, now, read.packets, {
        as: "refused",
        plainReason: "wg_no_route",
        refusal: followed.refusal,
      });
      return [];
    case "drop":
      drop(worker, followed.reason, read.packets.length);
      return [];
    case "unknown":
    case "early":
      if (isElseAllowed === true && slot !== undefined) return leadToPeer(state, now, slot, read);
      handFlow(state, now, read.packets, { direction, slot });
      return [];
    default:
      handFlow(state, now, read.packets, { direction, slot, side: followed.side });
      return [];
  }
}

interface ForControl {
  readonly direction: FlowDirection;
  readonly slot: number | undefined;
  readonly side?: TwinSide | undefined;
}

function handFlow(
  { egress: worker, peers }: TwinState,
  now: Instant,
  packets: readonly Uint8Array[],
  { direction, slot, side }: ForControl,
): void {
  const peer = slot === undefined ? undefined : peers.get(slot);
  if (slot !== undefined && peer === undefined) return drop(worker, "no-peer-state", packets.length);
  for (const packet of packets) {
    const item = { reason: "flow", direction, ...(slot !== undefined && { slot }), packet } as const;
    if (peer !== undefined && !mayHandOut(peer, now, "flows")) drop(worker, "flow-rate");
    else puntFlow(worker, item, { peerId: peer?.peerId, side });
  }
}

function handError(
  { egress: worker, peers, settings }: TwinState,
  now: Instant,
  packets: readonly Uint8Array[],
  slot: number | undefined,
): void {
  const direction = settings.mode === "gateway" ? "in" : "out";
  const peer = slot === undefined ? undefined : peers.get(slot);
  if (slot !== undefined && peer === undefined) return drop(worker, "no-peer-state", packets.length);
  for (const packet of packets) {
    const may =
      peer === undefined
        ? mayRefuse(worker, now, settings.refusalsPerSecond)
        : mayHandOut(peer, now, "errors");
    const item = { reason: "icmp-error", direction, ...(slot !== undefined && { slot }), packet } as const;
    if (may) punt(worker, item, peer?.peerId);
    else drop(worker, "icmp-rate");
  }
}

function describe(packet: Uint8Array): PacketDescriptor {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "strict" });
  if (!found.ok) throw new Error("the packet has been described before");
  return found.value;
}

/** What is judged, once per frame: a packet as it will leave, or a super-frame as a whole (TN-4). */
function judgedOf(
  frame: Uint8Array,
  packets: readonly Uint8Array[],
  mode: "plain" | "strict",
): { readonly packet: Uint8Array; readonly found: PacketDescriptor } {
  const isSingle = frame[1] === 0;
  const bytes = (isSingle ? packets[0] : undefined) ?? frame.subarray(VNET_BYTES);
  const found = parsePacket(bytes, { limitBytes: 65_535, mode });
  if (!found.ok) throw new Error("a frame that could be split has a packet");
  return { packet: bytes.slice(0, found.value.totalBytes), found: found.value };
}

function leadToPeer(
  state: TwinState,
  now: Instant,
  slot: number,
  frame: ReadFrame,
): readonly SealedDatagram[] {
  const { egress: worker, settings } = state;
  const peer = state.peers.get(slot);
  if (peer === undefined) {
    drop(worker, "no-peer-state", frame.packets.length);
    return [];
  }
  if (settings.mode === "plain" && (peer.path === undefined || peer.path.kind === "none")) {
    refuse(state, now, frame.packets, { as: "refused", plainReason: "wg_no_endpoint", peer });
    return [];
  }
  if (isTooBig(peer, frame.packets)) {
    refuse(state, now, frame.packets, { as: "too-big", peer });
    return [];
  }
  const fitting = frame.isSingle ? frame.packets.map((packet) => lowered(peer, packet)) : frame.packets;
  const packets = frame.change === undefined ? fitting : fitting.map(frame.change);
  if (isCutInside(peer, frame.packets)) peer.isHeld = true;
  const session = peer.isHeld ? undefined : usableSession(peer, now);
  if (session === undefined) {
    wait(state, peer, packets);
    return [];
  }
  noteData(worker, peer);
  const sent: SealedDatagram[] = [];
  for (let next = 0; next < packets.length; ) {
    const counters = takeCounters(state, peer, session, Math.min(packets.length - next, COUNTERS_AT_ONCE));
    if (counters.length === 0) {
      wait(state, peer, packets.slice(next));
      break;
    }
    for (const counter of counters) {
      const packet = packets[next++];
      if (packet !== undefined) sent.push(seal(state, now, { peer, session, counter, packet }));
    }
  }
  return sent;
}

type Refused =
  | {
      readonly as: "refused";
      readonly plainReason: Reason;
      readonly peer?: TwinPeer;
      readonly refusal?: "prohibited" | "unreachable";
    }
  | { readonly as: "too-big"; readonly peer: TwinPeer };

/** TN-20, TN-108, WG-58: one packet goes to control, which answers its sender; there are few in a second. */
function refuse(state: TwinState, now: Instant, packets: readonly Uint8Array[], refused: Refused): void {
  const { egress: worker, settings } = state;
  const [packet] = packets;
  if (packet === undefined) return;
  const reason = reasonOf(refused, settings.mode);
  if (!mayRefuse(worker, now, settings.refusalsPerSecond)) return drop(worker, reason, packets.length);
  const { as, peer } = refused;
  const refusal = "refusal" in refused && refused.refusal !== undefined ? { refusal: refused.refusal } : {};
  if (peer === undefined) punt(worker, { reason: "refused", ...refusal, packet });
  else punt(worker, { reason: as, slot: peer.slot, packet }, peer.peerId);
  drop(worker, reason, packets.length - 1);
}

function reasonOf(refused: Refused, mode: TwinState["settings"]["mode"]): Reason {
  if (refused.as === "too-big") return "path-too-big";
  return mode === "plain" ? refused.plainReason : "refuse-rate";
}

/** From here on the peer's packets go to control, until it has injected what it staged (WG-46). */
function wait(state: TwinState, peer: TwinPeer, packets: readonly Uint8Array[]): void {
  const { egress: worker } = state;
  const { slot, peerId } = peer;
  const waiting = waitingOf(state, slot);
  peer.isHeld = true;
  for (const packet of packets) {
    if (waiting.punted - waiting.taken >= STAGED_MAX) drop(worker, "wg_no_session");
    else if (punt(worker, { reason: "no-session", slot, packet }, peerId)) waiting.punted++;
  }
}

/** Up to `wanted` counters; none at the limit (WG-45). Each limit is reported once per session. */
function takeCounters(
  state: TwinState,
  { slot, peerId }: TwinPeer,
  session: TwinSession,
  wanted: number,
): readonly bigint[] {
  const { egress: worker, settings } = state;
  const { generation } = session.keys;
  const reportOnce = (limit: "rekey" | "reject") => {
    if (session.reported.has(limit) || !mayReport(worker)) return;
    session.reported.add(limit);
    report(worker, { kind: "counter", slot, generation, limit }, peerId);
  };
  const counters: bigint[] = [];
  while (counters.length < wanted && session.sendCounter < settings.rejectAfterMessages) {
    counters.push(session.sendCounter++);
  }
  if (counters.length === 0) reportOnce("reject");
  else if (session.sendCounter >= settings.rekeyAfterMessages) reportOnce("rekey");
  return counters;
}

interface Sealing {
  readonly peer: TwinPeer;
  readonly session: TwinSession;
  readonly counter: bigint;
  readonly packet: Uint8Array;
}

function seal(state: TwinState, now: Instant, { peer, session, counter, packet }: Sealing): SealedDatagram {
  const { path } = peer;
  const to = path?.destination;
  if (path === undefined || to === undefined)
    throw new Error("a session is usable where a path leads somewhere");
  const text = concatBytes(packet, new Uint8Array(paddedBytes(state, packet.length) - packet.length));
  const message = sealMessage(session.keys.sendKey, session.keys.remote, counter, text);
  const bytes = path.headRoom === 4 ? channelData(path.channel ?? 0, message) : message;
  state.egress.passed++;
  stampSent(peer, now, bytes.length);
  return { slot: peer.slot, to, source: path.source, ecn: ecnOf(packet), bytes };
}

/** A multiple of 16 where the mode pads, but never beyond the MTU: a full packet stays as it is (PF-55). */
function paddedBytes({ settings: { mode, mtu } }: TwinState, bytes: number): number {
  if (mode !== "plain") return bytes;
  return Math.max(bytes, Math.min(Math.ceil(bytes / PADDING_BYTES) * PADDING_BYTES, mtu));
}

/** The header that stands in the head room (D-7). */
function channelData(channel: number, message: Uint8Array): Uint8Array {
  const header = new DataView(new ArrayBuffer(4));
  header.setUint16(0, channel);
  header.setUint16(2, message.length);
  return concatBytes(new Uint8Array(header.buffer), message);
}
