/**
 * Single-producer, single-consumer rings between a worker and control (D-10, PG-51).
 *
 * Entries lie in a circle; each may have bytes in the ring's area, always in one piece, so the end of
 * the area is skipped when a piece does not fit. `head` and `areaHead` belong to the producer, `tail`
 * and `areaTail` to the consumer; all of them only ever rise, modulo 2^32. The other side is
 * `bindings/ring/ring.ts`.
 */
import {
  ENTRY_AREA_END,
  ENTRY_AT,
  ENTRY_BYTES,
  ENTRY_LENGTH,
  PLANE_ADDRESS,
  PLANE_WAKE,
  RING_AREA,
  RING_AREA_BYTES,
  RING_AREA_HEAD,
  RING_AREA_TAIL,
  RING_ENTRIES,
  RING_HEAD,
  RING_MASK,
  RING_TAIL,
} from "./layout";

/**
 * The next entry, with room for `bytes` bytes at its `at`; it becomes visible by `ringCommit`.
 * @returns 0 when entries or bytes are used up: the caller drops or comes again
 */
export function ringReserve(ring: usize, bytes: u32): usize {
  const head = load<u32>(ring, RING_HEAD);
  const mask = load<u32>(ring, RING_MASK);
  if (head - atomic.load<u32>(ring, RING_TAIL) > mask) return 0;
  const areaBytes = load<u32>(ring, RING_AREA_BYTES);
  const length = (bytes + 7) & ~7;
  let start = load<u32>(ring, RING_AREA_HEAD);
  const rest = areaBytes - (start & (areaBytes - 1));
  if (length > rest) start += rest;
  if (start + length - atomic.load<u32>(ring, RING_AREA_TAIL) > areaBytes) return 0;
  const entry = load<usize>(ring, RING_ENTRIES) + <usize>(head & mask) * ENTRY_BYTES;
  store<usize>(entry, load<usize>(ring, RING_AREA) + <usize>(start & (areaBytes - 1)), ENTRY_AT);
  store<u32>(entry, bytes, ENTRY_LENGTH);
  store<u32>(entry, start + length, ENTRY_AREA_END);
  return entry;
}

/**
 * Publishes the entry of the last `ringReserve` and wakes control if the ring was empty (D-13).
 *
 * The consumer stores its tail before it looks at the head once more, and we store the head before we
 * look at the tail: one of the two sees the other, so no wake-up is lost.
 */
export function ringCommit(ring: usize, entry: usize): void {
  const head = load<u32>(ring, RING_HEAD);
  store<u32>(ring, load<u32>(entry, ENTRY_AREA_END), RING_AREA_HEAD);
  atomic.store<u32>(ring, head + 1, RING_HEAD);
  if (atomic.load<u32>(ring, RING_TAIL) != head) return;
  atomic.add<u32>(PLANE_ADDRESS, 1, PLANE_WAKE);
  atomic.notify(PLANE_ADDRESS + PLANE_WAKE, 1);
}

/** The oldest entry, or 0. It stays until `ringTake`. */
export function ringPeek(ring: usize): usize {
  const tail = load<u32>(ring, RING_TAIL);
  if (atomic.load<u32>(ring, RING_HEAD) == tail) return 0;
  return load<usize>(ring, RING_ENTRIES) + <usize>(tail & load<u32>(ring, RING_MASK)) * ENTRY_BYTES;
}

/** Gives the oldest entry and its bytes back. */
export function ringTake(ring: usize, entry: usize): void {
  atomic.store<u32>(ring, load<u32>(entry, ENTRY_AREA_END), RING_AREA_TAIL);
  atomic.store<u32>(ring, load<u32>(ring, RING_TAIL) + 1, RING_TAIL);
}
