/**
 * Counting, by the one worker whose record it is. The law of both workers, which tests prove:
 * packets_in = packets_passed + packets_punted + all reasons of stage `path`.
 */
import { BATCH_BUCKETS, BATCH_SHIFT, BATCH_STEP, Counter, Worker } from "./layout";

/** Adds to the counter `Counter.…`. */
// @ts-ignore: a decorator
@inline
export function count(worker: usize, counter: usize, n: u64): void {
  store<u64>(worker + counter, load<u64>(worker + counter) + n);
}

/** Counts packets that are given up under `Drop.…`. */
export function dropped(worker: usize, reason: u32, packets: u64): void {
  const at = worker + Worker.DROPS + ((<usize>reason) << 3);
  store<u64>(at, load<u64>(at) + packets);
}

/**
 * Adds one value to a histogram (PG-114): a bucket for values up to each of the powers of two `shift`,
 * `shift + step` …, the last for what is above, and behind them the sum of all values. Who reads it meanwhile
 * may find the one and not yet the other.
 */
// @ts-ignore: a decorator
@inline
export function observe(histogram: usize, value: u64, shift: u32, step: u32, buckets: u32): void {
  const power: u32 = value <= 1 ? 0 : 64 - <u32>clz<u64>(value - 1);
  const above: u32 = power > shift ? power - shift : 0;
  const bucket = min<u32>((above + step - 1) / step, buckets - 1);
  const at = histogram + ((<usize>bucket) << 3);
  store<u64>(at, load<u64>(at) + 1);
  const sum = histogram + ((<usize>buckets) << 3);
  store<u64>(sum, load<u64>(sum) + value);
}

/** Counts the datagrams of one send or receive. */
export function observeBatch(worker: usize, datagrams: u32): void {
  observe(worker + Worker.BATCHES, <u64>datagrams, BATCH_SHIFT, BATCH_STEP, BATCH_BUCKETS);
}

/** Counts one packet that control has got. */
export function punted(worker: usize): void {
  count(worker, Counter.PACKETS_PUNTED, 1);
}
