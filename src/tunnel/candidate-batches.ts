/** Collects candidates while the machine is drained, so that each peer gets one list (SN-28). */
import type { ConnectionEvent } from "../connections/index.ts";

type CandidateEvent = Extract<ConnectionEvent, { kind: "candidate-added" | "candidate-removed" }>;

export interface CandidateBatch {
  readonly kind: "added" | "removed";
  readonly id: string;
  readonly texts: readonly string[];
}

export interface CandidateBatches {
  add(event: CandidateEvent): void;
  /** Runs of additions or removals for one peer, in the order in which they happened. */
  take(): readonly CandidateBatch[];
}

export function createCandidateBatches(): CandidateBatches {
  let waiting: CandidateEvent[] = [];
  return {
    add(event) {
      waiting.push(event);
    },
    take() {
      const batches: { kind: "added" | "removed"; id: string; texts: string[] }[] = [];
      for (const { kind, id, candidate } of waiting) {
        const is = kind === "candidate-added" ? "added" : "removed";
        const open = batches.findLast((batch) => batch.id === id);
        if (open?.kind === is) open.texts.push(candidate);
        else batches.push({ kind: is, id, texts: [candidate] });
      }
      waiting = [];
      return batches;
    },
  };
}
