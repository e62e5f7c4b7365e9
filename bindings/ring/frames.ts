/**
 * Frames between the workers and a stack without a TUN device, each a packet or super-frame behind its virtio_net_hdr
 * (PG-122): control's side of the rings that `assembly/loop/frames.ts` reads and fills.
 */
import { BYTES, CONSTANTS, OFFSETS, roundUp, type SharedMemory } from "../memory/index.ts";
import { createRing, drainRing, isRingEmpty, RING_SIZES } from "./ring.ts";

const { ring: RING, entry: ENTRY, worker: WORKER } = OFFSETS;

export interface PlaneFrames {
  /**
   * Lets `write` put a frame where the egress worker reads it; it returns the frame's length, or 0 for none. `nudge`
   * when all are put. `full`: nothing was asked for; whoever listens by `onWake` is woken when there is room.
   */
  put(write: (into: Uint8Array) => number): "put" | "none" | "full";
  /** Wakes the egress worker if it waits. */
  nudge(): void;
  /** Whether the egress worker is done with all that was put. */
  isDrained(): boolean;
  /** Lends up to `limit` frames that have come, oldest first, each for the time of the call. @returns how many */
  take(limit: number, use: (frame: Uint8Array) => void): number;
}

export interface PlaneFramesOptions {
  readonly shared: SharedMemory;
  readonly nudge: () => void;
  readonly workers: { readonly egress: number; readonly ingress: number };
}

/** Makes both rings, and names them in the workers' records. */
export function createPlaneFrames({ shared, nudge, workers }: PlaneFramesOptions): PlaneFrames {
  const out = createRing(shared, ...RING_SIZES.frames);
  const back = createRing(shared, ...RING_SIZES.frames);
  shared.words[(workers.egress + WORKER.frameRing) >> 2] = out;
  shared.words[(workers.ingress + WORKER.frameRing) >> 2] = back;
  const wantedAt = (workers.egress + WORKER.isRoomWanted) >> 2;
  return {
    nudge,
    isDrained: () => isRingEmpty(shared, out),
    put(write) {
      if (findRoom(shared, out) === undefined) {
        Atomics.store(shared.words, wantedAt, 1);
        // The worker may have made room before it could see that.
        if (findRoom(shared, out) === undefined) return "full";
      }
      return putFrame(shared, out, write);
    },
    take: (limit, use) =>
      drainRing(shared, back, limit, (entry) => {
        const at = shared.words[(entry + ENTRY.at) >> 2] ?? 0;
        const length = shared.words[(entry + ENTRY.length) >> 2] ?? 0;
        use(shared.bytes.subarray(at, at + length));
      }),
  };
}

/** Where the longest frame would lie, of what has been given out so far; `undefined`: there is no room. */
function findRoom({ words }: SharedMemory, ring: number): number | undefined {
  const at = (field: number) => words[(ring + field) >> 2] ?? 0;
  const mask = at(RING.mask);
  if ((at(RING.head) - Atomics.load(words, (ring + RING.tail) >> 2)) >>> 0 > mask) return undefined;
  const areaBytes = at(RING.areaBytes);
  const length = bytesFor(CONSTANTS.FRAME_MAX_BYTES);
  let start = at(RING.areaHead);
  const rest = areaBytes - (start & (areaBytes - 1));
  if (length > rest) start = (start + rest) >>> 0;
  const used = (start + length - Atomics.load(words, (ring + RING.areaTail) >> 2)) >>> 0;
  return used > areaBytes ? undefined : start;
}

function bytesFor(frameBytes: number): number {
  return roundUp(frameBytes + CONSTANTS.FRAME_TAIL_BYTES, 8);
}

function putFrame(
  shared: SharedMemory,
  ring: number,
  write: (into: Uint8Array) => number,
): "put" | "none" | "full" {
  const { words, bytes } = shared;
  const start = findRoom(shared, ring);
  if (start === undefined) return "full";
  const at = (field: number) => words[(ring + field) >> 2] ?? 0;
  const place = at(RING.area) + (start & (at(RING.areaBytes) - 1));
  const length = write(bytes.subarray(place, place + CONSTANTS.FRAME_MAX_BYTES));
  if (length === 0) return "none";
  const head = at(RING.head);
  const entry = at(RING.entries) + (head & at(RING.mask)) * BYTES.entry;
  const end = (start + bytesFor(length)) >>> 0;
  words[(entry + ENTRY.at) >> 2] = place;
  words[(entry + ENTRY.length) >> 2] = length;
  words[(entry + ENTRY.areaEnd) >> 2] = end;
  Atomics.store(words, (ring + RING.areaHead) >> 2, end);
  Atomics.store(words, (ring + RING.head) >> 2, (head + 1) >>> 0);
  return "put";
}
