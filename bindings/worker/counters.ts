/** Counters of a worker, read from shared memory when somebody asks (PG-58). */
import { OFFSETS } from "../memory/layout.ts";
import { COUNTERS, type Counter, REASON_NAMES, type Reason } from "../memory/reasons.ts";
import type { SharedMemory } from "../memory/shared-memory.ts";
import type { WorkerCounters } from "../plane/face.ts";

const { worker: WORKER } = OFFSETS;
const ERRNO_COUNT = 136;
// The keys of a table written in this repository.
const COUNTER_NAMES = Object.keys(COUNTERS) as Counter[];

export function readWorkerCounters(shared: SharedMemory, worker: number): WorkerCounters {
  const long = (at: number) => Number(Atomics.load(shared.longs, at >> 3));
  const counters = Object.fromEntries(
    COUNTER_NAMES.map((name, i) => [name, long(worker + WORKER.counters + 8 * i)]),
  );
  const drops: Partial<Record<Reason, number>> = {};
  for (const [i, name] of REASON_NAMES.entries()) {
    const packets = i === 0 ? 0 : long(worker + WORKER.drops + 8 * i);
    // Index 0 is the only name that is not a reason's.
    if (packets > 0) drops[name as Reason] = packets;
  }
  return {
    counters: counters as Record<Counter, number>,
    drops,
    sendErrnos: readErrnos(shared, worker + WORKER.sendErrnos),
    receiveErrnos: readErrnos(shared, worker + WORKER.receiveErrnos),
    tunErrnos: readErrnos(shared, worker + WORKER.tunErrnos),
    epoch: Atomics.load(shared.words, (worker + WORKER.epoch) >> 2),
  };
}

function readErrnos(shared: SharedMemory, table: number): Readonly<Record<number, number>> {
  const errnos: Record<number, number> = {};
  for (let errno = 0; errno < ERRNO_COUNT; errno++) {
    const times = shared.words[(table >> 2) + errno] ?? 0;
    if (times > 0) errnos[errno] = times;
  }
  return errnos;
}
