/**
 * When what a worker might still be using may be reused (WG-44, D-11).
 *
 * A worker takes pointers out of the tables at the start of a batch and forgets them before the next: it
 * raises its epoch in between. So a thing that has been unlinked is free once every worker has raised its
 * epoch, or is parked, or does not run.
 */
import { assert, createQueue } from "../../src/base/index.ts";
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";

const { plane: PLANE, worker: WORKER } = OFFSETS;
const WAIT_MS = 1;
/** A batch takes well below a millisecond, unless its socket is full: from then on nobody waits for room there. */
const PATIENT_WAITS = 100;
/** A worker that is this late all the same is dead. */
const WAITS_MAX = 2000;
/** One that has no processor, or whose socket is full, takes longer: who need not wait for that does not. */
const SHORT_WAITS = 5;

export interface Quiescence {
  /** Calls `release` when no worker can see any more what has been unlinked just now. */
  after(release: () => void): void;
  /** Releases what is due. Cheap when nothing is. */
  reclaim(): void;
  /** Waits until everything is released. */
  drain(): void;
  /** Waits for that a few milliseconds at most. */
  settle(): void;
}

/** @param workers addresses of the worker records */
export function createQuiescence(shared: SharedMemory, workers: readonly number[]): Quiescence {
  const waiting = createQueue<{ readonly epochs: readonly number[]; readonly release: () => void }>();

  function isQuiet(epochs: readonly number[]): boolean {
    const { words } = shared;
    return workers.every(
      (worker, i) =>
        Atomics.load(words, (worker + WORKER.running) >> 2) === 0 ||
        Atomics.load(words, (worker + WORKER.parked) >> 2) === 1 ||
        Atomics.load(words, (worker + WORKER.epoch) >> 2) !== epochs[i],
    );
  }

  function reclaim(): void {
    for (let first = waiting.first(); first !== undefined && isQuiet(first.epochs); first = waiting.first()) {
      waiting.shift();
      first.release();
    }
  }

  /** Returns whether everything is released, after so many waits at most. */
  function waitFor(waitsMax: number): boolean {
    const idle = new Int32Array(new SharedArrayBuffer(4));
    for (let waits = 0; ; waits++) {
      reclaim();
      if (waiting.length === 0) return true;
      if (waits === waitsMax) return false;
      Atomics.wait(idle, 0, 0, WAIT_MS);
    }
  }

  function setHurried(value: 0 | 1): void {
    Atomics.store(shared.words, (CONSTANTS.PLANE_ADDRESS + PLANE.isHurried) >> 2, value);
  }

  return {
    reclaim,
    after(release) {
      const epochs = workers.map((worker) => Atomics.load(shared.words, (worker + WORKER.epoch) >> 2));
      waiting.push({ epochs, release });
      reclaim();
    },
    drain() {
      if (waitFor(PATIENT_WAITS)) return;
      setHurried(1);
      assert(waitFor(WAITS_MAX), "a worker passes a quiescent point within two seconds");
      setHurried(0);
    },
    settle: () => void waitFor(SHORT_WAITS),
  };
}
