/** Handing a complete send to the kernel, with the table of errors PG-46. */

import { forgetSource, sendDone } from "../batch/send";
import { count, dropped } from "../counters";
import {
  BUFFER_LEAD,
  COUNTER_BYTES_OUT,
  COUNTER_GSO_DISABLED,
  COUNTER_SEGMENTS_OUT,
  COUNTER_SUPER_FRAMES_OUT,
  COUNTER_UDP_SEND_AGAIN,
  COUNTER_UDP_SEND_ENOBUFS,
  COUNTER_UDP_SOURCE_REFUSED,
  COUNTER_WRITES,
  DROP_UDP_SEND_BLOCKED,
  DROP_UDP_SEND_ENOBUFS_DROP,
  DROP_UDP_SEND_FAILED,
  DROP_UDP_SEND_TOO_LONG,
  DROP_UDP_SEND_UNREACHABLE,
  EGRESS_SEND_BYTES,
  EGRESS_SEND_COUNT,
  EGRESS_SEND_NAME,
  EGRESS_SEND_NAME_BYTES,
  EGRESS_SEND_SEGMENT,
  EGRESS_SEND_SOURCE_BYTES,
  ENDED_SOCKET,
  WORKER_ENDED,
  WORKER_IS_GSO_OFF,
  WORKER_LAST_ERRNO,
  WORKER_MESSAGE,
  WORKER_OUTPUT,
  WORKER_SEND_ERRNOS,
  WORKER_UDP4,
  WORKER_UDP6,
} from "../layout";
import { sysErrno, sysSendmsg } from "../sys";
import { writeControl } from "./control-message";
import {
  countErrno,
  EACCES,
  EADDRNOTAVAIL,
  EAGAIN,
  EBADF,
  ECONNREFUSED,
  EHOSTDOWN,
  EHOSTUNREACH,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENETDOWN,
  ENETUNREACH,
  ENOBUFS,
  ENOTSOCK,
  EPERM,
} from "./errno";
import { writeMessage } from "./message";
import { isStopping, POLLOUT, pause, waitFor } from "./wait";

const AF_INET6: u32 = 10;
/** Retry n waits 2^n ns; the last waits 134 ms (PG-46). */
const ENOBUFS_MAX_RETRIES: u32 = 24;
/** Below 2^20 ns a wait is a mere yield: poll counts in milliseconds. */
const ENOBUFS_YIELDS: u32 = 20;

const AGAIN: i32 = 1;
const SPLIT: i32 = 2;
const GIVEN_UP: i32 = 3;

/** Sends what `completeSend` completed, and lets the next send begin. Never fails, only counts. */
export function transmit(cx: usize): void {
  const at = load<usize>(cx, WORKER_OUTPUT) + BUFFER_LEAD;
  const bytes = load<u32>(cx, EGRESS_SEND_BYTES);
  const segment = load<u32>(cx, EGRESS_SEND_SEGMENT);
  const datagrams = load<u32>(cx, EGRESS_SEND_COUNT);
  let isWhole = datagrams == 1 || load<u32>(cx, WORKER_IS_GSO_OFF) == 0;
  if (isWhole) isWhole = sendRange(cx, at, bytes, datagrams > 1 ? segment : 0, datagrams);
  if (!isWhole) {
    for (let sent: u32 = 0; sent < bytes; sent += segment) {
      sendRange(cx, at + <usize>sent, min<u32>(segment, bytes - sent), 0, 1);
    }
  }
  sendDone(cx);
}

/** Sends one range until it is gone or given up. Returns false if it must go datagram by datagram. */
function sendRange(cx: usize, at: usize, bytes: u32, segment: u32, datagrams: u32): bool {
  const isV6 = <u32>load<u16>(cx, EGRESS_SEND_NAME) == AF_INET6;
  const fd = load<i32>(cx + (isV6 ? WORKER_UDP6 : WORKER_UDP4));
  if (fd < 0) {
    dropped(cx, DROP_UDP_SEND_UNREACHABLE, <u64>datagrams);
    return true;
  }
  for (let attempt: u32 = 0; ; attempt++) {
    const control = writeControl(cx, isV6, segment);
    writeMessage(cx, cx + EGRESS_SEND_NAME, load<u32>(cx, EGRESS_SEND_NAME_BYTES), at, bytes, control);
    if (sysSendmsg(fd, cx + WORKER_MESSAGE, 0) >= 0) {
      count(cx, COUNTER_WRITES, 1);
      count(cx, COUNTER_BYTES_OUT, <u64>bytes);
      count(cx, COUNTER_SEGMENTS_OUT, <u64>datagrams);
      if (datagrams > 1) count(cx, COUNTER_SUPER_FRAMES_OUT, 1);
      return true;
    }
    const outcome = handleError(cx, fd, sysErrno(), attempt, datagrams);
    if (outcome == SPLIT) return false;
    if (outcome == GIVEN_UP) return true;
  }
  return true;
}

/** What follows from a refused send: AGAIN, SPLIT, or GIVEN_UP with the datagrams counted. */
function handleError(cx: usize, fd: i32, error: i32, attempt: u32, datagrams: u32): i32 {
  if (error == EINTR) return AGAIN;
  countErrno(cx, WORKER_SEND_ERRNOS, error);
  if (error == EAGAIN) return waitForRoom(cx, fd, datagrams);
  if (error == ENOBUFS) return waitForBuffers(cx, attempt, datagrams);
  if (isSourceSuspect(error) && load<u32>(cx, EGRESS_SEND_SOURCE_BYTES) != 0) {
    forgetSource(cx);
    count(cx, COUNTER_UDP_SOURCE_REFUSED, 1);
    return AGAIN;
  }
  if ((error == EIO || error == EINVAL) && datagrams > 1) {
    store<u32>(cx, 1, WORKER_IS_GSO_OFF);
    count(cx, COUNTER_GSO_DISABLED, 1);
    return SPLIT;
  }
  store<u32>(cx, <u32>error, WORKER_LAST_ERRNO);
  if (error == EBADF || error == ENOTSOCK) store<u32>(cx, ENDED_SOCKET, WORKER_ENDED);
  dropped(cx, reasonOf(error), <u64>datagrams);
  return GIVEN_UP;
}

/** Errors by which kernels say that the host has no such source address any more (PF-41a). */
function isSourceSuspect(error: i32): bool {
  return error == ENETUNREACH || error == EINVAL || error == EADDRNOTAVAIL || error == EHOSTUNREACH;
}

function reasonOf(error: i32): u32 {
  if (error == EMSGSIZE) return DROP_UDP_SEND_TOO_LONG;
  if (error == EPERM || error == EACCES) return DROP_UDP_SEND_BLOCKED;
  const isUnreachable =
    error == ENETUNREACH ||
    error == EHOSTUNREACH ||
    error == EHOSTDOWN ||
    error == ENETDOWN ||
    error == EADDRNOTAVAIL ||
    error == EINVAL ||
    error == ECONNREFUSED;
  return isUnreachable ? DROP_UDP_SEND_UNREACHABLE : DROP_UDP_SEND_FAILED;
}

/** The socket is full: the TUN device is not read meanwhile, so its queue drops (PG-55). */
function waitForRoom(cx: usize, fd: i32, datagrams: u32): i32 {
  count(cx, COUNTER_UDP_SEND_AGAIN, 1);
  waitFor(cx, fd, -1, POLLOUT);
  if (!isStopping(cx)) return AGAIN;
  dropped(cx, DROP_UDP_SEND_FAILED, <u64>datagrams);
  return GIVEN_UP;
}

function waitForBuffers(cx: usize, attempt: u32, datagrams: u32): i32 {
  count(cx, COUNTER_UDP_SEND_ENOBUFS, 1);
  if (attempt >= ENOBUFS_MAX_RETRIES || isStopping(cx)) {
    dropped(cx, DROP_UDP_SEND_ENOBUFS_DROP, <u64>datagrams);
    return GIVEN_UP;
  }
  pause(cx, attempt < ENOBUFS_YIELDS ? 0 : 1 << (attempt - ENOBUFS_YIELDS));
  return AGAIN;
}
