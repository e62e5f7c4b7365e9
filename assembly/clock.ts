/** Time in the plane: milliseconds that count suspend, read once per batch (D-14). */
import { Worker } from "./layout";
import { CLOCK_BOOTTIME } from "./linux";
import { sysClockGettime } from "./sys";

/** Reads the clock into the worker's `now`. Returns microseconds, for what is shorter than `now` can tell. */
export function readClock(worker: usize): u64 {
  sysClockGettime(CLOCK_BOOTTIME, worker + Worker.TIME);
  const seconds = load<u64>(worker, Worker.TIME);
  const nanoseconds = load<u64>(worker, Worker.TIME + 8);
  store<u64>(worker, seconds * 1000 + nanoseconds / 1_000_000, Worker.NOW);
  return seconds * 1_000_000 + nanoseconds / 1000;
}
