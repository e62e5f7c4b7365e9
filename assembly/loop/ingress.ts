/**
 * The ingress worker: UDP to TUN, run to completion (D-5). As in `egress.ts`, the endless loop is tiny.
 *
 * Both families are read in turn: the one that has something, until it is empty or has had its share
 * (PG-50). When both are empty the frame under construction is written and the worker waits.
 */

import { ingressBegin, ingressFlush, ingressStep } from "../batch/ingress";
import { readClock } from "../clock";
import { count, dropped } from "../counters";
import { wipe } from "../crypto";
import {
  BUFFER_LEAD,
  COALESCE_COUNT,
  COALESCE_END,
  COALESCE_FRAME,
  COALESCE_LIST_ADDRESS,
  COALESCE_LIST_BYTES,
  COALESCE_LIST_SEGMENTS,
  COUNTER_BYTES_OUT,
  COUNTER_SEGMENTS_OUT,
  COUNTER_SUPER_FRAMES_OUT,
  COUNTER_UDP_OVERFLOW,
  COUNTER_UDP_RECEIVE_ERRORS,
  COUNTER_WRITES,
  DROP_TUN_WRITE_DOWN,
  DROP_TUN_WRITE_REFUSED,
  ENDED_SOCKET,
  ENDED_TUN_REMOVED,
  INGRESS_COALESCE,
  INGRESS_ERRORS,
  INGRESS_ERRORS_SINCE,
  INGRESS_FRAME_SEEN,
  INGRESS_FROM,
  INGRESS_FROM_BYTES,
  INGRESS_FROM_PORT,
  INGRESS_IS_V6_TURN,
  INGRESS_MISSES,
  INGRESS_OVERFLOW,
  INGRESS_OVERFLOW6,
  INGRESS_SHARE,
  WORKER_AEAD,
  WORKER_ENDED,
  WORKER_EPOCH,
  WORKER_INPUT,
  WORKER_LAST_ERRNO,
  WORKER_MESSAGE,
  WORKER_NOW,
  WORKER_RECEIVE_ERRNOS,
  WORKER_TUN,
  WORKER_TUN_ERRNOS,
  WORKER_UDP4,
  WORKER_UDP6,
} from "../layout";
import { GSO_UDP, VNET_GSO_TYPE } from "../segment/vnet";
import { sysErrno, sysRecvmsg, sysWrite, sysYield } from "../sys";
import { readControl } from "./control-message";
import { countErrno, EAGAIN, EBADF, EBADFD, EINTR, EIO, ENOTSOCK } from "./errno";
import { controlBytesOf, nameOf, writeMessage } from "./message";
import { beginBatch, isOver, isStopping, POLLIN, POLLOUT, park, unpark, waitFor } from "./wait";

const CLOCK_EVERY: u32 = 16;
/** Receives of one family in a row (BATCH_UDP). */
const SHARE: u32 = 32;
const RECEIVE_BYTES: u32 = 65_536;
const CONTROL_BYTES: u32 = 256;
const NAME_BYTES: u32 = 28;
const AF_INET6: u32 = 10;
/** More failures than this in a row within a second: the socket is broken (PG-47). */
const ERRORS_MAX: u32 = 100;
const ERRORS_WINDOW_MS: u64 = 1000;
const TUN_WRITE_ATTEMPTS: u32 = 3;

/** Runs until it is stopped or its descriptors fail. Returns ENDED_…. */
export function ingressLoop(cx: usize): u32 {
  unpark(cx);
  while (ingressTurn(cx)) {}
  ingressFlush(cx);
  writeFrames(cx);
  park(cx);
  wipe(cx + WORKER_AEAD);
  return load<u32>(cx, WORKER_ENDED);
}

/** One receive, or a wait. */
function ingressTurn(cx: usize): bool {
  if (isOver(cx)) return false;
  beginBatch(cx);
  if (load<u32>(cx, WORKER_EPOCH) % CLOCK_EVERY == 0) tick(cx);
  const isV6 = load<u32>(cx, INGRESS_IS_V6_TURN) != 0;
  if (receive(cx, isV6)) {
    store<u32>(cx, 0, INGRESS_MISSES);
    const share = load<u32>(cx, INGRESS_SHARE) + 1;
    store<u32>(cx, share, INGRESS_SHARE);
    if (share >= SHARE) changeFamily(cx, isV6);
    return true;
  }
  changeFamily(cx, isV6);
  const misses = load<u32>(cx, INGRESS_MISSES) + 1;
  store<u32>(cx, misses, INGRESS_MISSES);
  if (misses >= 2) rest(cx);
  return true;
}

/** Now and then: the time, and a frame that stays open although datagrams come that do not continue it. */
function tick(cx: usize): void {
  readClock(cx);
  const coalesce = cx + INGRESS_COALESCE;
  const end = load<usize>(coalesce, COALESCE_END);
  if (load<usize>(coalesce, COALESCE_FRAME) != 0 && end == load<usize>(cx, INGRESS_FRAME_SEEN)) {
    ingressFlush(cx);
    writeFrames(cx);
  }
  store<usize>(cx, end, INGRESS_FRAME_SEEN);
}

function changeFamily(cx: usize, isV6: bool): void {
  store<u32>(cx, isV6 ? 0 : 1, INGRESS_IS_V6_TURN);
  store<u32>(cx, 0, INGRESS_SHARE);
}

/** Both sockets are empty. */
function rest(cx: usize): void {
  store<u32>(cx, 0, INGRESS_MISSES);
  ingressFlush(cx);
  writeFrames(cx);
  park(cx);
  if (!isStopping(cx)) waitFor(cx, load<i32>(cx, WORKER_UDP4), load<i32>(cx, WORKER_UDP6), POLLIN);
  unpark(cx);
}

/** Receives from one family and works on it. Returns false if there was nothing. */
function receive(cx: usize, isV6: bool): bool {
  const fd = load<i32>(cx + (isV6 ? WORKER_UDP6 : WORKER_UDP4));
  if (fd < 0) return false;
  const at = load<usize>(cx, WORKER_INPUT) + BUFFER_LEAD;
  // The kernel overwrites the lengths: they are set before every call (PF-36).
  writeMessage(cx, nameOf(cx), NAME_BYTES, at, RECEIVE_BYTES, CONTROL_BYTES);
  const bytes = sysRecvmsg(fd, cx + WORKER_MESSAGE, 0);
  if (bytes < 0) return handleError(cx, sysErrno());
  store<u32>(cx, 0, INGRESS_ERRORS);
  const overflowAt = cx + (isV6 ? INGRESS_OVERFLOW6 : INGRESS_OVERFLOW);
  const overflowBefore = load<u32>(overflowAt);
  const stride = readControl(cx, controlBytesOf(cx), overflowAt);
  const lost = load<u32>(overflowAt) - overflowBefore;
  if (lost != 0) count(cx, COUNTER_UDP_OVERFLOW, <u64>lost);
  readName(cx);
  ingressBegin(cx, <u32>bytes, stride == 0 ? <u32>bytes : stride);
  while (ingressStep(cx) != 0) writeFrames(cx);
  writeFrames(cx);
  return true;
}

/** The source of the receive: struct sockaddr_in or sockaddr_in6. */
function readName(cx: usize): void {
  const name = nameOf(cx);
  const isV6 = <u32>load<u16>(name) == AF_INET6;
  store<u32>(cx, isV6 ? 16 : 4, INGRESS_FROM_BYTES);
  store<u32>(cx, <u32>bswap<u16>(load<u16>(name, 2)), INGRESS_FROM_PORT);
  if (isV6) {
    v128.store(cx, v128.load(name, 8), INGRESS_FROM);
  } else {
    v128.store(cx, i32x4.splat(0), INGRESS_FROM);
    store<u32>(cx, load<u32>(name, 4), INGRESS_FROM);
  }
}

/** PG-47: counted, never swallowed, never the end unless the socket is broken. Returns as `receive`. */
function handleError(cx: usize, error: i32): bool {
  if (error == EAGAIN) return false;
  if (error == EINTR) return true;
  count(cx, COUNTER_UDP_RECEIVE_ERRORS, 1);
  countErrno(cx, WORKER_RECEIVE_ERRNOS, error);
  store<u32>(cx, <u32>error, WORKER_LAST_ERRNO);
  const now = load<u64>(cx, WORKER_NOW);
  const errors = load<u32>(cx, INGRESS_ERRORS) + 1;
  if (errors == 1) store<u64>(cx, now, INGRESS_ERRORS_SINCE);
  store<u32>(cx, errors, INGRESS_ERRORS);
  const isFlood = errors > ERRORS_MAX && now - load<u64>(cx, INGRESS_ERRORS_SINCE) < ERRORS_WINDOW_MS;
  if (isFlood || error == EBADF || error == ENOTSOCK) store<u32>(cx, ENDED_SOCKET, WORKER_ENDED);
  return true;
}

/** Writes the listed frames in their order. */
function writeFrames(cx: usize): void {
  const coalesce = cx + INGRESS_COALESCE;
  const listed = load<u32>(coalesce, COALESCE_COUNT);
  for (let i: u32 = 0; i < listed; i++) {
    const entry = coalesce + ((<usize>i) << 2);
    const bytes = load<u32>(entry, COALESCE_LIST_BYTES);
    writeFrame(
      cx,
      load<usize>(entry, COALESCE_LIST_ADDRESS),
      bytes,
      load<u32>(entry, COALESCE_LIST_SEGMENTS),
    );
  }
  store<u32>(coalesce, 0, COALESCE_COUNT);
}

function writeFrame(cx: usize, frame: usize, bytes: u32, segments: u32): void {
  const tun = load<i32>(cx, WORKER_TUN);
  for (let attempt: u32 = 0; ; attempt++) {
    if (sysWrite(tun, frame, bytes) >= 0) {
      count(cx, COUNTER_WRITES, 1);
      count(cx, COUNTER_BYTES_OUT, <u64>bytes);
      count(cx, COUNTER_SEGMENTS_OUT, <u64>segments);
      if (segments > 1) count(cx, COUNTER_SUPER_FRAMES_OUT, 1);
      // The program that gets a burst of datagrams has room for some ninety (rmem_default), and could not
      // run: it shares our processor when all are busy. Delivered datagrams 1.8 to 2.6 times (PF-73).
      if (<u32>load<u8>(frame, VNET_GSO_TYPE) == GSO_UDP) sysYield();
      return;
    }
    const error = sysErrno();
    if (error == EINTR) continue;
    if (error == EAGAIN && attempt < TUN_WRITE_ATTEMPTS && !isStopping(cx)) {
      waitFor(cx, tun, -1, POLLOUT);
      continue;
    }
    countErrno(cx, WORKER_TUN_ERRNOS, error);
    if (error == EBADFD || error == EBADF) store<u32>(cx, ENDED_TUN_REMOVED, WORKER_ENDED);
    dropped(cx, error == EIO ? DROP_TUN_WRITE_DOWN : DROP_TUN_WRITE_REFUSED, <u64>segments);
    return;
  }
}
