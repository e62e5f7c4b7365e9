/** Waiting in poll(2), awake for control at any time (D-5, PF-23). */

import { readClock } from "../clock";
import { count } from "../counters";
import {
  COUNTER_POLLS,
  ENDED_STOPPED,
  WORKER_ENDED,
  WORKER_EPOCH,
  WORKER_PARKED,
  WORKER_POLL_SET,
  WORKER_STOP,
  WORKER_TIME,
  WORKER_WAKE_FD,
} from "../layout";
import { sysPoll, sysRead } from "../sys";

export const POLLIN: u16 = 1;
export const POLLOUT: u16 = 4;
/** Belt to the braces of the eventfd (PF-23). */
const POLL_TIMEOUT_MS: i32 = 1000;
const POLLFD_BYTES: usize = 8;
const REVENTS: usize = 6;

export function isStopping(cx: usize): bool {
  return atomic.load<u32>(cx, WORKER_STOP) != 0;
}

/** Whether the loop ends: its descriptors failed, or control stops it. The first reason counts. */
export function isOver(cx: usize): bool {
  if (load<u32>(cx, WORKER_ENDED) == 0 && isStopping(cx)) store<u32>(cx, ENDED_STOPPED, WORKER_ENDED);
  return load<u32>(cx, WORKER_ENDED) != 0;
}

/** Raises the epoch: pointers into tables that an earlier batch took are not used any more (WG-44). */
export function beginBatch(cx: usize): void {
  atomic.store<u32>(cx, load<u32>(cx, WORKER_EPOCH) + 1, WORKER_EPOCH);
}

/** From here to `unpark` the worker reads no table; control need not wait for it. */
export function park(cx: usize): void {
  atomic.store<u32>(cx, 1, WORKER_PARKED);
}

export function unpark(cx: usize): void {
  atomic.store<u32>(cx, 0, WORKER_PARKED);
  beginBatch(cx);
  readClock(cx);
}

/** Waits until one of two descriptors (-1: none) is ready, or control wants something. */
export function waitFor(cx: usize, first: i32, second: i32, events: u16): void {
  count(cx, COUNTER_POLLS, 1);
  const set = cx + WORKER_POLL_SET;
  const wake = load<i32>(cx, WORKER_WAKE_FD);
  writePollFd(set, first, events);
  writePollFd(set + POLLFD_BYTES, second, events);
  writePollFd(set + 2 * POLLFD_BYTES, wake, POLLIN);
  const ready = sysPoll(set, 3, POLL_TIMEOUT_MS);
  if (ready > 0 && load<u16>(set + 2 * POLLFD_BYTES, REVENTS) != 0) sysRead(wake, cx + WORKER_TIME, 8);
}

/** Lets others run for that long, at least. */
export function pause(cx: usize, ms: i32): void {
  sysPoll(cx + WORKER_POLL_SET, 0, ms);
}

/** A negative descriptor is ignored by poll(2). */
function writePollFd(at: usize, fd: i32, events: u16): void {
  store<i32>(at, fd);
  store<u16>(at, events, 4);
  store<u16>(at, 0, REVENTS);
}
