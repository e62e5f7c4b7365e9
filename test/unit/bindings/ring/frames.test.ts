/** Control's side of the rings of frames; the workers' side runs in `test/system/embedded.test.ts`. */
import { beforeEach, expect, it } from "vitest";
import {
  BYTES,
  CONSTANTS,
  createPlaneMemory,
  createSharedMemory,
  OFFSETS,
} from "../../../../bindings/memory/index.ts";
import { createPlaneFrames, drainRing, type PlaneFrames } from "../../../../bindings/ring/index.ts";

const { worker: WORKER, entry: ENTRY } = OFFSETS;

let shared: ReturnType<typeof createSharedMemory>;
let workers: { egress: number; ingress: number };
let frames: PlaneFrames;

beforeEach(() => {
  shared = createSharedMemory(createPlaneMemory().memory);
  workers = { egress: shared.allocate(BYTES.egress), ingress: shared.allocate(BYTES.ingress) };
  frames = createPlaneFrames({ shared, workers, nudge: () => {} });
});

/** A frame of that length, filled with a number. */
function put(length: number, filling: number): "put" | "none" | "full" {
  return frames.put((into) => {
    into.fill(filling, 0, length);
    return length;
  });
}

/** As the egress worker does. */
function takeOne(): readonly number[] {
  let found: readonly number[] = [];
  const ring = shared.words[(workers.egress + WORKER.frameRing) >> 2] ?? 0;
  drainRing(shared, ring, 1, (entry) => {
    const at = shared.words[(entry + ENTRY.at) >> 2] ?? 0;
    const length = shared.words[(entry + ENTRY.length) >> 2] ?? 0;
    found = [length, shared.bytes[at] ?? -1, shared.bytes[at + length - 1] ?? -1];
  });
  return found;
}

function isRoomWanted(): boolean {
  return shared.words[(workers.egress + WORKER.isRoomWanted) >> 2] === 1;
}

it("PG-122: frames come out as they went in, in their order, through many rounds of the ring", () => {
  for (let i = 0; i < 500; i++) {
    const lengths = [64, CONSTANTS.FRAME_MAX_BYTES, 1_290];
    for (const [j, length] of lengths.entries()) expect(put(length, (i + j) % 256)).toBe("put");
    for (const [j, length] of lengths.entries())
      expect(takeOne()).toEqual([length, (i + j) % 256, (i + j) % 256]);
  }
  expect(takeOne()).toEqual([]);
});

it("PG-130: what was put is done with when the worker has taken all of it", () => {
  expect(frames.isDrained()).toBe(true);
  for (const filling of [1, 2]) put(64, filling);
  takeOne();
  expect(frames.isDrained()).toBe(false);
  takeOne();
  expect(frames.isDrained()).toBe(true);
});

it("PG-122: nothing is put where there is nothing", () => {
  expect(frames.put(() => 0)).toBe("none");
  expect(takeOne()).toEqual([]);
});

it("PG-122: a full ring asks for no frame, and says that room is wanted", () => {
  let count = 0;
  while (put(CONSTANTS.FRAME_MAX_BYTES, 7) === "put") count++;
  // Each with its tail, in 2 MiB.
  expect(count).toBe(31);
  expect(isRoomWanted()).toBe(true);
  let isAsked = false;
  const outcome = frames.put(() => {
    isAsked = true;
    return 0;
  });
  expect([outcome, isAsked]).toEqual(["full", false]);
  takeOne();
  expect(put(CONSTANTS.FRAME_MAX_BYTES, 8)).toBe("put");
});

it("PG-122: as many small frames as there are entries", () => {
  let count = 0;
  while (put(60, 1) === "put") count++;
  expect(count).toBe(CONSTANTS.FRAME_RING_ENTRIES);
});
