/**
 * From a frame of the TUN device to datagrams in the send buffer (WG-46), without system calls.
 *
 * Driven like this: `egressBegin` for a frame, then `egressStep` until it returns 0; whenever it returns
 * 1 a send is complete: hand it to the kernel, `sendDone`, step on. When the device has nothing more:
 * `egressFlush`, and the same. The frame of a step stays in the worker's input buffer meanwhile.
 *
 * One frame is one flow: it is validated, judged and led to its session once; only lengths, counters
 * and seals are per segment. The twin: `test/twin/plane/egress.ts`.
 */
import { count, dropped } from "../counters";
import {
  BUFFER_LEAD,
  Counter,
  Drop,
  Egress,
  Entry,
  EVENT_ACTIVITY,
  EVENT_COUNTER,
  EVENT_WAKE,
  FLOW_IN,
  LIMIT_REJECT,
  LIMIT_REKEY,
  NO_SLOT,
  PATH_NONE,
  Path,
  Peer,
  PLANE_ADDRESS,
  Plane,
  PUNT_DROP,
  PUNT_FIRST,
  PUNT_FLOW,
  PUNT_ICMP_ERROR,
  PUNT_NO_SESSION,
  PUNT_REFUSED,
  PUNT_TOO_BIG,
  REPORTED_REJECT,
  REPORTED_REKEY,
  SEND_SEGMENTS,
  Session,
  Split,
  STAGE_IDLE,
  STAGE_INJECT,
  STAGE_SEGMENTS,
  STAGED_MAX,
  TARGET_DROP,
  TARGET_FLOW,
  TARGET_FLOW_OF,
  TARGET_ICMP_ERROR,
  TARGET_PEER,
  TARGET_PUNT,
  Transit,
  VNET_HEADER_BYTES,
  Worker,
} from "../layout";
import { innerEcn } from "../packet/ecn";
import { ringPeek, ringTake } from "../ring";
import { splitBegin, splitNext } from "../segment/split";
import { currentSession, peerRow, takeCounters } from "../table/session";
import { clampPacket, doesFit } from "./fit";
import { egressDirection, followFlow, kindOfTarget, slotOfTarget, translateFrame } from "./flow";
import { judgeEgress } from "./policy";
import {
  holdValue,
  mayHandErrorOut,
  mayHandFlowOut,
  mayRefuse,
  publishEvent,
  puntDetail,
  puntFlow,
  puntPacket,
  reportOnce,
  reserveEvent,
} from "./punt";
import { completeSend, sealInto } from "./send";

/** Takes the frame of `bytes` bytes in the input buffer, as the TUN device gave it. */
export function egressBegin(worker: usize, bytes: u32): void {
  const frame = load<usize>(worker, Worker.INPUT) + BUFFER_LEAD;
  const isStrict = load<u32>(PLANE_ADDRESS, Plane.IS_STRICT) != 0;
  const limit = load<u32>(PLANE_ADDRESS, Plane.MAX_PACKET);
  const found = worker + Worker.PACKET;
  count(worker, Counter.READS, 1);
  count(worker, Counter.BYTES_IN, <u64>bytes);
  const segments = splitBegin(frame, bytes, limit, isStrict, found, worker + Egress.SPLIT);
  if (segments < 0) {
    count(worker, Counter.PACKETS_IN, 1);
    dropped(worker, <u32>-segments, 1);
    return;
  }
  count(worker, Counter.PACKETS_IN, <u64>segments);
  if (segments > 1) count(worker, Counter.SUPER_FRAMES_IN, 1);
  const packet = frame + <usize>VNET_HEADER_BYTES;
  store<u32>(worker, innerEcn(packet), Egress.FRAME + Transit.ECN);
  // A frame is a batch of its own: nothing is known from the one before.
  store<usize>(worker, 0, Worker.FLOW);
  const isIn = egressDirection() == FLOW_IN;
  const judged = judgeEgress(packet, found);
  lead(worker, followFlow(worker, judged, packet, found, isIn, TARGET_PEER, <u32>segments), <u32>segments);
}

/**
 * Works on the frame, or on packets that control has injected before it.
 * @returns 1: a send is complete and must go; 0: the frame is done
 */
export function egressStep(worker: usize): i32 {
  if (load<u32>(worker, Egress.STAGE) == STAGE_INJECT) {
    // The hold word was read as cleared before: what was injected until then goes first (WG-46).
    if (egressInject(worker) != 0) return 1;
    selectSession(worker);
    store<u32>(worker, STAGE_SEGMENTS, Egress.STAGE);
  }
  if (load<u32>(worker, Egress.STAGE) == STAGE_IDLE) return 0;
  const split = worker + Egress.SPLIT;
  while (true) {
    let packet = load<usize>(worker, Egress.SEGMENT_AT);
    if (packet == 0) {
      packet = splitNext(split);
      if (packet == 0) break;
      store<usize>(worker, packet, Egress.SEGMENT_AT);
      store<u32>(worker, load<u32>(split, Split.SEGMENT_BYTES), Egress.SEGMENT_BYTES);
    }
    if (!handleSegment(worker, packet, load<u32>(worker, Egress.SEGMENT_BYTES))) {
      completeSend(worker);
      return 1;
    }
    store<usize>(worker, 0, Egress.SEGMENT_AT);
  }
  store<u32>(worker, STAGE_IDLE, Egress.STAGE);
  return 0;
}

/** Completes the open send, because nothing more is coming. Returns 1 if there is one. */
export function egressFlush(worker: usize): i32 {
  return completeSend(worker) ? 1 : 0;
}

/**
 * Seals what control has injected, each packet for the peer that control named (TN-89). Not while a
 * frame is in stage SEGMENTS. It goes behind what the open send has: a flow's packets before and after a punt leave in
 * one line, for control injects where the flow's frames come from (PG-176).
 * @returns 1: a send is complete and must go; 0: all is sealed
 */
export function egressInject(worker: usize): i32 {
  const ring = load<usize>(worker, Worker.INJECT_RING);
  for (let entry = ringPeek(ring); entry != 0; entry = ringPeek(ring)) {
    if (!inject(worker, entry)) {
      completeSend(worker);
      return 1;
    }
    ringTake(ring, entry);
  }
  return 0;
}

/** One injected packet. Returns false if the open send must go first. */
function inject(worker: usize, entry: usize): bool {
  const packet = load<usize>(entry, Entry.AT);
  const bytes = load<u32>(entry, Entry.LENGTH);
  // A record of its own: a frame may wait behind for its own peer.
  const transit = worker + Egress.INJECTED;
  store<u32>(transit, load<u32>(entry, Entry.SLOT), Transit.SLOT);
  store<u32>(transit, innerEcn(packet), Transit.ECN);
  clampPacket(load<u32>(transit, Transit.SLOT), packet, bytes, worker + Worker.PACKET);
  const peer = peerRow(load<u32>(entry, Entry.SLOT));
  const isReady =
    isSamePeer(entry, peer) &&
    openPath(transit, peer) &&
    openSession(worker, transit, peer) &&
    reserveCounters(worker, transit, 1);
  // The counter of a packet that has to come again is given up: gaps are legal.
  if (isReady && !sealInto(worker, transit, packet, bytes)) return false;
  // It came from control already: it is not sent there again (TN-85).
  if (!isReady) dropped(worker, Drop.INJECT_STALE, 1);
  count(worker, Counter.PACKETS_IN, 1);
  count(worker, Counter.PACKETS_INJECTED, 1);
  return true;
}

/** Whether the slot, whose row is `peer`, still has the peer for which control injected the packet. */
function isSamePeer(entry: usize, peer: usize): bool {
  const peerId = load<u32>(peer, Peer.PEER_ID);
  return peerId != 0 && peerId == load<u32>(entry, Entry.PEER_ID);
}

/** Decides from the judgement what becomes of the frame's `segments` packets. */
function lead(worker: usize, target: u32, segments: u32): void {
  store<usize>(worker, 0, Egress.SEGMENT_AT);
  store<u32>(worker, 0, Egress.FRAME + Transit.RESERVED);
  store<u32>(worker, slotOfTarget(target, NO_SLOT), Egress.FRAME + Transit.SLOT);
  store<u32>(worker, 0, Egress.PUNT);
  if (target >= TARGET_PEER && target < TARGET_FLOW_OF) {
    leadToPeer(worker, target - TARGET_PEER, segments);
    return;
  }
  const kind = kindOfTarget(target);
  if (kind == TARGET_FLOW || kind == TARGET_ICMP_ERROR) {
    leadToControl(worker, kind == TARGET_FLOW ? PUNT_FLOW : PUNT_ICMP_ERROR, segments);
  } else if (target >= TARGET_DROP) {
    dropped(worker, target - TARGET_DROP, <u64>segments);
  } else if (target == TARGET_PUNT) {
    store<u32>(worker, PUNT_FIRST, Egress.PUNT);
    store<u32>(worker, STAGE_SEGMENTS, Egress.STAGE);
  } else {
    refuse(worker, PUNT_REFUSED, load<u32>(PLANE_ADDRESS, Plane.REFUSAL_REASON), segments);
  }
}

/** About the whole frame control decides; it may know the peer. */
function leadToControl(worker: usize, kind: u32, segments: u32): void {
  const slot = load<u32>(worker, Egress.FRAME + Transit.SLOT);
  if (slot != NO_SLOT && peerAt(slot) == 0) {
    dropped(worker, Drop.NO_PEER_STATE, <u64>segments);
    return;
  }
  store<u32>(worker, kind, Egress.PUNT);
  store<u32>(worker, STAGE_SEGMENTS, Egress.STAGE);
}

/** The row of the slot's peer, or 0 if there is none. */
function peerAt(slot: u32): usize {
  if (slot >= load<u32>(PLANE_ADDRESS, Plane.PEER_CAPACITY)) return 0;
  const peer = peerRow(slot);
  return atomic.load<u32>(peer, Peer.PEER_ID) != 0 ? peer : 0;
}

function leadToPeer(worker: usize, slot: u32, segments: u32): void {
  const peer = peerAt(slot);
  if (peer == 0) {
    dropped(worker, Drop.NO_PEER_STATE, <u64>segments);
    return;
  }
  store<u32>(worker, slot, Egress.FRAME + Transit.SLOT);
  if (load<u32>(PLANE_ADDRESS, Plane.IS_PATH_NEEDED) != 0 && !hasEndpoint(peer)) {
    refuse(worker, PUNT_REFUSED, Drop.WG_NO_ENDPOINT, segments);
    return;
  }
  if (!doesFit(peer, worker + Worker.PACKET, worker + Egress.SPLIT)) {
    refuse(worker, PUNT_TOO_BIG, Drop.PATH_TOO_BIG, segments);
    return;
  }
  // Whoever is told that a packet is too big knows it by the addresses it had; all that follows, by the new ones.
  translateFrame(worker, worker + Egress.SPLIT, egressDirection() == FLOW_IN);
  if (atomic.load<u32>(peer, Peer.HOLD) != 0) {
    store<u32>(worker, PUNT_NO_SESSION, Egress.PUNT);
    store<u32>(worker, STAGE_SEGMENTS, Egress.STAGE);
    return;
  }
  store<u32>(worker, STAGE_INJECT, Egress.STAGE);
}

function hasEndpoint(peer: usize): bool {
  const path = atomic.load<usize>(peer, Peer.PATH);
  return path != 0 && load<u32>(path, Path.KIND) != PATH_NONE;
}

/** One packet of the frame goes to control, which answers its sender; the rest is dropped. */
function refuse(worker: usize, kind: u32, reason: u32, segments: u32): void {
  if (!mayRefuse(worker)) {
    dropped(worker, reason, <u64>segments);
    return;
  }
  store<u32>(worker, kind, Egress.PUNT);
  store<u32>(worker, reason, Egress.REASON);
  store<u32>(worker, STAGE_SEGMENTS, Egress.STAGE);
}

/** Finds the frame's path and session; without them its packets go to control (WG-46). */
function selectSession(worker: usize): void {
  const transit = worker + Egress.FRAME;
  const slot = load<u32>(transit, Transit.SLOT);
  const peer = peerRow(slot);
  if (openPath(transit, peer) && openSession(worker, transit, peer)) {
    if (atomic.load<u32>(peer, Peer.WATCH) != 0) reportOnce(worker, peer + Peer.WATCH, EVENT_ACTIVITY, slot);
    if (atomic.load<u32>(peer, Peer.IDLE) != 0) reportOnce(worker, peer + Peer.IDLE, EVENT_WAKE, slot);
    return;
  }
  holdFrame(worker);
}

/** From here on the peer's packets go to control, until it has injected what it staged. */
function holdFrame(worker: usize): void {
  atomic.store<u32>(peerRow(load<u32>(worker, Egress.FRAME + Transit.SLOT)), 1, Peer.HOLD);
  store<u32>(worker, PUNT_NO_SESSION, Egress.PUNT);
}

function openPath(transit: usize, peer: usize): bool {
  const path = atomic.load<usize>(peer, Peer.PATH);
  store<usize>(transit, path, Transit.PATH);
  return path != 0 && load<u32>(path, Path.KIND) != PATH_NONE && load<u32>(path, Path.IS_BROKEN) == 0;
}

function openSession(worker: usize, transit: usize, peer: usize): bool {
  const session = currentSession(peer);
  store<usize>(transit, session, Transit.SESSION);
  return session != 0 && load<u64>(worker, Worker.NOW) < load<u64>(session, Session.SEND_UNTIL);
}

/** Takes up to `wanted` send counters at once; false at the session's limit (WG-45). */
function reserveCounters(worker: usize, transit: usize, wanted: u32): bool {
  const session = load<usize>(transit, Transit.SESSION);
  const slot = load<u32>(transit, Transit.SLOT);
  const taken = takeCounters(session, wanted, transit + Transit.COUNTER);
  store<u32>(transit, taken, Transit.RESERVED);
  if (taken == 0) {
    reportLimit(worker, session, slot, REPORTED_REJECT, LIMIT_REJECT);
    return false;
  }
  if (load<u64>(transit, Transit.COUNTER) + <u64>taken >= load<u64>(session, Session.REKEY_LIMIT)) {
    reportLimit(worker, session, slot, REPORTED_REKEY, LIMIT_REKEY);
  }
  return true;
}

/** Each limit is reported once per session; a full ring only defers it. */
function reportLimit(worker: usize, session: usize, slot: u32, flag: u32, limit: u32): void {
  if ((atomic.load<u32>(session, Session.REPORTED) & flag) != 0) return;
  const entry = reserveEvent(worker);
  if (entry == 0 || (atomic.or<u32>(session, flag, Session.REPORTED) & flag) != 0) return;
  publishEvent(worker, entry, EVENT_COUNTER, slot, load<u32>(session, Session.GENERATION), limit);
}

/** One packet of the frame. Returns false if the open send must go first. */
function handleSegment(worker: usize, packet: usize, bytes: u32): bool {
  if (load<u32>(worker, Egress.PUNT) == 0) {
    const transit = worker + Egress.FRAME;
    if (load<u32>(transit, Transit.RESERVED) != 0 || reserveCounters(worker, transit, segmentsLeft(worker))) {
      return sealInto(worker, transit, packet, bytes);
    }
    holdFrame(worker);
  }
  punt(worker, packet, bytes);
  return true;
}

/** Segments not sealed yet, the one at hand included; no more than a send may carry. */
function segmentsLeft(worker: usize): u32 {
  const split = worker + Egress.SPLIT;
  return min<u32>(load<u32>(split, Split.COUNT) - load<u32>(split, Split.INDEX) + 1, SEND_SEGMENTS);
}

/** One packet of a frame that is not sealed: to control, or given up. */
function punt(worker: usize, packet: usize, bytes: u32): void {
  const kind = load<u32>(worker, Egress.PUNT);
  const slot = load<u32>(worker, Egress.FRAME + Transit.SLOT);
  if (kind == PUNT_DROP) {
    dropped(worker, load<u32>(worker, Egress.REASON), 1);
  } else if (kind == PUNT_REFUSED || kind == PUNT_TOO_BIG) {
    puntDetail(worker, kind, slot, load<u32>(worker, Worker.REFUSAL), packet, bytes);
    store<u32>(worker, PUNT_DROP, Egress.PUNT);
  } else if (kind == PUNT_NO_SESSION) {
    puntWaiting(worker, slot, packet, bytes);
  } else if (kind == PUNT_FLOW) {
    if (slot != NO_SLOT && !mayHandFlowOut(worker, slot)) dropped(worker, Drop.FLOW_RATE, 1);
    else puntFlow(worker, slot, egressDirection(), packet, bytes);
  } else if (kind == PUNT_ICMP_ERROR) {
    if (slot == NO_SLOT ? mayRefuse(worker) : mayHandErrorOut(worker, slot)) {
      puntDetail(worker, kind, slot, egressDirection(), packet, bytes);
    } else dropped(worker, Drop.ICMP_RATE, 1);
  } else {
    puntPacket(worker, kind, slot, packet, bytes);
  }
}

/** A packet that waits for its peer's session: only so many at a time, until control takes them. */
function puntWaiting(worker: usize, slot: u32, packet: usize, bytes: u32): void {
  const peer = peerRow(slot);
  // Counted before control can see it: while one worker's punt waits, another's must not complete the number.
  const puntedSoFar = atomic.add<u32>(peer, 1, Peer.PUNTED);
  if (puntedSoFar - atomic.load<u32>(peer, Peer.TAKEN) >= STAGED_MAX) {
    atomic.sub<u32>(peer, 1, Peer.PUNTED);
    dropped(worker, Drop.WG_NO_SESSION, 1);
    return;
  }
  if (!puntPacket(worker, PUNT_NO_SESSION, slot, packet, bytes)) {
    atomic.sub<u32>(peer, 1, Peer.PUNTED);
    return;
  }
  // A value of its own for every punt: a release that control decided on before it saw this one fails,
  // or is undone right here (`bindings/ring/hold.ts`).
  atomic.store<u32>(peer, holdValue(worker), Peer.HOLD);
}
