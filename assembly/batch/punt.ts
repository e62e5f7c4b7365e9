/** Handing packets, datagrams and events to control through a worker's rings (D-10, PG-51, WG-51). */

import { count, dropped, punted } from "../counters";
import {
  COUNTER_EVENTS,
  COUNTER_EVENTS_DEFERRED,
  DROP_PUNT_CONTROL_FULL,
  DROP_PUNT_FULL,
  DROP_PUNT_RATE,
  ENTRY_AT,
  ENTRY_CHANNEL,
  ENTRY_DETAIL,
  ENTRY_FROM,
  ENTRY_FROM_BYTES,
  ENTRY_FROM_PORT,
  ENTRY_GENERATION,
  ENTRY_KIND,
  ENTRY_LOCAL,
  ENTRY_LOCAL_BYTES,
  ENTRY_PEER_ID,
  ENTRY_SLOT,
  EVENT_HANDSHAKE,
  EVENT_ROAMED,
  EVENT_STUN,
  HANDSHAKES_PER_WINDOW,
  INGRESS_FROM,
  INGRESS_FROM_BYTES,
  INGRESS_FROM_PORT,
  INGRESS_HANDSHAKES,
  INGRESS_LOCAL,
  INGRESS_LOCAL_BYTES,
  INGRESS_PUNT_WINDOW,
  INGRESS_UNKNOWNS,
  NO_SLOT,
  PEER_PEER_ID,
  PLANE_ADDRESS,
  PLANE_REFUSALS_PER_SECOND,
  PUNT_WINDOW_MS,
  UNKNOWNS_PER_WINDOW,
  WORKER_CONTROL_RING,
  WORKER_DATA_RING,
  WORKER_NOW,
  WORKER_REFUSE_COUNT,
  WORKER_REFUSE_WINDOW,
} from "../layout";
import { ringCommit, ringReserve } from "../ring";
import { peerRow } from "../table/session";

const REFUSE_WINDOW_MS: u64 = 1000;

/**
 * Room for an event in the control ring, or 0. Nothing is lost when it is full: the caller keeps its
 * reason for the event and comes again with the next batch (PG-51).
 */
export function reserveEvent(cx: usize): usize {
  const entry = ringReserve(load<usize>(cx, WORKER_CONTROL_RING), 0);
  if (entry == 0) count(cx, COUNTER_EVENTS_DEFERRED, 1);
  return entry;
}

/** Publishes the event reserved last. */
export function publishEvent(
  cx: usize,
  entry: usize,
  kind: u32,
  slot: u32,
  generation: u32,
  detail: u32,
): void {
  fill(entry, kind, slot, generation, detail);
  ringCommit(load<usize>(cx, WORKER_CONTROL_RING), entry);
  count(cx, COUNTER_EVENTS, 1);
}

/** Reports an event once: only the worker that turns the word from 1 to 0 does (WG-50, SN-129). */
export function reportOnce(cx: usize, word: usize, kind: u32, slot: u32): void {
  const entry = reserveEvent(cx);
  if (entry != 0 && atomic.cmpxchg<u32>(word, 1, 0) == 1) publishEvent(cx, entry, kind, slot, 0, 0);
}

/** Reports that the peer of `slot` sends from the batch's source (WG-62), unless a report is under way. */
export function reportRoamed(cx: usize, word: usize, slot: u32): void {
  const entry = reserveEvent(cx);
  if (entry == 0 || atomic.cmpxchg<u32>(word, 0, 1) != 0) return;
  fillSource(cx, entry, 0);
  publishEvent(cx, entry, EVENT_ROAMED, slot, 0, 0);
}

/**
 * Hands a datagram of the ingress worker's batch to control; counts what becomes of it.
 *
 * Of handshakes and unknown datagrams only so many in a time: judging them costs control up to a hundred
 * microseconds each, and a flood of them would take a processor from the packets of others (G-12) and fill
 * the ring before STUN. STUN itself is cheap to refuse.
 */
export function puntDatagram(cx: usize, kind: u32, at: usize, bytes: u32, channel: u32): void {
  if (kind != EVENT_STUN && !mayBeJudged(cx, kind == EVENT_HANDSHAKE)) {
    dropped(cx, DROP_PUNT_RATE, 1);
    return;
  }
  const ring = load<usize>(cx, WORKER_CONTROL_RING);
  const entry = ringReserve(ring, bytes);
  if (entry == 0) {
    dropped(cx, DROP_PUNT_CONTROL_FULL, 1);
    return;
  }
  fill(entry, kind, NO_SLOT, 0, 0);
  fillSource(cx, entry, channel);
  memory.copy(load<usize>(entry, ENTRY_AT), at, <usize>bytes);
  ringCommit(ring, entry);
  punted(cx);
}

/** Hands an IP packet to control; counts what becomes of it. Returns false when the ring is full. */
export function puntPacket(cx: usize, kind: u32, slot: u32, packet: usize, bytes: u32): bool {
  const ring = load<usize>(cx, WORKER_DATA_RING);
  const entry = ringReserve(ring, bytes);
  if (entry == 0) {
    dropped(cx, DROP_PUNT_FULL, 1);
    return false;
  }
  fill(entry, kind, slot, 0, 0);
  store<u32>(entry, 0, ENTRY_CHANNEL);
  store<u32>(entry, 0, ENTRY_FROM_BYTES);
  memory.copy(load<usize>(entry, ENTRY_AT), packet, <usize>bytes);
  ringCommit(ring, entry);
  punted(cx);
  return true;
}

/** Whether control shall see one more handshake, or one more datagram of no known kind (PG-51). */
function mayBeJudged(cx: usize, isHandshake: bool): bool {
  const now = load<u64>(cx, WORKER_NOW);
  if (now - load<u64>(cx, INGRESS_PUNT_WINDOW) >= PUNT_WINDOW_MS) {
    store<u64>(cx, now, INGRESS_PUNT_WINDOW);
    store<u32>(cx, 0, INGRESS_HANDSHAKES);
    store<u32>(cx, 0, INGRESS_UNKNOWNS);
  }
  const place = cx + (isHandshake ? INGRESS_HANDSHAKES : INGRESS_UNKNOWNS);
  const judged = load<u32>(place);
  if (judged >= (isHandshake ? HANDSHAKES_PER_WINDOW : UNKNOWNS_PER_WINDOW)) return false;
  store<u32>(place, judged + 1);
  return true;
}

/** Whether one more refusal may go to control in this second (WG-58, TN-14). */
export function mayRefuse(cx: usize): bool {
  const now = load<u64>(cx, WORKER_NOW);
  if (now - load<u64>(cx, WORKER_REFUSE_WINDOW) >= REFUSE_WINDOW_MS) {
    store<u64>(cx, now, WORKER_REFUSE_WINDOW);
    store<u32>(cx, 0, WORKER_REFUSE_COUNT);
  }
  const refused = load<u32>(cx, WORKER_REFUSE_COUNT);
  if (refused >= load<u32>(PLANE_ADDRESS, PLANE_REFUSALS_PER_SECOND)) return false;
  store<u32>(cx, refused + 1, WORKER_REFUSE_COUNT);
  return true;
}

function fill(entry: usize, kind: u32, slot: u32, generation: u32, detail: u32): void {
  store<u32>(entry, kind, ENTRY_KIND);
  store<u32>(entry, slot, ENTRY_SLOT);
  store<u32>(entry, slot == NO_SLOT ? 0 : load<u32>(peerRow(slot), PEER_PEER_ID), ENTRY_PEER_ID);
  store<u32>(entry, generation, ENTRY_GENERATION);
  store<u32>(entry, detail, ENTRY_DETAIL);
}

/** Source, local address and channel of the batch at hand. */
function fillSource(cx: usize, entry: usize, channel: u32): void {
  store<u32>(entry, load<u32>(cx, INGRESS_FROM_BYTES), ENTRY_FROM_BYTES);
  store<u32>(entry, load<u32>(cx, INGRESS_FROM_PORT), ENTRY_FROM_PORT);
  store<u32>(entry, load<u32>(cx, INGRESS_LOCAL_BYTES), ENTRY_LOCAL_BYTES);
  store<u32>(entry, channel, ENTRY_CHANNEL);
  v128.store(entry, v128.load(cx, INGRESS_FROM), ENTRY_FROM);
  v128.store(entry, v128.load(cx, INGRESS_LOCAL), ENTRY_LOCAL);
}
