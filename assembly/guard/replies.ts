/**
 * How many strangers get a cookie reply (PG-160).
 *
 * REPLY_SHARE in a window, as long as the worker keeps up. A reply is a system call, and data waits behind the
 * initiation that asks for it, in the same socket: a worker that others leave a fifth of a processor would spend
 * most of that on strangers. So where it has data and never comes to an end of what waits, replies take a part of
 * the time that data takes. Time is counted by rule of thumb, in bytes and batches: no clock is read for it.
 */
import {
  BATCH_WORK,
  Ingress,
  PUNT_WINDOW_MS,
  REPLY_PARTS,
  REPLY_SHARE,
  REPLY_SHARE_MIN,
  REPLY_WORK,
} from "../layout";

/** How many there are for the window at hand. */
export function replyLimit(worker: usize): u32 {
  return REPLY_SHARE - load<u32>(worker, Ingress.REPLY_CUT);
}

/** A batch had so many authentic bytes of one peer. */
export function noteDataWork(worker: usize, bytes: u32): void {
  store<u32>(worker, load<u32>(worker, Ingress.DATA_WORK) + BATCH_WORK + (bytes >> 10), Ingress.DATA_WORK);
}

/** Nothing waits: the worker has kept up with what came. */
export function noteIdle(worker: usize): void {
  store<u32>(worker, 1, Ingress.WAS_IDLE);
}

/** A window of `elapsed` ms is over: how many replies the next one has. */
export function settleReplies(worker: usize, elapsed: u64): void {
  const work = load<u32>(worker, Ingress.DATA_WORK);
  const hasKeptUp = work == 0 || load<u32>(worker, Ingress.WAS_IDLE) != 0;
  store<u32>(worker, 0, Ingress.DATA_WORK);
  store<u32>(worker, 0, Ingress.WAS_IDLE);
  store<u32>(
    worker,
    nextCut(load<u32>(worker, Ingress.REPLY_CUT), work, hasKeptUp, elapsed),
    Ingress.REPLY_CUT,
  );
}

function nextCut(cut: u32, work: u32, hasKeptUp: bool, elapsed: u64): u32 {
  // Nobody has asked for anything meanwhile: what was does not count any more.
  if (elapsed >= <u64>(2 * PUNT_WINDOW_MS)) return 0;
  if (hasKeptUp) return cut > REPLY_SHARE_MIN ? cut - REPLY_SHARE_MIN : 0;
  const replies = work / (REPLY_PARTS * REPLY_WORK);
  return REPLY_SHARE - min<u32>(REPLY_SHARE, max<u32>(REPLY_SHARE_MIN, replies));
}
