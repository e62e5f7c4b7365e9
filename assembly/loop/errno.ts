/** The counters of error numbers (PG-38, PG-46, PG-47). */

/** Larger numbers do not occur; they would be counted under 0. */
const ERRNO_MAX: i32 = 135;

/** Counts `error` in one of the worker's tables by errno. */
export function countErrno(worker: usize, table: usize, error: i32): void {
  const row: usize = error > 0 && error <= ERRNO_MAX ? <usize>error : 0;
  const place = worker + table + (row << 2);
  store<u32>(place, load<u32>(place) + 1);
}
