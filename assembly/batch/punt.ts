/**
 * Handing packets, datagrams and events to control through a worker's rings (D-10, PG-51, WG-51).
 * The twin: `test/twin/plane/worker.ts`.
 */
import { fillDatagram, fillSource } from "../arrival";
import { count, dropped, punted } from "../counters";
import {
  CONTROL_EVENTS_PER_SECOND,
  Counter,
  Drop,
  Entry,
  EVENT_ROAMED,
  FLOW_PUNTS_PER_PEER,
  FlowSide,
  ICMP_ERRORS_PER_PEER,
  NO_SLOT,
  PAIR_BITS,
  Peer,
  PLANE_ADDRESS,
  Plane,
  PUNT_FLOW,
  REFUSALS_PER_PEER,
  Ring,
  Worker,
} from "../layout";
import { ringCommit, ringReserve } from "../ring";
import { peerRow } from "../table/session";

const SECOND_MS: u64 = 1000;

/**
 * Room for an event in the control ring, or 0. Nothing is lost when it is full: the caller keeps its
 * reason for the event and comes again with the next batch (PG-51).
 */
export function reserveEvent(worker: usize): usize {
  const entry = ringReserve(load<usize>(worker, Worker.CONTROL_RING), 0);
  if (entry == 0) count(worker, Counter.EVENTS_DEFERRED, 1);
  return entry;
}

/** Publishes the event reserved last. */
export function publishEvent(
  worker: usize,
  entry: usize,
  kind: u32,
  slot: u32,
  generation: u32,
  detail: u32,
): void {
  fill(entry, kind, slot, generation, detail);
  ringCommit(load<usize>(worker, Worker.CONTROL_RING), entry);
  count(worker, Counter.EVENTS, 1);
}

/** Reports an event once: only the worker that turns the word from 1 to 0 does (WG-50, SN-129). */
export function reportOnce(worker: usize, word: usize, kind: u32, slot: u32): void {
  const entry = reserveEvent(worker);
  if (entry != 0 && atomic.cmpxchg<u32>(word, 1, 0) == 1) publishEvent(worker, entry, kind, slot, 0, 0);
}

/**
 * Reports that the peer of `slot` sends from the batch's source (WG-62, SN-145), unless a report is under way
 * or was made just now.
 */
export function reportRoamed(worker: usize, peer: usize, slot: u32): void {
  const now = load<u64>(worker, Worker.NOW);
  const gap = <u64>load<u32>(PLANE_ADDRESS, Plane.ROAMED_GAP);
  if (!hasPassed(now, load<u64>(peer, Peer.ROAMED_AT), gap)) return;
  const entry = reserveEvent(worker);
  if (entry == 0 || atomic.cmpxchg<u32>(peer, 0, 1, Peer.ROAMING) != 0) return;
  store<u64>(peer, now, Peer.ROAMED_AT);
  fillSource(worker, entry, 0);
  publishEvent(worker, entry, EVENT_ROAMED, slot, 0, 0);
}

/**
 * Hands a datagram of the ingress worker's batch to control; counts what becomes of it.
 * @param detail of a handshake message: JUDGED, if the guard has let it pass
 */
export function puntDatagram(
  worker: usize,
  kind: u32,
  at: usize,
  bytes: u32,
  channel: u32,
  detail: u32,
): void {
  const ring = load<usize>(worker, Worker.CONTROL_RING);
  const entry = ringReserve(ring, bytes);
  if (entry == 0) {
    dropped(worker, Drop.PUNT_CONTROL_FULL, 1);
    return;
  }
  fillDatagram(worker, entry, kind, detail, channel, at, bytes);
  ringCommit(ring, entry);
  punted(worker);
}

/** Hands an IP packet to control; counts what becomes of it. Returns false when the ring is full. */
export function puntPacket(worker: usize, kind: u32, slot: u32, packet: usize, bytes: u32): bool {
  return puntDetail(worker, kind, slot, 0, packet, bytes);
}

/**
 * The same for a packet about which flows decide. If its flow is held, the hold word gets a value of its own for this
 * punt: a release that control decided on before it saw the punt fails, or is undone right here (TN-87).
 */
export function puntFlow(worker: usize, slot: u32, direction: u32, packet: usize, bytes: u32): void {
  if (!puntDetail(worker, PUNT_FLOW, slot, direction, packet, bytes)) return;
  const side = load<usize>(worker, Worker.FLOW_SIDE);
  if (side == 0) return;
  atomic.store<u32>(side, holdValue(worker), FlowSide.HOLD);
}

/** What a hold word gets with the punt made last: odd, and never the same as another punt's, of any worker. */
export function holdValue(worker: usize): u32 {
  const put = load<u32>(load<usize>(worker, Worker.DATA_RING), Ring.HEAD);
  return (put << (PAIR_BITS + 1)) | (load<u32>(worker, Worker.NUMBER) << 1) | 1;
}

/** Hands an IP packet to control with a number that says more. Returns false when the ring is full. */
export function puntDetail(
  worker: usize,
  kind: u32,
  slot: u32,
  detail: u32,
  packet: usize,
  bytes: u32,
): bool {
  const ring = load<usize>(worker, Worker.DATA_RING);
  const entry = ringReserve(ring, bytes);
  if (entry == 0) {
    dropped(worker, Drop.PUNT_FULL, 1);
    return false;
  }
  fill(entry, kind, slot, 0, detail);
  const isHeld = kind == PUNT_FLOW && load<usize>(worker, Worker.FLOW_SIDE) != 0;
  store<u32>(entry, isHeld ? load<u32>(worker, Worker.FLOW) : 0, Entry.FLOW);
  store<u32>(entry, 0, Entry.CHANNEL);
  store<u32>(entry, 0, Entry.FROM_BYTES);
  memory.copy(load<usize>(entry, Entry.AT), packet, <usize>bytes);
  ringCommit(ring, entry);
  punted(worker);
  return true;
}

/** Whether one more refusal of our own packets may go to control in this second (WG-58). */
export function mayRefuse(worker: usize): bool {
  const now = load<u64>(worker, Worker.NOW);
  if (now - load<u64>(worker, Worker.REFUSE_WINDOW) >= SECOND_MS) {
    store<u64>(worker, now, Worker.REFUSE_WINDOW);
    store<u32>(worker, 0, Worker.REFUSE_COUNT);
  }
  return takeOf(worker + Worker.REFUSE_COUNT, load<u32>(PLANE_ADDRESS, Plane.REFUSALS_PER_SECOND));
}

/** Whether one more refusal of what the peer of `slot` sent may: each peer has its own (TN-14). */
export function mayRefusePeer(worker: usize, slot: u32): bool {
  const peer = windowOf(worker, slot);
  return takeOf(peer + Peer.REFUSALS, REFUSALS_PER_PEER);
}

/** Whether one more control event of the peer may (TN-40). */
export function mayHandEvent(worker: usize, slot: u32): bool {
  return takeOf(windowOf(worker, slot) + Peer.CONTROL_EVENTS, CONTROL_EVENTS_PER_SECOND);
}

/** Whether one more of its packets without a flow's record may (TN-78). */
export function mayHandFlow(worker: usize, slot: u32): bool {
  return takeOf(windowOf(worker, slot) + Peer.FLOWS, FLOW_PUNTS_PER_PEER);
}

/** Whether one more of its ICMP errors may. */
export function mayHandError(worker: usize, slot: u32): bool {
  return takeOf(windowOf(worker, slot) + Peer.ERRORS, ICMP_ERRORS_PER_PEER);
}

/** The same two for packets to the peer. */
export function mayHandFlowOut(worker: usize, slot: u32): bool {
  return takeOf(outWindowOf(worker, slot) + Peer.OUT_FLOWS, FLOW_PUNTS_PER_PEER);
}

export function mayHandErrorOut(worker: usize, slot: u32): bool {
  return takeOf(outWindowOf(worker, slot) + Peer.OUT_ERRORS, ICMP_ERRORS_PER_PEER);
}

/** Whether so many ms have passed: another worker of several may have read the clock after us (PG-176). */
// @ts-ignore: a decorator
@inline
function hasPassed(now: u64, since: u64, ms: u64): bool {
  return <i64>(now - since) >= <i64>ms;
}

/**
 * The peer's row; the ingress worker's counts begin anew with every second. Several workers may count at the same
 * moment and lose one of two: then control gets one more.
 */
function windowOf(worker: usize, slot: u32): usize {
  const now = load<u64>(worker, Worker.NOW);
  const peer = peerRow(slot);
  if (hasPassed(now, load<u64>(peer, Peer.PUNT_WINDOW), SECOND_MS)) {
    store<u64>(peer, now, Peer.PUNT_WINDOW);
    store<u32>(peer, 0, Peer.REFUSALS);
    store<u32>(peer, 0, Peer.CONTROL_EVENTS);
    store<u32>(peer, 0, Peer.FLOWS);
    store<u32>(peer, 0, Peer.ERRORS);
  }
  return peer;
}

/** The same for the egress worker's. */
function outWindowOf(worker: usize, slot: u32): usize {
  const now = load<u64>(worker, Worker.NOW);
  const peer = peerRow(slot);
  if (hasPassed(now, load<u64>(peer, Peer.OUT_WINDOW), SECOND_MS)) {
    store<u64>(peer, now, Peer.OUT_WINDOW);
    store<u32>(peer, 0, Peer.OUT_FLOWS);
    store<u32>(peer, 0, Peer.OUT_ERRORS);
  }
  return peer;
}

function takeOf(place: usize, most: u32): bool {
  const taken = load<u32>(place);
  if (taken >= most) return false;
  store<u32>(place, taken + 1);
  return true;
}

function fill(entry: usize, kind: u32, slot: u32, generation: u32, detail: u32): void {
  store<u32>(entry, kind, Entry.KIND);
  store<u32>(entry, slot, Entry.SLOT);
  store<u32>(entry, slot == NO_SLOT ? 0 : load<u32>(peerRow(slot), Peer.PEER_ID), Entry.PEER_ID);
  store<u32>(entry, generation, Entry.GENERATION);
  store<u32>(entry, detail, Entry.DETAIL);
}
