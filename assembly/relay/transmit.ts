/**
 * Handing the sends of a relay worker to the kernel, many by one call (RL-46, RL-52). Never fails, only counts.
 */
import { count, dropped } from "../counters";
import { Counter, Drop, Forward, RELAY_CONTROL_BYTES, RelaySend, Worker } from "../layout";
import {
  EAGAIN,
  EINTR,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENOBUFS,
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
} from "../linux";
import { writeSegment } from "../loop/control-message";
import { countErrno } from "../loop/errno";
import { isStopping, pause, waitForRoom } from "../loop/wait";
import { sysErrno, sysSendmmsg } from "../sys";

/** How long a full socket is waited for, once per flush (RL-46). */
const ROOM_WAIT_MS: i32 = 5;
/** After EIO the route's device cannot segment: so long nobody asks again (RL-52). */
const GSO_PAUSE_MS: u64 = 10_000;

/** Sends what waits. The run ends: what it names is gone with the next receive. */
export function flush(worker: usize): void {
  const sends = load<u32>(worker, Forward.OUT_COUNT);
  store<u32>(worker, 0, Forward.OUT_COUNT);
  store<usize>(worker, 0, Forward.RUN);
  if (sends == 0) return;
  const headers = load<usize>(worker, Forward.OUT_HEADERS);
  const records = load<usize>(worker, Forward.OUT_SENDS);
  const isWhole = maySegment(worker);
  for (let i: u32 = 0; i < sends; i++) {
    complete(worker, headers, records + <usize>i * RelaySend.BYTES, i, isWhole);
  }
  sendAll(worker, headers, records, sends);
}

function maySegment(worker: usize): bool {
  if (load<u32>(worker, Worker.IS_GSO_OFF) != 0) return false;
  return load<u64>(worker, Worker.NOW) >= load<u64>(worker, Forward.GSO_OFF_UNTIL);
}

/** Writes the lengths that were open until now. */
function complete(worker: usize, headers: usize, send: usize, place: u32, isWhole: bool): void {
  const header = headers + <usize>place * MMSGHDR_BYTES;
  store<u64>(header, <u64>load<u32>(send, RelaySend.VECTORS), MSGHDR_IOV_COUNT);
  let used = load<u32>(send, RelaySend.CONTROL_BYTES);
  if (isWhole && load<u32>(send, RelaySend.DATAGRAMS) > 1) {
    used = writeSegment(controlOf(worker, place), used, load<u32>(send, RelaySend.SEGMENT));
  }
  store<u64>(header, <u64>used, MSGHDR_CONTROL_BYTES);
}

function controlOf(worker: usize, place: u32): usize {
  return load<usize>(worker, Forward.OUT_CONTROLS) + <usize>(place * RELAY_CONTROL_BYTES);
}

/** Sends in their order, until all are gone or given up. */
function sendAll(worker: usize, headers: usize, records: usize, sends: u32): void {
  const fd = load<i32>(worker, Forward.OUT_FD);
  let hasWaited = false;
  let first: u32 = 0;
  while (first < sends) {
    const send = records + <usize>first * RelaySend.BYTES;
    if (load<u32>(send, RelaySend.DATAGRAMS) > 1 && !maySegment(worker)) {
      sendSingly(worker, send, first);
      first += 1;
      continue;
    }
    const sent = sysSendmmsg(fd, headers + <usize>first * MMSGHDR_BYTES, sends - first, 0);
    if (sent > 0) {
      for (let i: u32 = 0; i < <u32>sent; i++) countSent(worker, send + <usize>i * RelaySend.BYTES);
      first += <u32>sent;
      continue;
    }
    const error = sysErrno();
    if (error == EINTR) continue;
    countErrno(worker, Worker.SEND_ERRNOS, error);
    if (error == EAGAIN || error == ENOBUFS) {
      if (hasWaited || isStopping(worker)) return giveUp(worker, records, first, sends);
      hasWaited = true;
      awaitRoom(worker, fd, error);
      continue;
    }
    if (load<u32>(send, RelaySend.DATAGRAMS) > 1 && isSegmentsFault(error)) {
      if (error == EIO) pauseSegments(worker);
      sendSingly(worker, send, first);
    } else refuse(worker, send, error);
    first += 1;
  }
}

/** The kernel says so of a send in segments; single datagrams may pass, or tell the true reason. */
function isSegmentsFault(error: i32): bool {
  return error == EIO || error == EINVAL || error == EMSGSIZE;
}

function pauseSegments(worker: usize): void {
  count(worker, Counter.GSO_DISABLED, 1);
  store<u64>(worker, load<u64>(worker, Worker.NOW) + GSO_PAUSE_MS, Forward.GSO_OFF_UNTIL);
}

function awaitRoom(worker: usize, fd: i32, error: i32): void {
  if (error == EAGAIN) {
    count(worker, Counter.UDP_SEND_AGAIN, 1);
    waitForRoom(worker, fd, ROOM_WAIT_MS);
    return;
  }
  // The device's queue is full; the socket would be called writable at once.
  count(worker, Counter.UDP_SEND_ENOBUFS, 1);
  pause(worker, 1);
}

function giveUp(worker: usize, records: usize, first: u32, sends: u32): void {
  for (let i = first; i < sends; i++) {
    const send = records + <usize>i * RelaySend.BYTES;
    dropped(worker, Drop.RELAY_SEND_FULL, <u64>load<u32>(send, RelaySend.DATAGRAMS));
  }
}

function refuse(worker: usize, send: usize, error: i32): void {
  store<u32>(worker, <u32>error, Worker.LAST_ERRNO);
  const reason = error == EMSGSIZE ? Drop.RELAY_SEND_TOO_LONG : Drop.RELAY_SEND_ERROR;
  dropped(worker, reason, <u64>load<u32>(send, RelaySend.DATAGRAMS));
}

function countSent(worker: usize, send: usize): void {
  const datagrams = load<u32>(send, RelaySend.DATAGRAMS);
  count(worker, Counter.WRITES, 1);
  count(worker, Counter.BYTES_OUT, <u64>load<u32>(send, RelaySend.TOTAL));
  count(worker, Counter.SEGMENTS_OUT, <u64>datagrams);
  if (datagrams > 1) count(worker, Counter.SUPER_FRAMES_OUT, 1);
}

/** The datagrams of one send each by itself, in one call. */
function sendSingly(worker: usize, send: usize, place: u32): void {
  const datagrams = load<u32>(send, RelaySend.DATAGRAMS);
  const headers = load<usize>(worker, Forward.SPLIT_HEADERS);
  const records = load<usize>(worker, Forward.SPLIT_SENDS);
  let left = load<u32>(send, RelaySend.TOTAL);
  for (let i: u32 = 0; i < datagrams; i++) {
    const bytes = min<u32>(left, load<u32>(send, RelaySend.SEGMENT));
    splitOff(worker, send, place, i, bytes);
    left -= bytes;
  }
  sendAll(worker, headers, records, datagrams);
}

/** The `index`-th datagram of a send as a send of its own. */
function splitOff(worker: usize, send: usize, place: u32, index: u32, bytes: u32): void {
  const whole = load<usize>(worker, Forward.OUT_HEADERS) + <usize>place * MMSGHDR_BYTES;
  const header = load<usize>(worker, Forward.SPLIT_HEADERS) + <usize>index * MMSGHDR_BYTES;
  const record = load<usize>(worker, Forward.SPLIT_SENDS) + <usize>index * RelaySend.BYTES;
  const perDatagram = load<u32>(send, RelaySend.PER_DATAGRAM);
  store<u64>(header, load<u64>(whole, MSGHDR_NAME), MSGHDR_NAME);
  store<u32>(header, load<u32>(whole, MSGHDR_NAME_BYTES), MSGHDR_NAME_BYTES);
  const vectors = load<u64>(whole, MSGHDR_IOV) + <u64>(index * perDatagram) * <u64>IOVEC_BYTES;
  store<u64>(header, vectors, MSGHDR_IOV);
  store<u64>(header, <u64>perDatagram, MSGHDR_IOV_COUNT);
  store<u64>(header, load<u64>(whole, MSGHDR_CONTROL), MSGHDR_CONTROL);
  store<u64>(header, <u64>load<u32>(send, RelaySend.CONTROL_BYTES), MSGHDR_CONTROL_BYTES);
  store<i32>(header, 0, MSGHDR_FLAGS);
  store<u32>(record, 1, RelaySend.DATAGRAMS);
  store<u32>(record, bytes, RelaySend.SEGMENT);
  store<u32>(record, bytes, RelaySend.TOTAL);
}
