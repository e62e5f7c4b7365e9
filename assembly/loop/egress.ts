/**
 * The egress worker: TUN to UDP, run to completion (D-5).
 *
 * `egressLoop` never returns while it works, and such a function stays in the baseline tier (PF-15): so it
 * does nothing but call `egressTurn`.
 */

import { egressBegin, egressFlush, egressSettle, egressStep } from "../batch/egress";
import { readClock } from "../clock";
import { wipe } from "../crypto";
import {
  BUFFER_LEAD,
  COUNTER_READS,
  EGRESS_IS_BUSY,
  EGRESS_PACE_READS,
  EGRESS_PACE_SINCE,
  EGRESS_SEND_BYTES,
  EGRESS_SEND_SEEN,
  ENDED_TUN_REMOVED,
  FRAME_MAX_BYTES,
  WORKER_AEAD,
  WORKER_ENDED,
  WORKER_EPOCH,
  WORKER_INPUT,
  WORKER_LAST_ERRNO,
  WORKER_NOW,
  WORKER_SETTLE_RING,
  WORKER_TUN,
  WORKER_TUN_ERRNOS,
} from "../layout";
import { ringPeek } from "../ring";
import { sysErrno, sysRead, sysYield } from "../sys";
import { countErrno, EAGAIN, EBADF, EBADFD, EINTR } from "./errno";
import { transmit } from "./transmit";
import { beginBatch, isOver, isStopping, POLLIN, park, pause, unpark, waitFor } from "./wait";

/** The clock is read after every wait, and every so many batches: 16 take a few milliseconds. */
const CLOCK_EVERY: u32 = 16;
const TUN_ERROR_PAUSE_MS: i32 = 10;
const PACE_PERIOD_MS: u64 = 8;
/** TCP at 1 Gbit/s brings as many super-frames one way, and acknowledgments the other. */
const PACE_READS_PER_MS: u64 = 2;

/** Runs until it is stopped or its descriptors fail. Returns ENDED_…. */
export function egressLoop(cx: usize): u32 {
  unpark(cx);
  while (egressTurn(cx)) {}
  if (egressFlush(cx) != 0) transmit(cx);
  park(cx);
  wipe(cx + WORKER_AEAD);
  return load<u32>(cx, WORKER_ENDED);
}

/** One batch: what control has injected, then one frame of the device. */
function egressTurn(cx: usize): bool {
  if (isOver(cx)) return false;
  beginBatch(cx);
  if (load<u32>(cx, WORKER_EPOCH) % CLOCK_EVERY == 0) tick(cx);
  while (egressSettle(cx) != 0) transmit(cx);
  const bytes = sysRead(
    load<i32>(cx, WORKER_TUN),
    load<usize>(cx, WORKER_INPUT) + BUFFER_LEAD,
    FRAME_MAX_BYTES,
  );
  if (bytes <= 0) return handleNothing(cx, bytes);
  egressBegin(cx, <u32>bytes);
  while (egressStep(cx) != 0) transmit(cx);
  return true;
}

/** Now and then: the time, and a send that stays open although frames come that do not join it. */
function tick(cx: usize): void {
  readClock(cx);
  const open = load<u32>(cx, EGRESS_SEND_BYTES);
  if (open != 0 && open == load<u32>(cx, EGRESS_SEND_SEEN) && egressFlush(cx) != 0) transmit(cx);
  store<u32>(cx, load<u32>(cx, EGRESS_SEND_BYTES), EGRESS_SEND_SEEN);
}

/**
 * Whether frames come so fast that there are more as soon as whoever sends them has run. Then the worker
 * does not sleep but makes way once: what it finds behind that goes in one send, and nobody has to wake
 * it. Two processors: TCP at 0.90 to 0.95 of the processor time, small datagrams at half (PF-74). A
 * packet now and then is not held up so: where others wait for the processor, they would go first.
 */
function isBusy(cx: usize): bool {
  const now = load<u64>(cx, WORKER_NOW);
  const passed = now - load<u64>(cx, EGRESS_PACE_SINCE);
  if (passed >= PACE_PERIOD_MS) {
    const reads = load<u64>(cx, COUNTER_READS);
    const isFast = reads - load<u64>(cx, EGRESS_PACE_READS) >= passed * PACE_READS_PER_MS;
    store<u32>(cx, isFast ? 1 : 0, EGRESS_IS_BUSY);
    store<u64>(cx, now, EGRESS_PACE_SINCE);
    store<u64>(cx, reads, EGRESS_PACE_READS);
  }
  return load<u32>(cx, EGRESS_IS_BUSY) != 0;
}

/** The device gave no frame. Returns false if it never will again (PG-38). */
function handleNothing(cx: usize, bytes: i32): bool {
  const error = bytes == 0 ? EBADFD : sysErrno();
  if (error == EINTR) return true;
  if (error == EAGAIN) {
    if (egressFlush(cx) != 0) {
      transmit(cx);
      if (isBusy(cx)) {
        sysYield();
        readClock(cx);
        return true;
      }
    }
    park(cx);
    // Control signals only a parked worker: what it injected before it saw us parked is seen here.
    if (ringPeek(load<usize>(cx, WORKER_SETTLE_RING)) == 0 && !isStopping(cx)) {
      waitFor(cx, load<i32>(cx, WORKER_TUN), -1, POLLIN);
    }
    unpark(cx);
    return true;
  }
  countErrno(cx, WORKER_TUN_ERRNOS, error);
  if (error == EBADFD || error == EBADF) {
    store<u32>(cx, <u32>error, WORKER_LAST_ERRNO);
    store<u32>(cx, ENDED_TUN_REMOVED, WORKER_ENDED);
    return false;
  }
  // EIO: the interface is down, and comes up again without our doing.
  park(cx);
  pause(cx, TUN_ERROR_PAUSE_MS);
  unpark(cx);
  return true;
}
