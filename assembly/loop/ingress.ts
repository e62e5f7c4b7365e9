/**
 * The ingress worker: UDP to TUN, run to completion (D-5). As in `egress.ts`, the endless loop is tiny.
 *
 * Both families are read in turn: the one that has something, until it is empty or has had its share
 * (PG-50). When both are empty the frame under construction is written and the worker waits.
 */
import { readControl, readSource } from "../arrival";
import { ingressBegin, ingressFlush, ingressStep } from "../batch/ingress";
import { readClock } from "../clock";
import { count, dropped, observeBatch } from "../counters";
import { noteIdle } from "../guard/replies";
import {
  BUFFER_LEAD,
  Coalesce,
  Counter,
  Drop,
  ENDED_TUN_REMOVED,
  FLOOD_PERIOD_MS,
  Ingress,
  Worker,
} from "../layout";
import { EAGAIN, EBADF, EBADFD, EINTR, EIO, POLLIN, POLLOUT } from "../linux";
import { GSO_UDP, VNET_GSO_TYPE } from "../segment/vnet";
import { sysErrno, sysRecvmsg, sysYield } from "../sys";
import { keepReplies, sendReplies } from "./cookie-replies";
import { countErrno, noteReceiveError } from "./errno";
import { endFlood, hasFilter, judgeFlood } from "./flood";
import { putFrame } from "./frames";
import { controlBytesOf, nameOf, writeMessage } from "./message";
import { isBusy } from "./pace";
import { forgetKeys, wipeSecrets } from "./secrets";
import {
  beginBatch,
  beginLoop,
  isOver,
  isStopping,
  POLL_TIMEOUT_MS,
  park,
  unpark,
  waitFor,
  waitForSome,
} from "./wait";

const CLOCK_EVERY: u32 = 16;
/** Receives of one family in a row (BATCH_UDP). */
const SHARE: u32 = 32;
const RECEIVE_BYTES: u32 = 65_536;
const CONTROL_BYTES: u32 = 256;
const NAME_BYTES: u32 = 28;
const TUN_WRITE_WAITS: u32 = 3;
/** While datagrams come fast, so many frames go to the device in one go; sooner at the next look at the clock. */
const FRAMES_AT_ONCE: u32 = 4;

/** Runs until it is stopped or its descriptors fail. Returns ENDED_…. */
export function ingressLoop(worker: usize): u32 {
  beginLoop(worker);
  while (ingressTurn(worker)) {}
  ingressFlush(worker);
  writeFrames(worker);
  sendReplies(worker, load<u32>(worker, Worker.IS_V6_TURN) != 0);
  endFlood(worker);
  park(worker);
  wipeSecrets(worker);
  return load<u32>(worker, Worker.ENDED);
}

/** One receive, or a wait. */
function ingressTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  beginBatch(worker);
  if (load<u32>(worker, Worker.EPOCH) % CLOCK_EVERY == 0) tick(worker);
  const isV6 = load<u32>(worker, Worker.IS_V6_TURN) != 0;
  if (receive(worker, isV6)) {
    store<u32>(worker, 0, Worker.MISSES);
    const share = load<u32>(worker, Ingress.SHARE) + 1;
    store<u32>(worker, share, Ingress.SHARE);
    if (share >= SHARE) changeFamily(worker, isV6);
    return true;
  }
  changeFamily(worker, isV6);
  const misses = load<u32>(worker, Worker.MISSES) + 1;
  store<u32>(worker, misses, Worker.MISSES);
  if (misses >= 2) rest(worker);
  return true;
}

/** Now and then: the time, and a frame that stays open although datagrams come that do not continue it. */
function tick(worker: usize): void {
  readClock(worker);
  forgetKeys(worker);
  const coalesce = worker + Ingress.COALESCE;
  const end = load<usize>(coalesce, Coalesce.END);
  if (load<usize>(coalesce, Coalesce.FRAME) != 0 && end == load<usize>(worker, Ingress.FRAME_SEEN)) {
    ingressFlush(worker);
  }
  writeFrames(worker);
  store<usize>(worker, end, Ingress.FRAME_SEEN);
  judgeFlood(worker);
}

function changeFamily(worker: usize, isV6: bool): void {
  sendReplies(worker, isV6);
  store<u32>(worker, isV6 ? 0 : 1, Worker.IS_V6_TURN);
  store<u32>(worker, 0, Ingress.SHARE);
}

/** Both sockets are empty. Who made way and finds them empty again sleeps. */
function rest(worker: usize): void {
  store<u32>(worker, 0, Worker.MISSES);
  noteIdle(worker);
  ingressFlush(worker);
  if (framesListed(worker) != 0) {
    writeFrames(worker);
    if (isBusy(worker)) {
      sysYield();
      readClock(worker);
      return;
    }
  }
  // A filter that nobody needs any more is taken away without anything coming.
  const isFiltered = hasFilter(worker);
  const ms = isFiltered ? <i32>FLOOD_PERIOD_MS : POLL_TIMEOUT_MS;
  forgetKeys(worker);
  park(worker);
  if (!isStopping(worker))
    waitForSome(worker, load<i32>(worker, Worker.UDP4), load<i32>(worker, Worker.UDP6), POLLIN, ms);
  unpark(worker);
  if (isFiltered) judgeFlood(worker);
}

/** Receives from one family and works on it. Returns false if there was nothing. */
function receive(worker: usize, isV6: bool): bool {
  const fd = load<i32>(worker + (isV6 ? Worker.UDP6 : Worker.UDP4));
  if (fd < 0) return false;
  const at = load<usize>(worker, Worker.INPUT) + BUFFER_LEAD;
  // The kernel overwrites the lengths: they are set before every call (PF-36).
  writeMessage(worker, nameOf(worker), NAME_BYTES, at, RECEIVE_BYTES, CONTROL_BYTES);
  const bytes = sysRecvmsg(fd, worker + Worker.MESSAGE, 0);
  if (bytes < 0) return handleError(worker, sysErrno());
  store<u32>(worker, 0, Worker.ERRORS);
  const overflowAt = worker + (isV6 ? Worker.OVERFLOW6 : Worker.OVERFLOW);
  const stride = readControl(worker, worker + Worker.CONTROL, controlBytesOf(worker), overflowAt);
  readSource(worker, nameOf(worker));
  ingressBegin(worker, <u32>bytes, stride == 0 ? <u32>bytes : stride);
  observeBatch(worker, stride == 0 ? 1 : (<u32>bytes + stride - 1) / stride);
  while (ingressStep(worker) != 0) writeFrames(worker);
  // The program behind the device is woken once for all of them (PF-79).
  const isWaiting = load<u32>(worker, Worker.IS_BUSY) != 0 && framesListed(worker) < FRAMES_AT_ONCE;
  if (!isWaiting) writeFrames(worker);
  if (load<u32>(worker, Ingress.REPLY_COUNT) != 0) keepReplies(worker, fd, isV6);
  return true;
}

/** PG-47: counted, never swallowed, never the end unless the socket is broken. Returns as `receive`. */
function handleError(worker: usize, error: i32): bool {
  if (error == EAGAIN) return false;
  if (error != EINTR) noteReceiveError(worker, error);
  return true;
}

function framesListed(worker: usize): u32 {
  return load<u32>(worker + Ingress.COALESCE, Coalesce.COUNT);
}

/** Writes the listed frames in their order. */
function writeFrames(worker: usize): void {
  const coalesce = worker + Ingress.COALESCE;
  const listed = load<u32>(coalesce, Coalesce.COUNT);
  for (let i: u32 = 0; i < listed; i++) {
    const entry = coalesce + ((<usize>i) << 2);
    const bytes = load<u32>(entry, Coalesce.LIST_BYTES);
    writeFrame(
      worker,
      load<usize>(entry, Coalesce.LIST_ADDRESS),
      bytes,
      load<u32>(entry, Coalesce.LIST_SEGMENTS),
    );
  }
  store<u32>(coalesce, 0, Coalesce.COUNT);
}

function writeFrame(worker: usize, frame: usize, bytes: u32, segments: u32): void {
  const tun = load<i32>(worker, Worker.TUN);
  let waits: u32 = 0;
  while (true) {
    const error = putFrame(worker, frame, bytes);
    if (error == 0) {
      count(worker, Counter.WRITES, 1);
      count(worker, Counter.BYTES_OUT, <u64>bytes);
      count(worker, Counter.SEGMENTS_OUT, <u64>segments);
      if (segments > 1) count(worker, Counter.SUPER_FRAMES_OUT, 1);
      // The program that gets a burst of datagrams has room for some ninety (rmem_default), and could not
      // run: it shares our processor when all are busy. Delivered datagrams 1.8 to 2.6 times (PF-73).
      if (<u32>load<u8>(frame, VNET_GSO_TYPE) == GSO_UDP) sysYield();
      return;
    }
    if (error == EINTR) continue;
    if (error == EAGAIN && waits < TUN_WRITE_WAITS && !isStopping(worker)) {
      waits++;
      waitFor(worker, tun, -1, POLLOUT);
      continue;
    }
    countErrno(worker, Worker.TUN_ERRNOS, error);
    if (error == EBADFD || error == EBADF) store<u32>(worker, ENDED_TUN_REMOVED, Worker.ENDED);
    dropped(worker, error == EIO ? Drop.TUN_WRITE_DOWN : Drop.TUN_WRITE_REFUSED, <u64>segments);
    return;
  }
}
