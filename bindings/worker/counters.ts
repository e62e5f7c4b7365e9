/** Counters of a worker, read from shared memory when somebody asks (PG-58). */

import {
  COUNTERS,
  type Counter,
  OFFSETS,
  REASON_NAMES,
  type Reason,
  type SharedMemory,
} from "../memory/index.ts";

const { worker: WORKER } = OFFSETS;
const ERRNO_COUNT = 136;
// The table stands in this repository: its keys are the counters.
const COUNTER_NAMES = Object.keys(COUNTERS) as Counter[];

export interface WorkerCounters {
  readonly counters: Readonly<Record<Counter, number>>;
  /** Reasons that have occurred. */
  readonly drops: Readonly<Partial<Record<Reason, number>>>;
  /** Failed system calls by errno (PG-38, PG-46, PG-47). */
  readonly sendErrnos: Readonly<Record<number, number>>;
  readonly receiveErrnos: Readonly<Record<number, number>>;
  readonly tunErrnos: Readonly<Record<number, number>>;
  /** Rises while the worker lives: its batches. */
  readonly epoch: number;
  /** It waits, and reads nothing meanwhile. */
  readonly isParked: boolean;
}

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
    isParked: Atomics.load(shared.words, (worker + WORKER.parked) >> 2) === 1,
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
