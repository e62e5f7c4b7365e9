import { expect } from "vitest";
import { REASONS, type Reason } from "../../../bindings/memory/index.ts";
import type { Plane, WorkerCounters } from "../../../bindings/plane/index.ts";

/** What the paths gave up, over all reasons. */
export function droppedByPath({ drops }: WorkerCounters): number {
  let sum = 0;
  for (const [reason, packets] of Object.entries(drops)) {
    // The keys of a table of reasons.
    if (REASONS[reason as Reason].stage === "path") sum += packets;
  }
  return sum;
}

/** Everything that came in was passed, punted or dropped under a reason (D-8). */
export function expectLaw(plane: Plane): void {
  const { egress, ingress } = plane.counters();
  for (const worker of [egress, ingress]) {
    const { packets_in, packets_passed, packets_punted } = worker.counters;
    expect(packets_passed + packets_punted + droppedByPath(worker)).toBe(packets_in);
  }
}
