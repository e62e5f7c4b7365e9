/**
 * The egress worker: TUN to UDP, run to completion (D-5).
 *
 * `egressLoop` never returns while it works, and such a function stays in the baseline tier (PF-15): so it
 * does nothing but call `egressTurn`.
 */
import { forgetBlocks } from "../batch/ahead";
import { egressBegin, egressFlush, egressInject, egressStep } from "../batch/egress";
import { readClock } from "../clock";
import { LANES } from "../crypto";
import { Egress, ENDED_TUN_REMOVED, Worker } from "../layout";
import { EAGAIN, EBADF, EBADFD, EINTR, POLLIN } from "../linux";
import { ringPeek } from "../ring";
import { sysYield } from "../sys";
import { countErrno } from "./errno";
import { hasFrame, readFrame, releaseFrame } from "./frames";
import { isBusy } from "./pace";
import { forgetKeys, wipeSecrets } from "./secrets";
import { transmit } from "./transmit";
import { beginBatch, beginLoop, isOver, isStopping, park, pause, unpark, waitFor } from "./wait";

/** The clock is read after every wait, and every so many batches: 16 take a few milliseconds. */
const CLOCK_EVERY: u32 = 16;
const TUN_ERROR_PAUSE_MS: i32 = 10;

/** Runs until it is stopped or its descriptors fail. Returns ENDED_…. */
export function egressLoop(worker: usize): u32 {
  beginLoop(worker);
  while (egressTurn(worker)) {}
  if (egressFlush(worker) != 0) transmit(worker);
  park(worker);
  wipeSecrets(worker);
  if (LANES != 0) forgetBlocks(worker);
  return load<u32>(worker, Worker.ENDED);
}

/** One batch: what control has injected, then one frame of the device. */
function egressTurn(worker: usize): bool {
  if (isOver(worker)) return false;
  beginBatch(worker);
  if (load<u32>(worker, Worker.EPOCH) % CLOCK_EVERY == 0) tick(worker);
  while (egressInject(worker) != 0) transmit(worker);
  const bytes = readFrame(worker);
  if (bytes <= 0) return handleNothing(worker, bytes == 0 ? EBADFD : -bytes);
  egressBegin(worker, <u32>bytes);
  while (egressStep(worker) != 0) transmit(worker);
  releaseFrame(worker);
  return true;
}

/** Now and then: the time, and a send that stays open although frames come that do not join it. */
function tick(worker: usize): void {
  readClock(worker);
  forgetKeys(worker);
  const open = load<u32>(worker, Egress.SEND_BYTES);
  if (open != 0 && open == load<u32>(worker, Egress.SEND_SEEN) && egressFlush(worker) != 0) transmit(worker);
  store<u32>(worker, load<u32>(worker, Egress.SEND_BYTES), Egress.SEND_SEEN);
}

function hasInjected(worker: usize): bool {
  return ringPeek(load<usize>(worker, Worker.INJECT_RING)) != 0;
}

/** The device gave no frame. Returns false if it never will again (PG-38). */
function handleNothing(worker: usize, error: i32): bool {
  if (error == EINTR) return true;
  if (error == EAGAIN) {
    if (egressFlush(worker) != 0) {
      transmit(worker);
      // Two processors: TCP at 0.90 to 0.95 of the processor time, small datagrams at half (PF-74).
      if (isBusy(worker)) {
        sysYield();
        readClock(worker);
        return true;
      }
    }
    forgetKeys(worker);
    park(worker);
    // Control signals only a parked worker: what it put before it saw us parked is seen here.
    if (!hasInjected(worker) && !hasFrame(worker) && !isStopping(worker)) {
      waitFor(worker, load<i32>(worker, Worker.TUN), -1, POLLIN);
    }
    unpark(worker);
    return true;
  }
  countErrno(worker, Worker.TUN_ERRNOS, error);
  if (error == EBADFD || error == EBADF) {
    store<u32>(worker, <u32>error, Worker.LAST_ERRNO);
    store<u32>(worker, ENDED_TUN_REMOVED, Worker.ENDED);
    return false;
  }
  // EIO: the interface is down, and comes up again without our doing. What was read before does not wait for that.
  if (egressFlush(worker) != 0) transmit(worker);
  forgetKeys(worker);
  park(worker);
  pause(worker, TUN_ERROR_PAUSE_MS);
  unpark(worker);
  return true;
}
