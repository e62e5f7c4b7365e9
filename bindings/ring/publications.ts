/**
 * When new policy tables are published for good (SN-139): no worker judges by earlier ones any more, and
 * control has taken what was punted by them.
 */
import { OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "../table/index.ts";
import { ringHead, ringTail } from "./ring.ts";

const { worker: WORKER } = OFFSETS;

export interface Publications {
  /** Tables were exchanged just now; `release` frees the old ones. */
  begin(release: () => void): void;
  /** How many are complete. */
  completed(): number;
}

/** @param workers addresses of the worker records */
export function createPublications(
  shared: SharedMemory,
  quiescence: Quiescence,
  workers: readonly number[],
): Publications {
  const rings = workers.map((worker) => shared.words[(worker + WORKER.dataRing) >> 2] ?? 0);
  /** For each publication that every worker obeys: where the data rings ended at that moment. */
  const inForce: (readonly number[])[] = [];
  let completed = 0;

  /** The numbers of entries wrap (TN-87). */
  function isTakenUpTo(ends: readonly number[]): boolean {
    return rings.every((ring, i) => ((ringTail(shared, ring) - (ends[i] ?? 0)) | 0) >= 0);
  }

  return {
    begin(release) {
      quiescence.after(() => {
        release();
        inForce.push(rings.map((ring) => ringHead(shared, ring)));
      });
    },
    completed() {
      quiescence.reclaim();
      while (inForce[0] !== undefined && isTakenUpTo(inForce[0])) {
        inForce.shift();
        completed++;
      }
      return completed;
    },
  };
}
