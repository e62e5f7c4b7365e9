/**
 * From received datagrams to IP packets: the twin of `assembly/batch/ingress.ts`, with Node's own
 * cryptography (WG-47, PG-48, TN-3, TN-38, TN-61). How packets are joined to frames it does not say: that
 * is `coalesce.ts`.
 */

import type { Reason } from "../../../bindings/memory/index.ts";
import type { PlaneReceive } from "../../../bindings/plane/index.ts";
import { copyOf, equalSocketAddress, type Instant, type SocketAddress } from "../../../src/base/index.ts";
import { type PacketDescriptor, parsePacket } from "../../../src/packet/index.ts";
import type { PlaneEvent } from "../../../src/plane/index.ts";
import { markCongestion } from "./congestion.ts";
import { headerOf, kindOf, unwrapChannelData } from "./demux.ts";
import { loweredAs } from "./fit.ts";
import { followFlow, translate } from "./flows.ts";
import { mayBeJudged, noteKnown } from "./guard.ts";
import { openMessage } from "./message.ts";
import { mayHand, noteData, sessionOf, stampReceived, type TwinPeer, type TwinSession } from "./peer.ts";
import { judgeIngress } from "./policy.ts";
import type { TwinState } from "./state.ts";
import { drop, mayReport, punt, puntFlow, report } from "./worker.ts";

interface Batch {
  readonly now: Instant;
  readonly from: SocketAddress;
  readonly local: SocketAddress;
  readonly ecn: number;
  readonly out: Uint8Array[];
  /** The peer whose activity is being summed. */
  noted: { readonly peer: TwinPeer; packets: number; bytes: number } | undefined;
  /** It has brought channel data. */
  isRelayed: boolean;
}

type DatagramEvent = Extract<PlaneEvent, { readonly bytes: Uint8Array }>;

const CE = 3;
/** In the tunnel modes (SN-145). */
const ROAMED_GAP_MS = 250;

/** The IP packets of a receive for the TUN device, in order. */
export function receiveBatch(
  state: TwinState,
  now: Instant,
  { from, local, ecn, bytes, segmentBytes }: PlaneReceive,
): readonly Uint8Array[] {
  const { ingress: worker } = state;
  if (bytes.length === 0) return [];
  const stride = Math.min(segmentBytes ?? bytes.length, bytes.length);
  const datagrams = stride === 0 ? 1 : Math.ceil(bytes.length / stride);
  worker.packetsIn += datagrams;
  if (stride === 0 || local === undefined) {
    drop(worker, "udp_bad_meta", datagrams);
    return [];
  }
  const batch: Batch = {
    now,
    from,
    local: { address: local, port: 0 },
    ecn: ecn ?? 0,
    out: [],
    noted: undefined,
    isRelayed: false,
  };
  for (let at = 0; at < bytes.length; at += stride) {
    handleDatagram(state, batch, bytes.subarray(at, at + stride));
  }
  notePeer(state, batch);
  return batch.out;
}

function handleDatagram(state: TwinState, batch: Batch, bytes: Uint8Array): void {
  if (bytes.length > state.settings.maxDatagram) return drop(state.ingress, "udp_too_long");
  if (kindOf(bytes) === "data") return handleData(state, batch, bytes, bytes.length);
  const relayed = unwrapChannelData(bytes, batch.from, state.relays);
  if (relayed === undefined) return handleOther(state, batch, bytes, undefined);
  batch.isRelayed = true;
  if (kindOf(relayed.message) === "data") return handleData(state, batch, relayed.message, bytes.length);
  return handleOther(state, batch, relayed.message, relayed.channel);
}

/** Not a transport message: for control, unless it is the beginning of one. */
function handleOther(state: TwinState, batch: Batch, bytes: Uint8Array, channel: number | undefined): void {
  const { ingress: worker } = state;
  const kind = kindOf(bytes);
  if (kind === "short-data") return drop(worker, "wg_malformed");
  if (kind === "data") throw new Error("transport messages are handled before");
  const { now, from, local } = batch;
  const source = { from, isRelayed: channel !== undefined };
  if (!mayBeJudged(state.guard, now, kind, source)) return drop(worker, "punt-rate");
  if (!worker.control.fits(bytes.length)) return drop(worker, "punt-control-full");
  const event: DatagramEvent = { kind, bytes: copyOf(bytes), from, local };
  const item = channel === undefined ? event : { ...event, relayed: { relay: from, channel } };
  worker.control.put({ item }, bytes.length);
  worker.punted++;
}

/** WG-47. `wireBytes` is the length of the datagram around the message. */
function handleData(state: TwinState, batch: Batch, message: Uint8Array, wireBytes: number): void {
  const { ingress: worker } = state;
  const { index, counter } = headerOf(message);
  const peer = state.peers.get(state.slotsById.get(index >>> 8) ?? -1);
  const session = peer && sessionOf(peer, index);
  if (peer === undefined || session === undefined) return drop(worker, "wg_unknown_index");
  const reason = reasonNotToOpen(state, batch.now, session, counter);
  if (reason !== undefined) return drop(worker, reason);
  const text = tryOpen(session, message);
  if (text === undefined) return drop(worker, "wg_bad_tag");
  // Only now: a forged message must not close the window for the true one.
  session.window.accept(counter);
  noteAuthentic(state, batch, { peer, session, textBytes: text.length, wireBytes });
  if (text.length > 0) return deliver(state, batch, peer, text);
  worker.passed++;
  worker.keepalives++;
}

function reasonNotToOpen(
  { settings }: TwinState,
  now: Instant,
  { keys, window }: TwinSession,
  counter: bigint,
): Reason | undefined {
  if (now >= keys.recvUntil) return "wg_expired_session";
  if (counter >= settings.rejectAfterMessages) return "wg_counter_limit";
  return window.isFresh(counter) ? undefined : "wg_replay";
}

function tryOpen({ keys }: TwinSession, message: Uint8Array): Uint8Array | undefined {
  try {
    return openMessage(keys.receiveKey, message).text;
  } catch {
    // That is the answer: the tag is wrong.
    return undefined;
  }
}

interface Authentic {
  readonly peer: TwinPeer;
  readonly session: TwinSession;
  readonly textBytes: number;
  readonly wireBytes: number;
}

function noteAuthentic(state: TwinState, batch: Batch, found: Authentic): void {
  const { peer, session, textBytes, wireBytes } = found;
  if (batch.noted?.peer !== peer) {
    notePeer(state, batch);
    batch.noted = { peer, packets: 0, bytes: 0 };
  }
  batch.noted.bytes += wireBytes;
  if (textBytes > 0) batch.noted.packets++;
  confirm(state, peer, session);
}

/** A responder's session sends from its first authentic message on, unless a newer one does (WG-16). */
function confirm({ ingress: worker }: TwinState, peer: TwinPeer, session: TwinSession): void {
  const { isInitiator, generation } = session.keys;
  if (isInitiator || peer.current === session) return;
  if (peer.current !== undefined && peer.current.keys.generation >= generation) return;
  if (!mayReport(worker)) return;
  peer.current = session;
  report(worker, { kind: "confirmed", slot: peer.slot, generation }, peer.peerId);
}

/** The end of a run of one peer's messages: activity, watch, roaming. */
function notePeer({ ingress: worker, guard, settings }: TwinState, batch: Batch): void {
  const { noted, now, from, local, isRelayed } = batch;
  batch.noted = undefined;
  if (noted === undefined) return;
  const { peer, packets, bytes } = noted;
  stampReceived(peer, now, packets, bytes);
  noteKnown(guard, from, now);
  if (packets > 0) noteData(worker, peer);
  if (isRelayed || isFromEndpoint(peer, from)) return;
  if (settings.mode !== "plain" && now - peer.roamedAt < ROAMED_GAP_MS) return;
  if (!mayReport(worker) || peer.isRoaming) return;
  peer.isRoaming = true;
  peer.roamedAt = now;
  report(worker, { kind: "roamed", slot: peer.slot, from, local: local.address }, peer.peerId);
}

/** Whether the batch came from where the path leads (WG-62). */
function isFromEndpoint({ path }: TwinPeer, from: SocketAddress): boolean {
  return (
    path?.kind === "direct" && path.destination !== undefined && equalSocketAddress(path.destination, from)
  );
}

function deliver(state: TwinState, batch: Batch, peer: TwinPeer, text: Uint8Array): void {
  const { ingress: worker, settings, policy } = state;
  const { slot, peerId } = peer;
  const found = parsePacket(text, { limitBytes: settings.maxReceived, mode: settings.validation });
  if (!found.ok) return drop(worker, found.reason);
  const packet = text.slice(0, found.value.totalBytes);
  const verdict = judgeIngress(slot, { mode: settings.mode, policy, packet, found: found.value });
  switch (verdict.kind) {
    case "pass":
      return pass(state, batch, peer, packet);
    case "flow":
      return follow(state, batch, peer, packet);
    case "icmp-error":
      if (batch.ecn === CE) markCongestion(packet);
      if (!mayHand(peer, batch.now, "errors")) return drop(worker, "icmp-rate");
      punt(
        worker,
        { reason: "icmp-error", direction: settings.mode === "client" ? "in" : "out", slot, packet },
        peerId,
      );
      return;
    case "control":
      if (!mayHand(peer, batch.now, "events")) return drop(worker, "punt-rate");
      punt(worker, { reason: "control-event", slot, packet }, peerId);
      return;
    case "resolver":
      if (batch.ecn === CE) markCongestion(packet);
      if (!mayHand(peer, batch.now, "flows")) return drop(worker, "flow-rate");
      punt(worker, { reason: "resolver", slot, packet }, peerId);
      return;
    case "refuse":
      if (!mayHand(peer, batch.now, "refusals")) return drop(worker, "refuse-rate");
      punt(worker, { reason: "refused", slot, packet }, peerId);
      return;
    default:
      return drop(worker, verdict.reason);
  }
}

/** For the TUN device. */
function pass(state: TwinState, batch: Batch, peer: TwinPeer, packet: Uint8Array): void {
  const { ingress: worker } = state;
  const passed = loweredAs(peer, packet, describe(state, packet));
  if (batch.ecn === CE) markCongestion(passed);
  batch.out.push(passed);
  worker.passed++;
}

/** Flows decide (TN-76, TN-78). */
function follow(state: TwinState, batch: Batch, peer: TwinPeer, packet: Uint8Array): void {
  const { ingress: worker } = state;
  const { slot, peerId } = peer;
  const found = describe(state, packet);
  const direction = "out";
  const followed = followFlow(state, batch.now, { direction, slot, packet, found, packets: 1 });
  switch (followed.kind) {
    case "pass":
      return pass(state, batch, peer, packet);
    case "nat":
      return pass(state, batch, peer, translate(followed.flow, direction, packet, found));
    case "later":
      return pass(state, batch, peer, followed.fragment.change(packet));
    case "drop":
      return drop(worker, followed.reason);
    case "refuse": {
      if (!mayHand(peer, batch.now, "refusals")) return drop(worker, "refuse-rate");
      punt(worker, { reason: "refused", slot, refusal: followed.refusal, packet }, peerId);
      return;
    }
    default: {
      if (!mayHand(peer, batch.now, "flows")) return drop(worker, "flow-rate");
      const side = followed.kind === "control" ? followed.side : undefined;
      return puntFlow(worker, { reason: "flow", direction, slot, packet }, { peerId, side });
    }
  }
}

function describe({ settings }: TwinState, packet: Uint8Array): PacketDescriptor {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: settings.validation });
  if (!found.ok) throw new Error("the packet has been described before");
  return found.value;
}
