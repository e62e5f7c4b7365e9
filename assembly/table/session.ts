/**
 * Finding sessions and taking send counters (WG-11, WG-14, WG-44, WG-45).
 *
 * Rows are written by control before they are published and never change while a worker may see them;
 * a pointer taken in one batch is not used in the next. The twin: `test/twin/plane/peer.ts`.
 */
import { NO_SLOT, Peer, PLANE_ADDRESS, Plane, SESSIONS_PER_PEER, Session } from "../layout";

/** The row of a slot, which is below the capacity. */
// @ts-ignore: a decorator
@inline
export function peerRow(slot: u32): usize {
  return load<usize>(PLANE_ADDRESS, Plane.PEERS) + <usize>slot * Peer.BYTES;
}

/** The row behind a number of `current` or of a peer's ring: the row + 1, or 0 for none. */
// @ts-ignore: a decorator
@inline
export function sessionRow(number: u32): usize {
  if (number == 0) return 0;
  return load<usize>(PLANE_ADDRESS, Plane.SESSIONS) + <usize>(number - 1) * Session.BYTES;
}

/** The number of a row, as it stands in `current`. */
export function sessionNumber(row: usize): u32 {
  return <u32>((row - load<usize>(PLANE_ADDRESS, Plane.SESSIONS)) / Session.BYTES) + 1;
}

/** The session that sends for the peer, or 0. */
export function currentSession(peer: usize): usize {
  return sessionRow(atomic.load<u32>(peer, Peer.CURRENT));
}

/** The session with exactly this receiver index, or 0 (`wg_unknown_index`). */
export function findSession(index: u32): usize {
  const slot = findPeer(index >> 8);
  if (slot == NO_SLOT) return 0;
  const place = peerRow(slot) + ((<usize>(index & (SESSIONS_PER_PEER - 1))) << 2);
  const session = sessionRow(atomic.load<u32>(place, Peer.RING));
  return session != 0 && load<u32>(session, Session.LOCAL) == index ? session : 0;
}

/**
 * The slot of a peer id, or NO_SLOT: open addressing over entries `peer id << 32 | slot`. Ids are random
 * numbers, so they are their own hash. 0 ends a probe; removed entries have an id that no peer has.
 */
export function findPeer(peerId: u32): u32 {
  const index = load<usize>(PLANE_ADDRESS, Plane.INDEX);
  const mask = load<u32>(PLANE_ADDRESS, Plane.INDEX_MASK);
  for (let i: u32 = 0; i <= mask; i++) {
    const entry = atomic.load<u64>(index + ((<usize>((peerId + i) & mask)) << 3));
    if (entry == 0) return NO_SLOT;
    if (<u32>(entry >> 32) == peerId) return <u32>entry;
  }
  return NO_SLOT;
}

/** How many counters `takeCounters` got, and the first of them, in the caller's record. */
export function takeCounters(session: usize, wanted: u32, firstAt: usize): u32 {
  const limit = load<u64>(session, Session.REJECT_LIMIT);
  const seen = atomic.load<u64>(session, Session.SEND_COUNTER);
  // At the limit nothing is added, so the counter can never wrap (WG-45).
  if (seen >= limit) return 0;
  const number = <u32>min<u64>(<u64>wanted, limit - seen);
  const first = atomic.add<u64>(session, <u64>number, Session.SEND_COUNTER);
  store<u64>(firstAt, first);
  // Control may have taken some in between.
  return first >= limit ? 0 : <u32>min<u64>(<u64>number, limit - first);
}
