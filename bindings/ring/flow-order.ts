/**
 * Order of a flow's packets through a punt (TN-87), as `hold.ts` keeps it for a peer's.
 *
 * A new record is held: its packets go to control, behind those that were punted before it was there. It is let go in
 * one direction when no worker can look for the flow in vain any more, and everything that this direction's workers
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
  /** Control takes a punt of a flow out of a ring. */
  handOut(entry: number): void;
  /** Everything taken so far has been handled: lets flows go. Returns whether some are still held. */
  release(): boolean;
}

export interface FlowOrderOptions {
  readonly shared: SharedMemory;
  readonly quiescence: Quiescence;
  /** Addresses of the records of the workers that see packets from the client, and of the others. */
  readonly out: readonly number[];
  readonly in: readonly number[];
}

interface Waiting {
  /** Of all workers of the direction: a flow may move from one to another (PG-176). */
  readonly rings: readonly number[];
  /** The hold word, and where the rings ended after it was read. */
  readonly seen: number;
  readonly heads: readonly number[];
}

export function createFlowOrder({ shared, quiescence, ...workers }: FlowOrderOptions): FlowOrder {
  /** By the address of the direction. */
  const waiting = new Map<number, Waiting>();
  /** Linked, but a worker may have looked before. */
  let unsettled = 0;
  const ringOf = (worker: number) => shared.words[(worker + WORKER.dataRing) >> 2] ?? 0;
  const outRings = workers.out.map(ringOf);
  const inRings = workers.in.map(ringOf);

  function look(side: number, rings: readonly number[]): void {
    const seen = Atomics.load(shared.words, (side + SIDE.hold) >> 2);
    if (seen !== 0) waiting.set(side, { rings, seen, heads: rings.map((ring) => ringHead(shared, ring)) });
  }

  function isTaken({ rings, heads }: Waiting): boolean {
    return rings.every((ring, i) => ((ringTail(shared, ring) - (heads[i] ?? 0)) | 0) >= 0);
  }

  return {
    begin(row) {
      // What an earlier record in this row left.
      waiting.delete(row + FLOW.out);
      waiting.delete(row + FLOW.in);
      unsettled++;
      quiescence.after(() => {
        unsettled--;
        look(row + FLOW.out, outRings);
        look(row + FLOW.in, inRings);
      });
    },
    handOut(entry) {
      const row = shared.words[(entry + ENTRY.flow) >> 2] ?? 0;
      if (row === 0) return;
      const isIn = shared.words[(entry + ENTRY.detail) >> 2] === CONSTANTS.FLOW_IN;
      const side = row + (isIn ? FLOW.in : FLOW.out);
      if (!waiting.has(side)) look(side, isIn ? inRings : outRings);
    },
    release() {
      quiescence.reclaim();
      for (const [side, held] of waiting) {
        if (!isTaken(held)) continue;
        waiting.delete(side);
        const { seen, rings } = held;
        if (Atomics.compareExchange(shared.words, (side + SIDE.hold) >> 2, seen, 0) !== seen)
          look(side, rings);
      }
      return unsettled > 0 || waiting.size > 0;
    },
  };
}
