/** Candidates on their way to the portal: collected while the connections are drained, one list each (SN-28). */
import type { Log } from "../base/index.ts";
import type { ConnectionEvent } from "../connections/index.ts";

export type CandidateEvent = Extract<ConnectionEvent, { kind: "candidate-added" | "candidate-removed" }>;

export interface CandidateBatch {
  readonly kind: "broadcast-ice-candidates" | "broadcast-invalidated-ice-candidates";
  /** The peer's id: `gid` at a client, `cid` at a gateway. */
  readonly id: string;
  readonly candidates: readonly string[];
}

/** Runs of additions or removals for one peer, in the order in which they happened. */
export function batchCandidates(events: readonly CandidateEvent[]): readonly CandidateBatch[] {
  const batches: { kind: CandidateBatch["kind"]; id: string; candidates: string[] }[] = [];
  for (const { kind, id, candidate } of events) {
    const request =
      kind === "candidate-added" ? "broadcast-ice-candidates" : "broadcast-invalidated-ice-candidates";
    const open = batches.findLast((batch) => batch.id === id);
    if (open?.kind === request) open.candidates.push(candidate);
    else batches.push({ kind: request, id, candidates: [candidate] });
  }
  return batches;
}

/** SN-134: one line per batch. */
export function logBatch(log: Log, idField: "gid" | "cid", { kind, id, candidates }: CandidateBatch): void {
  const event = kind === "broadcast-ice-candidates" ? "candidates signalled" : "candidates withdrawn";
  log.info?.(event, { [idField]: id, candidates });
}
