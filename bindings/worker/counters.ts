/** Counters of a worker, read from shared memory when somebody asks (PG-58). */

import {
  CONSTANTS,
  COUNTERS,
  type Counter,
  OFFSETS,
  REASON_NAMES,
  type Reason,
  type SharedMemory,
} from "../memory/index.ts";

const { worker: WORKER } = OFFSETS;
const { BATCH_SHIFT, BATCH_STEP, BATCH_BUCKETS, WAIT_SHIFT, WAIT_STEP, WAIT_BUCKETS } = CONSTANTS;
const BATCHES = { shift: BATCH_SHIFT, step: BATCH_STEP, buckets: BATCH_BUCKETS };
const WAITS = { shift: WAIT_SHIFT, step: WAIT_STEP, buckets: WAIT_BUCKETS };
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
  /** Datagrams of one send, or of one receive. */
  readonly batches: WorkerHistogram;
  /** Microseconds that it slept until there was something to do. */
  readonly waits: WorkerHistogram;
  /** Rises while the worker lives: its batches. */
  readonly epoch: number;
  /** It waits, and reads nothing meanwhile. */
  readonly isParked: boolean;
}

/** Values in buckets; read while the worker writes, so that the sum may be one value ahead or behind. */
export interface WorkerHistogram {
  /** Upper bounds, rising; without that of infinity. */
  readonly bounds: readonly number[];
  /** Values at or below each bound that are above the one before it; the last: above all. */
  readonly counts: readonly number[];
  readonly sum: number;
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
    batches: readHistogram(long, worker + WORKER.batches, BATCHES),
    waits: readHistogram(long, worker + WORKER.waits, WAITS),
    epoch: Atomics.load(shared.words, (worker + WORKER.epoch) >> 2),
    isParked: Atomics.load(shared.words, (worker + WORKER.parked) >> 2) === 1,
  };
}

/** Of several workers of one direction as if they were one (PG-176); `epoch` rises while any of them lives. */
export function sumOfCounters(all: readonly [WorkerCounters, ...WorkerCounters[]]): WorkerCounters {
  const [first, ...others] = all;
  return others.reduce(
    (sum, one) => ({
      counters: sumOf(sum.counters, one.counters),
      drops: sumOf(sum.drops, one.drops),
      sendErrnos: sumOf(sum.sendErrnos, one.sendErrnos),
      receiveErrnos: sumOf(sum.receiveErrnos, one.receiveErrnos),
      tunErrnos: sumOf(sum.tunErrnos, one.tunErrnos),
      batches: sumOfHistograms(sum.batches, one.batches),
      waits: sumOfHistograms(sum.waits, one.waits),
      epoch: (sum.epoch + one.epoch) >>> 0,
      isParked: sum.isParked && one.isParked,
    }),
    first,
  );
}

/** Adds up what either has under the same name. */
function sumOf<T extends Readonly<Record<string | number, number>>>(a: T, b: T): T {
  const sum: Record<string, number> = { ...a };
  for (const [name, value] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + value;
  // The names are those of both.
  return sum as T;
}

function sumOfHistograms(a: WorkerHistogram, b: WorkerHistogram): WorkerHistogram {
  const counts = a.counts.map((count, i) => count + (b.counts[i] ?? 0));
  return { bounds: a.bounds, counts, sum: a.sum + b.sum };
}

interface HistogramShape {
  readonly shift: number;
  readonly step: number;
  readonly buckets: number;
}

function readHistogram(
  long: (at: number) => number,
  at: number,
  { shift, step, buckets }: HistogramShape,
): WorkerHistogram {
  const places = Array.from({ length: buckets }, (_, i) => i);
  return {
    bounds: places.slice(0, -1).map((i) => 2 ** (shift + step * i)),
    counts: places.map((i) => long(at + 8 * i)),
    sum: long(at + 8 * buckets),
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
