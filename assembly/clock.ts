/** Time in the plane: milliseconds that count suspend, read once per batch (D-14). */
import { WORKER_NOW, WORKER_TIME } from "./layout";
import { sysClockGettime } from "./sys";

const CLOCK_BOOTTIME: i32 = 7;

/** Reads the clock into the worker's `now`. */
export function readClock(cx: usize): void {
  sysClockGettime(CLOCK_BOOTTIME, cx + WORKER_TIME);
  const seconds = load<u64>(cx, WORKER_TIME);
  const nanoseconds = load<u64>(cx, WORKER_TIME + 8);
  store<u64>(cx, seconds * 1000 + nanoseconds / 1_000_000, WORKER_NOW);
}
