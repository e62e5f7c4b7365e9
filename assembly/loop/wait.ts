/** Waiting in poll(2), awake for control at any time (D-5, PF-23). */
import { readClock } from "../clock";
import { count, observe } from "../counters";
import { Counter, ENDED_STOPPED, WAIT_BUCKETS, WAIT_SHIFT, WAIT_STEP, Worker } from "../layout";
import { POLLFD_BYTES, POLLIN, POLLOUT } from "../linux";
import { sysPoll, sysRead } from "../sys";

/** Belt to the braces of the eventfd (PF-23); so long that it costs an idle process nothing (G-13). */
export const POLL_TIMEOUT_MS: i32 = 60_000;
/** In `struct pollfd`. */
const REVENTS: usize = 6;

export function isStopping(worker: usize): bool {
  return atomic.load<u32>(worker, Worker.STOP) != 0;
}

/** Whether the loop ends: its descriptors failed, or control stops it. The first reason counts. */
export function isOver(worker: usize): bool {
  if (load<u32>(worker, Worker.ENDED) == 0 && isStopping(worker))
    store<u32>(worker, ENDED_STOPPED, Worker.ENDED);
  return load<u32>(worker, Worker.ENDED) != 0;
}

/** Raises the epoch: pointers into tables that an earlier batch took are not used any more (WG-44). */
export function beginBatch(worker: usize): void {
  atomic.store<u32>(worker, load<u32>(worker, Worker.EPOCH) + 1, Worker.EPOCH);
}

/** From here to `unpark` the worker reads no table; control need not wait for it. */
export function park(worker: usize): void {
  atomic.store<u32>(worker, 1, Worker.PARKED);
  store<u64>(worker, readClock(worker), Worker.PARKED_AT);
}

export function unpark(worker: usize): void {
  atomic.store<u32>(worker, 0, Worker.PARKED);
  beginBatch(worker);
  const now = readClock(worker);
  const since = load<u64>(worker, Worker.PARKED_AT);
  if (since != 0 && now >= since)
    observe(worker + Worker.WAITS, now - since, WAIT_SHIFT, WAIT_STEP, WAIT_BUCKETS);
}

/** The first `unpark` of a loop: how long no loop ran is no wait. */
export function beginLoop(worker: usize): void {
  store<u64>(worker, 0, Worker.PARKED_AT);
  unpark(worker);
}

/** Waits until one of two descriptors (-1: none) is ready, or control wants something. */
export function waitFor(worker: usize, first: i32, second: i32, events: u16): void {
  waitForSome(worker, first, second, events, POLL_TIMEOUT_MS);
}

/** The same, but no longer than `ms`. */
export function waitForSome(worker: usize, first: i32, second: i32, events: u16, ms: i32): void {
  count(worker, Counter.POLLS, 1);
  const set = worker + Worker.POLL_SET;
  const wake = load<i32>(worker, Worker.WAKE_FD);
  writePollFd(set, first, events);
  writePollFd(set + POLLFD_BYTES, second, events);
  writePollFd(set + 2 * POLLFD_BYTES, wake, POLLIN);
  const ready = sysPoll(set, 3, ms);
  if (ready > 0 && load<u16>(set + 2 * POLLFD_BYTES, REVENTS) != 0) sysRead(wake, worker + Worker.TIME, 8);
}

/** Whether the last `waitFor` found something at its first (0) or second (1) descriptor, or `expectBoth` says so. */
export function isReady(worker: usize, place: usize): bool {
  return load<u16>(worker + Worker.POLL_SET + place * POLLFD_BYTES, REVENTS) != 0;
}

/** There may be more at both, without a wait. */
export function expectBoth(worker: usize): void {
  store<u16>(worker + Worker.POLL_SET, POLLIN, REVENTS);
  store<u16>(worker + Worker.POLL_SET + POLLFD_BYTES, POLLIN, REVENTS);
}

/** Waits until a descriptor takes more, or so long. */
export function waitForRoom(worker: usize, fd: i32, ms: i32): void {
  count(worker, Counter.POLLS, 1);
  const set = worker + Worker.POLL_SET;
  writePollFd(set, fd, POLLOUT);
  sysPoll(set, 1, ms);
}

/** Lets others run for that long, at least. */
export function pause(worker: usize, ms: i32): void {
  sysPoll(worker + Worker.POLL_SET, 0, ms);
}

/** A negative descriptor is ignored by poll(2). */
function writePollFd(at: usize, fd: i32, events: u16): void {
  store<i32>(at, fd);
  store<u16>(at, events, 4);
  store<u16>(at, 0, REVENTS);
}
