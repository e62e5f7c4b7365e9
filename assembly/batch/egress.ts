/**
 * From a frame of the TUN device to datagrams in the send buffer (WG-46), without system calls.
 *
 * Driven like this: `egressBegin` for a frame, then `egressStep` until it returns 0; whenever it returns
 * 1 a send is complete: hand it to the kernel, `sendDone`, step on. When the device has nothing more:
 * `egressFlush`, and the same. The frame of a step stays in the worker's input buffer meanwhile.
 *
 * One frame is one flow: it is validated, judged and led to its session once; only lengths, counters
 * and seals are per segment.
 */

import { count, dropped } from "../counters";
import {
  BUFFER_LEAD,
  COUNTER_BYTES_IN,
  COUNTER_PACKETS_IN,
  COUNTER_PACKETS_INJECTED,
  COUNTER_READS,
  COUNTER_SUPER_FRAMES_IN,
  DROP_NO_PEER_STATE,
  DROP_SETTLE_STALE,
  DROP_WG_NO_ENDPOINT,
  DROP_WG_NO_SESSION,
  EGRESS_FRAME,
  EGRESS_INJECTED,
  EGRESS_PUNT,
  EGRESS_REASON,
  EGRESS_SEGMENT_AT,
  EGRESS_SEGMENT_BYTES,
  EGRESS_SPLIT,
  EGRESS_STAGE,
  ENTRY_AT,
  ENTRY_LENGTH,
  ENTRY_PEER_ID,
  ENTRY_SLOT,
  EVENT_ACTIVITY,
  EVENT_COUNTER,
  EVENT_WAKE,
  LIMIT_REJECT,
  LIMIT_REKEY,
  NO_SLOT,
  PATH_IS_BROKEN,
  PATH_KIND,
  PATH_NONE,
  PEER_HOLD,
  PEER_IDLE,
  PEER_PATH,
  PEER_PEER_ID,
  PEER_PUNTED,
  PEER_TAKEN,
  PEER_WATCH,
  PLANE_ADDRESS,
  PLANE_IS_PATH_NEEDED,
  PLANE_IS_STRICT,
  PLANE_MAX_PACKET,
  PLANE_PEER_CAPACITY,
  PLANE_REFUSAL_REASON,
  PUNT_DROP,
  PUNT_FIRST,
  PUNT_NO_SESSION,
  PUNT_REFUSED,
  REPORTED_REJECT,
  REPORTED_REKEY,
  SEND_SEGMENTS,
  SESSION_GENERATION,
  SESSION_REKEY_LIMIT,
  SESSION_REPORTED,
  SESSION_SEND_UNTIL,
  SPLIT_COUNT,
  SPLIT_INDEX,
  SPLIT_SEGMENT_BYTES,
  STAGE_IDLE,
  STAGE_SEGMENTS,
  STAGE_SETTLE,
  STAGED_MAX,
  TARGET_DROP,
  TARGET_PEER,
  TARGET_PUNT,
  TRANSIT_COUNTER,
  TRANSIT_ECN,
  TRANSIT_PATH,
  TRANSIT_RESERVED,
  TRANSIT_SESSION,
  TRANSIT_SLOT,
  VNET_HEADER_BYTES,
  WORKER_INPUT,
  WORKER_NOW,
  WORKER_PACKET,
  WORKER_SETTLE_RING,
} from "../layout";
import { innerEcn } from "../packet/ecn";
import { ringPeek, ringTake } from "../ring";
import { splitBegin, splitNext } from "../segment/split";
import { currentSession, peerRow, takeCounters } from "../table/session";
import { judgeEgress } from "./policy";
import { mayRefuse, publishEvent, puntPacket, reportOnce, reserveEvent } from "./punt";
import { completeSend, sealInto } from "./send";

/** Takes the frame of `bytes` bytes in the input buffer, as the TUN device gave it. */
export function egressBegin(cx: usize, bytes: u32): void {
  const frame = load<usize>(cx, WORKER_INPUT) + BUFFER_LEAD;
  const isStrict = load<u32>(PLANE_ADDRESS, PLANE_IS_STRICT) != 0;
  const limit = load<u32>(PLANE_ADDRESS, PLANE_MAX_PACKET);
  const d = cx + WORKER_PACKET;
  count(cx, COUNTER_READS, 1);
  count(cx, COUNTER_BYTES_IN, <u64>bytes);
  const segments = splitBegin(frame, bytes, limit, isStrict, d, cx + EGRESS_SPLIT);
  if (segments < 0) {
    count(cx, COUNTER_PACKETS_IN, 1);
    dropped(cx, <u32>-segments, 1);
    return;
  }
  count(cx, COUNTER_PACKETS_IN, <u64>segments);
  if (segments > 1) count(cx, COUNTER_SUPER_FRAMES_IN, 1);
  const packet = frame + <usize>VNET_HEADER_BYTES;
  store<u32>(cx, innerEcn(packet), EGRESS_FRAME + TRANSIT_ECN);
  lead(cx, judgeEgress(packet, d), <u32>segments);
}

/**
 * Works on the frame, or on packets that control has injected before it.
 * @returns 1: a send is complete and must go; 0: the frame is done
 */
export function egressStep(cx: usize): i32 {
  if (load<u32>(cx, EGRESS_STAGE) == STAGE_SETTLE) {
    // The hold word was read as cleared before: what was injected until then goes first (WG-46).
    if (egressSettle(cx) != 0) return 1;
    selectSession(cx);
    store<u32>(cx, STAGE_SEGMENTS, EGRESS_STAGE);
  }
  if (load<u32>(cx, EGRESS_STAGE) == STAGE_IDLE) return 0;
  const split = cx + EGRESS_SPLIT;
  while (true) {
    let packet = load<usize>(cx, EGRESS_SEGMENT_AT);
    if (packet == 0) {
      packet = splitNext(split);
      if (packet == 0) break;
      store<usize>(cx, packet, EGRESS_SEGMENT_AT);
      store<u32>(cx, load<u32>(split, SPLIT_SEGMENT_BYTES), EGRESS_SEGMENT_BYTES);
    }
    if (!handleSegment(cx, packet, load<u32>(cx, EGRESS_SEGMENT_BYTES))) {
      completeSend(cx);
      return 1;
    }
    store<usize>(cx, 0, EGRESS_SEGMENT_AT);
  }
  store<u32>(cx, STAGE_IDLE, EGRESS_STAGE);
  return 0;
}

/** Completes the open send, because nothing more is coming. Returns 1 if there is one. */
export function egressFlush(cx: usize): i32 {
  return completeSend(cx) ? 1 : 0;
}

/**
 * Seals what control has injected, each packet for the peer that control named (TN-89). Not while a
 * frame is in stage SEGMENTS.
 * @returns as `egressStep`
 */
export function egressSettle(cx: usize): i32 {
  const ring = load<usize>(cx, WORKER_SETTLE_RING);
  for (let entry = ringPeek(ring); entry != 0; entry = ringPeek(ring)) {
    if (!settle(cx, entry)) {
      completeSend(cx);
      return 1;
    }
    ringTake(ring, entry);
  }
  return 0;
}

/** One injected packet. Returns false if the open send must go first. */
function settle(cx: usize, entry: usize): bool {
  const packet = load<usize>(entry, ENTRY_AT);
  const bytes = load<u32>(entry, ENTRY_LENGTH);
  // A record of its own: a frame may wait behind for its own peer.
  const transit = cx + EGRESS_INJECTED;
  store<u32>(transit, load<u32>(entry, ENTRY_SLOT), TRANSIT_SLOT);
  store<u32>(transit, innerEcn(packet), TRANSIT_ECN);
  const isReady =
    isSamePeer(entry) && openPath(transit) && openSession(cx, transit) && reserveCounters(cx, transit, 1);
  // The counter of a packet that has to come again is given up: gaps are legal.
  if (isReady && !sealInto(cx, transit, packet, bytes)) return false;
  // It came from control already: it is not sent there again (TN-85).
  if (!isReady) dropped(cx, DROP_SETTLE_STALE, 1);
  count(cx, COUNTER_PACKETS_IN, 1);
  count(cx, COUNTER_PACKETS_INJECTED, 1);
  return true;
}

/** Whether the slot still has the peer for which control injected the packet. */
function isSamePeer(entry: usize): bool {
  const peerId = load<u32>(peerRow(load<u32>(entry, ENTRY_SLOT)), PEER_PEER_ID);
  return peerId != 0 && peerId == load<u32>(entry, ENTRY_PEER_ID);
}

/** Decides from the judgement what becomes of the frame's `segments` packets. */
function lead(cx: usize, target: u32, segments: u32): void {
  store<usize>(cx, 0, EGRESS_SEGMENT_AT);
  store<u32>(cx, 0, EGRESS_FRAME + TRANSIT_RESERVED);
  store<u32>(cx, NO_SLOT, EGRESS_FRAME + TRANSIT_SLOT);
  store<u32>(cx, 0, EGRESS_PUNT);
  if (target >= TARGET_PEER) {
    leadToPeer(cx, target - TARGET_PEER, segments);
  } else if (target >= TARGET_DROP) {
    dropped(cx, target - TARGET_DROP, <u64>segments);
  } else if (target == TARGET_PUNT) {
    store<u32>(cx, PUNT_FIRST, EGRESS_PUNT);
    store<u32>(cx, STAGE_SEGMENTS, EGRESS_STAGE);
  } else {
    refuse(cx, load<u32>(PLANE_ADDRESS, PLANE_REFUSAL_REASON), segments);
  }
}

function leadToPeer(cx: usize, slot: u32, segments: u32): void {
  const isKnown = slot < load<u32>(PLANE_ADDRESS, PLANE_PEER_CAPACITY);
  if (!isKnown || atomic.load<u32>(peerRow(slot), PEER_PEER_ID) == 0) {
    dropped(cx, DROP_NO_PEER_STATE, <u64>segments);
    return;
  }
  store<u32>(cx, slot, EGRESS_FRAME + TRANSIT_SLOT);
  if (load<u32>(PLANE_ADDRESS, PLANE_IS_PATH_NEEDED) != 0 && !hasEndpoint(slot)) {
    refuse(cx, DROP_WG_NO_ENDPOINT, segments);
    return;
  }
  if (atomic.load<u32>(peerRow(slot), PEER_HOLD) != 0) {
    store<u32>(cx, PUNT_NO_SESSION, EGRESS_PUNT);
    store<u32>(cx, STAGE_SEGMENTS, EGRESS_STAGE);
    return;
  }
  store<u32>(cx, STAGE_SETTLE, EGRESS_STAGE);
}

function hasEndpoint(slot: u32): bool {
  const path = atomic.load<usize>(peerRow(slot), PEER_PATH);
  return path != 0 && load<u32>(path, PATH_KIND) != PATH_NONE;
}

/** One packet of the frame goes to control, which answers its sender; the rest is dropped. */
function refuse(cx: usize, reason: u32, segments: u32): void {
  if (!mayRefuse(cx)) {
    dropped(cx, reason, <u64>segments);
    return;
  }
  store<u32>(cx, PUNT_REFUSED, EGRESS_PUNT);
  store<u32>(cx, reason, EGRESS_REASON);
  store<u32>(cx, STAGE_SEGMENTS, EGRESS_STAGE);
}

/** Finds the frame's path and session; without them its packets go to control (WG-46). */
function selectSession(cx: usize): void {
  const transit = cx + EGRESS_FRAME;
  if (openPath(transit) && openSession(cx, transit)) {
    const slot = load<u32>(transit, TRANSIT_SLOT);
    const peer = peerRow(slot);
    if (atomic.load<u32>(peer, PEER_WATCH) != 0) reportOnce(cx, peer + PEER_WATCH, EVENT_ACTIVITY, slot);
    if (atomic.load<u32>(peer, PEER_IDLE) != 0) reportOnce(cx, peer + PEER_IDLE, EVENT_WAKE, slot);
    return;
  }
  holdFrame(cx);
}

/** From here on the peer's packets go to control, until it has injected what it staged. */
function holdFrame(cx: usize): void {
  atomic.store<u32>(peerRow(load<u32>(cx, EGRESS_FRAME + TRANSIT_SLOT)), 1, PEER_HOLD);
  store<u32>(cx, PUNT_NO_SESSION, EGRESS_PUNT);
}

function openPath(transit: usize): bool {
  const path = atomic.load<usize>(peerRow(load<u32>(transit, TRANSIT_SLOT)), PEER_PATH);
  store<usize>(transit, path, TRANSIT_PATH);
  return path != 0 && load<u32>(path, PATH_KIND) != PATH_NONE && load<u32>(path, PATH_IS_BROKEN) == 0;
}

function openSession(cx: usize, transit: usize): bool {
  const session = currentSession(peerRow(load<u32>(transit, TRANSIT_SLOT)));
  store<usize>(transit, session, TRANSIT_SESSION);
  return session != 0 && load<u64>(cx, WORKER_NOW) < load<u64>(session, SESSION_SEND_UNTIL);
}

/** Takes up to `wanted` send counters at once; false at the session's limit (WG-45). */
function reserveCounters(cx: usize, transit: usize, wanted: u32): bool {
  const session = load<usize>(transit, TRANSIT_SESSION);
  const slot = load<u32>(transit, TRANSIT_SLOT);
  const taken = takeCounters(session, wanted, transit + TRANSIT_COUNTER);
  store<u32>(transit, taken, TRANSIT_RESERVED);
  if (taken == 0) {
    reportLimit(cx, session, slot, REPORTED_REJECT, LIMIT_REJECT);
    return false;
  }
  if (load<u64>(transit, TRANSIT_COUNTER) + <u64>taken >= load<u64>(session, SESSION_REKEY_LIMIT)) {
    reportLimit(cx, session, slot, REPORTED_REKEY, LIMIT_REKEY);
  }
  return true;
}

/** Each limit is reported once per session; a full ring only defers it. */
function reportLimit(cx: usize, session: usize, slot: u32, flag: u32, limit: u32): void {
  if ((atomic.load<u32>(session, SESSION_REPORTED) & flag) != 0) return;
  const entry = reserveEvent(cx);
  if (entry == 0 || (atomic.or<u32>(session, flag, SESSION_REPORTED) & flag) != 0) return;
  publishEvent(cx, entry, EVENT_COUNTER, slot, load<u32>(session, SESSION_GENERATION), limit);
}

/** One packet of the frame. Returns false if the open send must go first. */
function handleSegment(cx: usize, packet: usize, bytes: u32): bool {
  if (load<u32>(cx, EGRESS_PUNT) == 0) {
    const transit = cx + EGRESS_FRAME;
    if (load<u32>(transit, TRANSIT_RESERVED) != 0 || reserveCounters(cx, transit, segmentsLeft(cx))) {
      return sealInto(cx, transit, packet, bytes);
    }
    holdFrame(cx);
  }
  punt(cx, packet, bytes);
  return true;
}

/** Segments not sealed yet, the one at hand included; no more than a send may carry. */
function segmentsLeft(cx: usize): u32 {
  const split = cx + EGRESS_SPLIT;
  return min<u32>(load<u32>(split, SPLIT_COUNT) - load<u32>(split, SPLIT_INDEX) + 1, SEND_SEGMENTS);
}

/** One packet of a frame that is not sealed: to control, or given up. */
function punt(cx: usize, packet: usize, bytes: u32): void {
  const kind = load<u32>(cx, EGRESS_PUNT);
  const slot = load<u32>(cx, EGRESS_FRAME + TRANSIT_SLOT);
  if (kind == PUNT_DROP) {
    dropped(cx, load<u32>(cx, EGRESS_REASON), 1);
  } else if (kind == PUNT_REFUSED) {
    puntPacket(cx, kind, slot, packet, bytes);
    store<u32>(cx, PUNT_DROP, EGRESS_PUNT);
  } else if (kind == PUNT_NO_SESSION) {
    puntWaiting(cx, slot, packet, bytes);
  } else {
    puntPacket(cx, kind, slot, packet, bytes);
  }
}

/** A packet that waits for its peer's session: only so many at a time, until control takes them. */
function puntWaiting(cx: usize, slot: u32, packet: usize, bytes: u32): void {
  const peer = peerRow(slot);
  const puntedSoFar = load<u32>(peer, PEER_PUNTED);
  if (puntedSoFar - atomic.load<u32>(peer, PEER_TAKEN) >= STAGED_MAX) {
    dropped(cx, DROP_WG_NO_SESSION, 1);
    return;
  }
  if (!puntPacket(cx, PUNT_NO_SESSION, slot, packet, bytes)) return;
  store<u32>(peer, puntedSoFar + 1, PEER_PUNTED);
  // A value of its own for every punt: a release that control decided on before it saw this one fails,
  // or is undone right here (`bindings/ring/hold.ts`).
  atomic.store<u32>(peer, ((puntedSoFar + 1) << 1) | 1, PEER_HOLD);
}
