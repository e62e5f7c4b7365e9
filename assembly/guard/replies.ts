/**
 * How many strangers get a cookie reply (PG-160).
 *
 * REPLY_SHARE in a window, as long as the worker keeps up. A reply is a system call, and data waits behind the
 * initiation that asks for it, in the same socket: a worker that others leave a fifth of a processor would spend
 * most of that on strangers. So where it has data and never comes to an end of what waits, replies take a part of
 * the time that data takes. Time is counted by rule of thumb, in bytes and batches: no clock is read for it.
 * Where it has none, or next to none, strangers get what time it has: up to REPLY_MOST.
 */
import {
  BATCH_WORK,
  Ingress,
  LITTLE_WORK,
  PUNT_WINDOW_MS,
  REPLY_MOST,
  REPLY_PARTS,
  REPLY_SHARE,
  REPLY_SHARE_MIN,
  REPLY_WORK,
  SHARE_REPLY,
} from "../layout";

/** How many there are for the window at hand. */
export function replyLimit(worker: usize): u32 {
  return REPLY_SHARE + load<u32>(worker, Ingress.REPLY_EXTRA) - load<u32>(worker, Ingress.REPLY_CUT);
}

/** A batch had so many authentic bytes of one peer. */
export function noteDataWork(worker: usize, bytes: u32): void {
  store<u32>(worker, load<u32>(worker, Ingress.DATA_WORK) + BATCH_WORK + (bytes >> 10), Ingress.DATA_WORK);
}

/** Nothing waits: the worker has kept up with what came. */
export function noteIdle(worker: usize): void {
  store<u32>(worker, 1, Ingress.WAS_IDLE);
}

/** A window of `elapsed` ms is over, in which this worker's part was `part`: how many replies the next one has. */
export function settleReplies(worker: usize, elapsed: u64, part: u32): void {
  const work = load<u32>(worker, Ingress.DATA_WORK);
  const isIdle = load<u32>(worker, Ingress.WAS_IDLE) != 0;
  store<u32>(worker, nextExtra(worker, work, isIdle, part), Ingress.REPLY_EXTRA);
  store<u32>(worker, 0, Ingress.DATA_WORK);
  store<u32>(worker, 0, Ingress.WAS_IDLE);
  store<u32>(
    worker,
    nextCut(load<u32>(worker, Ingress.REPLY_CUT), work, work == 0 || isIdle, elapsed),
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

/**
 * Without data worth the name strangers get what the worker has left: more as long as all are used up and it comes to
 * an end of what waits; less when it does not, and when they are not asked for.
 */
function nextExtra(worker: usize, work: u32, isIdle: bool, part: u32): u32 {
  if (work > LITTLE_WORK) return 0;
  const extra = load<u32>(worker, Ingress.REPLY_EXTRA);
  const used = load<u32>(worker + Ingress.SHARES + ((<usize>SHARE_REPLY) << 2));
  if (!isIdle || used < part >> 1) return extra - (extra >> 2);
  return used < part ? extra : min<u32>(REPLY_MOST - REPLY_SHARE, extra + (extra >> 2) + (REPLY_SHARE >> 2));
}
