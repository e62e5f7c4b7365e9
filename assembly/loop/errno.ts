/** The counters of error numbers (PG-38, PG-46, PG-47), and when a socket's errors are its end. */
import { count } from "../counters";
import { Counter, ENDED_SOCKET, Worker } from "../layout";
import { EBADF, ENOTSOCK } from "../linux";

/** Larger numbers do not occur; they would be counted under 0. */
const ERRNO_MAX: i32 = 135;
/** More failed receives than this in a row within a second: the socket is broken (PG-47). */
const ERRORS_MAX: u32 = 100;
const ERRORS_WINDOW_MS: u64 = 1000;

/** Counts `error` in one of the worker's tables by errno. */
export function countErrno(worker: usize, table: usize, error: i32): void {
  const row: usize = error > 0 && error <= ERRNO_MAX ? <usize>error : 0;
  const place = worker + table + (row << 2);
  store<u32>(place, load<u32>(place) + 1);
}

/** A receive failed for another reason than that there is nothing: counted, and the end of a broken socket. */
export function noteReceiveError(worker: usize, error: i32): void {
  count(worker, Counter.UDP_RECEIVE_ERRORS, 1);
  countErrno(worker, Worker.RECEIVE_ERRNOS, error);
  store<u32>(worker, <u32>error, Worker.LAST_ERRNO);
  const now = load<u64>(worker, Worker.NOW);
  let errors = load<u32>(worker, Worker.ERRORS) + 1;
  // Errors of long ago do not hide that a socket fails all the time now.
  if (now - load<u64>(worker, Worker.ERRORS_SINCE) >= ERRORS_WINDOW_MS) errors = 1;
  if (errors == 1) store<u64>(worker, now, Worker.ERRORS_SINCE);
  store<u32>(worker, errors, Worker.ERRORS);
  if (errors > ERRORS_MAX || error == EBADF || error == ENOTSOCK)
    store<u32>(worker, ENDED_SOCKET, Worker.ENDED);
}
