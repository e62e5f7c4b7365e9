/**
 * Order of a flow's packets through a punt (TN-87), as `hold.ts` keeps it for a peer's.
 *
 * A new record is held: its packets go to control, behind those that were punted before it was there. It is let go in
 * one direction when no worker can look for the flow in vain any more, and everything that this direction's worker
 * had punted by then has been handled. Each punt of a held flow gives the hold word another value, so letting go
 * fails if one has come in between; one that comes at the very moment makes the flow held again, and its entry in
 * the ring says so.
 */
import { CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "../table/index.ts";
import { ringHead, ringTail } from "./ring.ts";

const { flow: FLOW, flowSide: SIDE, entry: ENTRY, worker: WORKER } = OFFSETS;

export interface FlowOrder {
  /** A record was linked. */
  begin(row: number): void;
  /** Control takes a punt of a flow out of that worker's ring. */
  handOut(entry: number, worker: number): void;
  /** Everything taken so far has been handled: lets flows go. Returns whether some are still held. */
  release(): boolean;
}

export interface FlowOrderOptions {
  readonly shared: SharedMemory;
  readonly quiescence: Quiescence;
  /** Address of the worker's record that sees packets from the client, and of the other. */
  readonly out: number;
  readonly in: number;
}

interface Waiting {
  readonly ring: number;
  /** The hold word, and where the ring ended after it was read. */
  seen: number;
  head: number;
}

export function createFlowOrder({ shared, quiescence, ...workers }: FlowOrderOptions): FlowOrder {
  /** By the address of the direction. */
  const waiting = new Map<number, Waiting>();
  /** Linked, but a worker may have looked before. */
  let unsettled = 0;
  const ringOf = (worker: number) => shared.words[(worker + WORKER.dataRing) >> 2] ?? 0;

  function look(side: number, ring: number): void {
    const seen = Atomics.load(shared.words, (side + SIDE.hold) >> 2);
    if (seen !== 0) waiting.set(side, { ring, seen, head: ringHead(shared, ring) });
  }

  return {
    begin(row) {
      // What an earlier record in this row left.
      waiting.delete(row + FLOW.out);
      waiting.delete(row + FLOW.in);
      unsettled++;
      quiescence.after(() => {
        unsettled--;
        look(row + FLOW.out, ringOf(workers.out));
        look(row + FLOW.in, ringOf(workers.in));
      });
    },
    handOut(entry, worker) {
      const row = shared.words[(entry + ENTRY.flow) >> 2] ?? 0;
      if (row === 0) return;
      const side =
        row + (shared.words[(entry + ENTRY.detail) >> 2] === CONSTANTS.FLOW_IN ? FLOW.in : FLOW.out);
      if (!waiting.has(side)) look(side, ringOf(worker));
    },
    release() {
      quiescence.reclaim();
      for (const [side, { ring, seen, head }] of waiting) {
        if (((ringTail(shared, ring) - head) | 0) < 0) continue;
        waiting.delete(side);
        if (Atomics.compareExchange(shared.words, (side + SIDE.hold) >> 2, seen, 0) !== seen)
          look(side, ring);
      }
      return unsettled > 0 || waiting.size > 0;
    },
  };
}
