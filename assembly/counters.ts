/**
 * Counting, by the one worker whose record it is. The law of both workers, which tests prove:
 * packets_in = packets_passed + packets_punted + all reasons of stage `path`.
 */
import { COUNTER_PACKETS_PUNTED, WORKER_DROPS } from "./layout";

/** Adds to the counter `COUNTER_…`. */
// @ts-ignore: a decorator
@inline
export function count(cx: usize, counter: usize, n: u64): void {
  store<u64>(cx + counter, load<u64>(cx + counter) + n);
}

/** Counts packets that are given up under `DROP_…`. */
export function dropped(cx: usize, reason: u32, packets: u64): void {
  const at = cx + WORKER_DROPS + ((<usize>reason) << 3);
  store<u64>(at, load<u64>(at) + packets);
}

/** Counts one packet that control has got. */
export function punted(cx: usize): void {
  count(cx, COUNTER_PACKETS_PUNTED, 1);
}
