/** Handing a complete send to the kernel, with the table of errors PG-46. */
import { reportOnce } from "../batch/punt";
import { forgetSource, sendDone } from "../batch/send";
import { count, dropped, observeBatch } from "../counters";
import {
  BUFFER_LEAD,
  Counter,
  Drop,
  Egress,
  ENDED_SOCKET,
  EVENT_TOO_LONG,
  Peer,
  PLANE_ADDRESS,
  Plane,
  Worker,
} from "../layout";
import {
  AF_INET6,
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
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DONT,
  IP_PMTUDISC_WANT,
  IPPROTO_IP,
  POLLOUT,
} from "../linux";
import { sysErrno, sysSendmsg, sysSetsockopt } from "../sys";
import { peerRow } from "../table/session";
import { writeControl } from "./control-message";
import { countErrno } from "./errno";
import { writeMessage } from "./message";
import { isStopping, pause, waitForSome } from "./wait";

/** Retry n, from 0, waits 2^n ns; the last, no. 23, waits 8 ms (PG-46). */
const ENOBUFS_MAX_RETRIES: u32 = 24;
/** Below 2^20 ns a wait is a mere yield: poll counts in milliseconds. */
const ENOBUFS_YIELDS: u32 = 20;

/** An int. */
const OPTION_BYTES: u32 = 4;

/** How soon a worker that waits for room sees that control waits for it. */
const ROOM_LOOK_MS: i32 = 100;

const AGAIN: i32 = 1;
const SPLIT: i32 = 2;
const GIVEN_UP: i32 = 3;
/** Again as well, and counted. */
const NO_BUFFERS: i32 = 4;

/** Sends what `completeSend` completed, and lets the next send begin. Never fails, only counts. */
export function transmit(worker: usize): void {
  const at = load<usize>(worker, Worker.OUTPUT) + BUFFER_LEAD;
  const bytes = load<u32>(worker, Egress.SEND_BYTES);
  const segment = load<u32>(worker, Egress.SEND_SEGMENT);
  const datagrams = load<u32>(worker, Egress.SEND_COUNT);
  const isCut = isToBeCut(worker, segment);
  if (isCut) setDiscovery(worker, IP_PMTUDISC_DONT);
  let isWhole = datagrams == 1 || (!isCut && load<u32>(worker, Worker.IS_GSO_OFF) == 0);
  if (isWhole) isWhole = sendRange(worker, at, bytes, datagrams > 1 ? segment : 0, datagrams);
  if (!isWhole) {
    for (let sent: u32 = 0; sent < bytes; sent += segment) {
      sendRange(worker, at + <usize>sent, min<u32>(segment, bytes - sent), 0, 1);
    }
  }
  if (isCut) setDiscovery(worker, IP_PMTUDISC_WANT);
  sendDone(worker);
}

/**
 * Whether datagrams of the send are longer than what the path carries whole, as TN-108 has it for packets whose
 * sender cannot be told. The kernel, which may not know of that path, would forbid to cut them up: it is
 * told not to (PG-43). IPv6 knows nobody on the way who would cut.
 */
function isToBeCut(worker: usize, segment: u32): bool {
  const limit = load<u32>(worker, Egress.SEND_LIMIT);
  return limit != 0 && segment > limit && <u32>load<u16>(worker, Egress.SEND_NAME) != AF_INET6;
}

/** Whether datagrams go with DF. Others that go in this moment may go without, which harms nobody. */
function setDiscovery(worker: usize, value: i32): void {
  store<i32>(worker, value, Worker.VECTOR);
  sysSetsockopt(
    load<i32>(worker, Worker.UDP4),
    IPPROTO_IP,
    IP_MTU_DISCOVER,
    worker + Worker.VECTOR,
    OPTION_BYTES,
  );
}

/** Sends one range until it is gone or given up. Returns false if it must go datagram by datagram. */
function sendRange(worker: usize, at: usize, bytes: u32, segment: u32, datagrams: u32): bool {
  const isV6 = <u32>load<u16>(worker, Egress.SEND_NAME) == AF_INET6;
  const fd = load<i32>(worker + (isV6 ? Worker.UDP6 : Worker.UDP4));
  if (fd < 0) {
    dropped(worker, Drop.UDP_SEND_UNREACHABLE, <u64>datagrams);
    return true;
  }
  // Of those for want of buffers alone: a socket that is full is waited for as long as it is.
  let retries: u32 = 0;
  while (true) {
    const control = writeControl(worker, isV6, segment);
    writeMessage(
      worker,
      worker + Egress.SEND_NAME,
      load<u32>(worker, Egress.SEND_NAME_BYTES),
      at,
      bytes,
      control,
    );
    if (sysSendmsg(fd, worker + Worker.MESSAGE, 0) >= 0) {
      count(worker, Counter.WRITES, 1);
      count(worker, Counter.BYTES_OUT, <u64>bytes);
      count(worker, Counter.SEGMENTS_OUT, <u64>datagrams);
      if (datagrams > 1) count(worker, Counter.SUPER_FRAMES_OUT, 1);
      observeBatch(worker, datagrams);
      return true;
    }
    const outcome = handleError(worker, fd, sysErrno(), retries, datagrams);
    if (outcome == NO_BUFFERS) retries++;
    if (outcome == SPLIT) return false;
    if (outcome == GIVEN_UP) return true;
  }
  return true;
}

/** What follows from a refused send: AGAIN, NO_BUFFERS, SPLIT, or GIVEN_UP with the datagrams counted. */
function handleError(worker: usize, fd: i32, error: i32, retries: u32, datagrams: u32): i32 {
  if (error == EINTR) return AGAIN;
  countErrno(worker, Worker.SEND_ERRNOS, error);
  if (error == EAGAIN) return waitForRoom(worker, fd, datagrams);
  if (error == ENOBUFS) return waitForBuffers(worker, retries, datagrams);
  if (isSourceSuspect(error) && load<u32>(worker, Egress.SEND_SOURCE_BYTES) != 0) {
    forgetSource(worker);
    count(worker, Counter.UDP_SOURCE_REFUSED, 1);
    return AGAIN;
  }
  // The kernel does not fragment a send in segments: one by one they go, in fragments where they must. Before
  // 6.14 it says so by EINVAL, which may mean that it takes no segments at all: the second time it does.
  const isLongerThanPath = error == EMSGSIZE || (error == EINVAL && isTooLongNews(worker));
  if (isLongerThanPath && datagrams > 1) {
    reportTooLong(worker);
    return SPLIT;
  }
  if ((error == EIO || error == EINVAL) && datagrams > 1) {
    store<u32>(worker, 1, Worker.IS_GSO_OFF);
    count(worker, Counter.GSO_DISABLED, 1);
    return SPLIT;
  }
  store<u32>(worker, <u32>error, Worker.LAST_ERRNO);
  if (error == EBADF || error == ENOTSOCK) store<u32>(worker, ENDED_SOCKET, Worker.ENDED);
  dropped(worker, reasonOf(error), <u64>datagrams);
  return GIVEN_UP;
}

/** Whether control has not heard of it since it published the path. */
function isTooLongNews(worker: usize): bool {
  return atomic.load<u32>(peerRow(load<u32>(worker, Egress.SEND_SLOT)), Peer.TOO_LONG) != 0;
}

/** Control asks the kernel for the path's MTU (SN-150). */
function reportTooLong(worker: usize): void {
  const slot = load<u32>(worker, Egress.SEND_SLOT);
  if (isTooLongNews(worker)) reportOnce(worker, peerRow(slot) + Peer.TOO_LONG, EVENT_TOO_LONG, slot);
}

/** Errors by which kernels say that the host has no such source address any more (PF-41a). */
function isSourceSuspect(error: i32): bool {
  return error == ENETUNREACH || error == EINVAL || error == EADDRNOTAVAIL || error == EHOSTUNREACH;
}

function reasonOf(error: i32): u32 {
  if (error == EMSGSIZE) return Drop.UDP_SEND_TOO_LONG;
  if (error == EPERM || error == EACCES) return Drop.UDP_SEND_BLOCKED;
  const isUnreachable =
    error == ENETUNREACH ||
    error == EHOSTUNREACH ||
    error == EHOSTDOWN ||
    error == ENETDOWN ||
    error == EADDRNOTAVAIL ||
    error == EINVAL ||
    error == ECONNREFUSED;
  return isUnreachable ? Drop.UDP_SEND_UNREACHABLE : Drop.UDP_SEND_FAILED;
}

/**
 * The socket is full: the TUN device is not read meanwhile, so its queue drops (PG-55). Control may wait for what this
 * batch holds on to (WG-44), and everything with it: then the batch is given up.
 */
function waitForRoom(worker: usize, fd: i32, datagrams: u32): i32 {
  count(worker, Counter.UDP_SEND_AGAIN, 1);
  if (!isHurried()) waitForSome(worker, fd, -1, POLLOUT, ROOM_LOOK_MS);
  if (!isStopping(worker) && !isHurried()) return AGAIN;
  dropped(worker, Drop.UDP_SEND_FAILED, <u64>datagrams);
  return GIVEN_UP;
}

function isHurried(): bool {
  return atomic.load<u32>(PLANE_ADDRESS, Plane.IS_HURRIED) != 0;
}

function waitForBuffers(worker: usize, retries: u32, datagrams: u32): i32 {
  if (retries == 0) count(worker, Counter.UDP_SEND_ENOBUFS, 1);
  const isFinal = load<u32>(PLANE_ADDRESS, Plane.IS_ENOBUFS_FINAL) != 0;
  if (isFinal || retries >= ENOBUFS_MAX_RETRIES || isStopping(worker)) {
    dropped(worker, Drop.UDP_SEND_ENOBUFS_DROP, <u64>datagrams);
    return GIVEN_UP;
  }
  pause(worker, retries < ENOBUFS_YIELDS ? 0 : 1 << (retries - ENOBUFS_YIELDS));
  return NO_BUFFERS;
}
