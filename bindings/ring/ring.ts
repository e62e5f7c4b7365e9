/** Control's side of the rings: it takes from those of the workers and puts into the inject ring (D-10). */

import { BYTES, CONSTANTS, OFFSETS, roundUp, type SharedMemory } from "../memory/index.ts";

const { ring: RING, entry: ENTRY } = OFFSETS;
/** The plane pads in place, behind the packet (PF-54). */
const PADDING_BYTES = 16;

/** Makes an empty ring; both numbers are powers of two. Returns its address. */
export function createRing(shared: SharedMemory, entries: number, areaBytes: number): number {
  const ring = shared.allocate(BYTES.ring);
  const rows = shared.allocate(entries * BYTES.entry);
  const area = shared.allocate(areaBytes);
  const { words } = shared;
  words[(ring + RING.mask) >> 2] = entries - 1;
  words[(ring + RING.entries) >> 2] = rows;
  words[(ring + RING.area) >> 2] = area;
  words[(ring + RING.areaBytes) >> 2] = areaBytes;
  return ring;
}

/**
 * Takes up to `limit` entries, oldest first. `read` gets the address of each and copies what it keeps: the
 * entry goes back right afterwards.
 */
export function drainRing(
  shared: SharedMemory,
  ring: number,
  limit: number,
  read: (entry: number) => void,
): number {
  const { words } = shared;
  const rows = words[(ring + RING.entries) >> 2] ?? 0;
  const mask = words[(ring + RING.mask) >> 2] ?? 0;
  const tailAt = (ring + RING.tail) >> 2;
  let taken = 0;
  while (taken < limit) {
    const tail = words[tailAt] ?? 0;
    if (Atomics.load(words, (ring + RING.head) >> 2) === tail) break;
    const entry = rows + (tail & mask) * BYTES.entry;
    read(entry);
    Atomics.store(words, (ring + RING.areaTail) >> 2, words[(entry + ENTRY.areaEnd) >> 2] ?? 0);
    Atomics.store(words, tailAt, (tail + 1) >>> 0);
    taken++;
  }
  return taken;
}

/** The number of the next entry to be put; it wraps at 2^32. */
export function ringHead({ words }: SharedMemory, ring: number): number {
  return Atomics.load(words, (ring + RING.head) >> 2);
}

/** The number of the next entry to be taken. */
export function ringTail({ words }: SharedMemory, ring: number): number {
  return Atomics.load(words, (ring + RING.tail) >> 2);
}

/** Whether the ring holds nothing. */
export function isRingEmpty(shared: SharedMemory, ring: number): boolean {
  const { words } = shared;
  return Atomics.load(words, (ring + RING.head) >> 2) === Atomics.load(words, (ring + RING.tail) >> 2);
}

/** Puts a packet for a peer into the inject ring. Returns false when it does not fit. */
export function putPacket(
  shared: SharedMemory,
  ring: number,
  { slot, peerId }: { readonly slot: number; readonly peerId: number },
  packet: Uint8Array,
): boolean {
  const { words, bytes } = shared;
  const at = (field: number) => words[(ring + field) >> 2] ?? 0;
  const head = at(RING.head);
  const mask = at(RING.mask);
  if ((head - Atomics.load(words, (ring + RING.tail) >> 2)) >>> 0 > mask) return false;
  const areaBytes = at(RING.areaBytes);
  const length = roundUp(packet.length + PADDING_BYTES, 8);
  let start = at(RING.areaHead);
  const rest = areaBytes - (start & (areaBytes - 1));
  if (length > rest) start = (start + rest) >>> 0;
  const end = (start + length) >>> 0;
  if ((end - Atomics.load(words, (ring + RING.areaTail) >> 2)) >>> 0 > areaBytes) return false;
  const entry = at(RING.entries) + (head & mask) * BYTES.entry;
  const place = at(RING.area) + (start & (areaBytes - 1));
  bytes.set(packet, place);
  words[(entry + ENTRY.kind) >> 2] = 0;
  words[(entry + ENTRY.slot) >> 2] = slot;
  words[(entry + ENTRY.peerId) >> 2] = peerId;
  words[(entry + ENTRY.at) >> 2] = place;
  words[(entry + ENTRY.length) >> 2] = packet.length;
  words[(entry + ENTRY.areaEnd) >> 2] = end;
  words[(ring + RING.areaHead) >> 2] = end;
  Atomics.store(words, (ring + RING.head) >> 2, (head + 1) >>> 0);
  return true;
}

/** The rings of a plane have these sizes (PG-51). */
export const RING_SIZES = {
  control: [CONSTANTS.CONTROL_RING_ENTRIES, CONSTANTS.CONTROL_RING_AREA],
  data: [CONSTANTS.DATA_RING_ENTRIES, CONSTANTS.DATA_RING_AREA],
  inject: [CONSTANTS.INJECT_RING_ENTRIES, CONSTANTS.INJECT_RING_AREA],
  frames: [CONSTANTS.FRAME_RING_ENTRIES, CONSTANTS.FRAME_RING_AREA],
} as const;
