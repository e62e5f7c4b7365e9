/**
 * Single-producer, single-consumer rings between a worker and control (D-10, PG-51).
 *
 * Entries lie in a circle; each may have bytes in the ring's area, always in one piece, so the end of
 * the area is skipped when a piece does not fit. `head` and `areaHead` belong to the producer, `tail`
 * and `areaTail` to the consumer; all of them only ever rise, modulo 2^32. The other side is
 * `bindings/ring/ring.ts`, the twin `test/twin/plane/ring.ts`.
 */
import { Entry, PLANE_ADDRESS, Plane, Ring } from "./layout";

/**
 * The next entry, with room for `bytes` bytes at its `at`; it becomes visible by `ringCommit`.
 * @returns 0 when entries or bytes are used up: the caller drops or comes again
 */
export function ringReserve(ring: usize, bytes: u32): usize {
  const head = load<u32>(ring, Ring.HEAD);
  const mask = load<u32>(ring, Ring.MASK);
  if (head - atomic.load<u32>(ring, Ring.TAIL) > mask) return 0;
  const areaBytes = load<u32>(ring, Ring.AREA_BYTES);
  const length = (bytes + 7) & ~7;
  let start = load<u32>(ring, Ring.AREA_HEAD);
  const rest = areaBytes - (start & (areaBytes - 1));
  if (length > rest) start += rest;
  if (start + length - atomic.load<u32>(ring, Ring.AREA_TAIL) > areaBytes) return 0;
  const entry = load<usize>(ring, Ring.ENTRIES) + <usize>(head & mask) * Entry.BYTES;
  store<usize>(entry, load<usize>(ring, Ring.AREA) + <usize>(start & (areaBytes - 1)), Entry.AT);
  store<u32>(entry, bytes, Entry.LENGTH);
  store<u32>(entry, start + length, Entry.AREA_END);
  return entry;
}

/**
 * Publishes the entry of the last `ringReserve` and wakes control if the ring was empty (D-13).
 *
 * The consumer stores its tail before it looks at the head once more, and we store the head before we
 * look at the tail: one of the two sees the other, so no wake-up is lost.
 */
export function ringCommit(ring: usize, entry: usize): void {
  const head = load<u32>(ring, Ring.HEAD);
  store<u32>(ring, load<u32>(entry, Entry.AREA_END), Ring.AREA_HEAD);
  atomic.store<u32>(ring, head + 1, Ring.HEAD);
  if (atomic.load<u32>(ring, Ring.TAIL) != head) return;
  atomic.add<u32>(PLANE_ADDRESS, 1, Plane.WAKE);
  atomic.notify(PLANE_ADDRESS + Plane.WAKE, 1);
}

/** The oldest entry, or 0. It stays until `ringTake`. */
export function ringPeek(ring: usize): usize {
  const tail = load<u32>(ring, Ring.TAIL);
  if (atomic.load<u32>(ring, Ring.HEAD) == tail) return 0;
  return load<usize>(ring, Ring.ENTRIES) + <usize>(tail & load<u32>(ring, Ring.MASK)) * Entry.BYTES;
}

/** Gives the oldest entry and its bytes back. */
export function ringTake(ring: usize, entry: usize): void {
  atomic.store<u32>(ring, load<u32>(entry, Entry.AREA_END), Ring.AREA_TAIL);
  atomic.store<u32>(ring, load<u32>(ring, Ring.TAIL) + 1, Ring.TAIL);
}
