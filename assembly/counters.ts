/**
 * Counting, by the one worker whose record it is. The law of both workers, which tests prove:
 * packets_in = packets_passed + packets_punted + all reasons of stage `path`.
 */
import { Counter, Worker } from "./layout";

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

/** Counts one packet that control has got. */
export function punted(worker: usize): void {
  count(worker, Counter.PACKETS_PUNTED, 1);
}
