/**
 * RACK-TLP (RFC 8985): a segment is lost if one that was sent well after it has arrived; and a tail whose loss nobody
 * could notice is probed.
 */
import { after, type Instant } from "../base/index.ts";
import { DUPLICATE_ACKS } from "./constants.ts";
import type { RoundTrip } from "./round-trip.ts";
import { loseFirst, type SentRange, type SentRanges, setState } from "./sent-ranges.ts";

export interface Rack {
  /** When the newest segment was sent of those that have arrived, and where it ends. */
  sentAt: Instant | undefined;
  end: number;
  rttMs: number;
  /** The highest offset that has arrived. */
  forward: number;
  hasReordering: boolean;
  /** Quarters of the least round trip that a segment may be late. */
  windowQuarters: number;
  /** Recoveries until that is 1 again. */
  windowPersists: number;
  /** DSACKs count once per round trip: until this offset is acknowledged. */
  roundEnd: number | undefined;
  /** Something has been timed since the last probe: without that there is no next one (RFC 8985 §7.3). */
  isTimed: boolean;
  /** A tail that is being probed (RFC 8985 §7.3). */
  tail: { readonly end: number; readonly isAgain: boolean } | undefined;
}

const WINDOW_PERSISTS = 16;
/** Time is not told more exactly; packets of one moment may well change places. */
const WINDOW_MIN_MS = 1;
/** RFC 8985 §7.2: what a peer may hold an acknowledgement back. */
const ACK_DELAY_MAX_MS = 200;
const PROBE_FIRST_MS = 1_000;
const PROBE_MIN_MS = 10;

export function createRack(): Rack {
  return {
    sentAt: undefined,
    end: 0,
    rttMs: 0,
    forward: 0,
    hasReordering: false,
    windowQuarters: 1,
    windowPersists: 0,
    roundEnd: undefined,
    isTimed: true,
    tail: undefined,
  };
}

/**
 * Something has arrived (RFC 8985 §6.2 steps 2 and 3).
 * @param isStale the peer answered an earlier transmission than the last one
 */
export function noteDelivered(
  rack: Rack,
  range: Readonly<SentRange>,
  { now, leastMs, isStale }: { readonly now: Instant; readonly leastMs: number; readonly isStale: boolean },
): void {
  if (range.end > rack.forward) rack.forward = range.end;
  else if (range.end < rack.forward && range.sends === 1) rack.hasReordering = true;
  const rttMs = now - range.sentAt;
  // The answer may be to the first transmission, which says nothing of the second.
  if (range.sends > 1 && (isStale || rttMs < leastMs)) return;
  rack.rttMs = rttMs;
  if (isLater(range.sentAt, range.end, rack)) {
    rack.sentAt = range.sentAt;
    rack.end = range.end;
  }
}

function isLater(sentAt: Instant, end: number, rack: Rack): boolean {
  if (rack.sentAt === undefined || sentAt > rack.sentAt) return true;
  return sentAt === rack.sentAt && end > rack.end;
}

/** How late a segment may be (RFC 8985 §6.2 step 4). */
export function reorderingWindow(
  rack: Rack,
  {
    sackedSegments,
    isRecovering,
    rtt,
  }: {
    readonly sackedSegments: number;
    readonly isRecovering: boolean;
    readonly rtt: RoundTrip;
  },
): number {
  if (!rack.hasReordering && (isRecovering || sackedSegments >= DUPLICATE_ACKS)) return 0;
  const leastMs = Number.isFinite(rtt.leastMs) ? rtt.leastMs : 0;
  const window = Math.max(WINDOW_MIN_MS, (rack.windowQuarters * leastMs) / 4);
  return Math.min(window, Math.max(WINDOW_MIN_MS, rtt.smoothedMs ?? window));
}

/** A duplicate came back: what was thought lost was late (RFC 8985 §6.2 step 4). @returns whether patience grew */
export function noteDuplicate(rack: Rack, una: number, nxt: number): boolean {
  if (rack.roundEnd !== undefined && una < rack.roundEnd) return false;
  rack.roundEnd = nxt;
  rack.windowQuarters++;
  rack.windowPersists = WINDOW_PERSISTS;
  return true;
}

/** A recovery has ended: now and then patience ends, too. */
export function noteRecovered(rack: Rack): void {
  if (rack.windowPersists === 0) return;
  rack.windowPersists--;
  if (rack.windowPersists === 0) rack.windowQuarters = 1;
}

export interface Detection {
  readonly lostBytes: number;
  /** When to look again; `undefined`: nothing is in doubt. */
  readonly again: Instant | undefined;
}

/** RFC 8985 §6.2 step 5. */
export function detectLoss(sent: SentRanges, rack: Rack, now: Instant, windowMs: number): Detection {
  const { sentAt } = rack;
  if (sentAt === undefined) return { lostBytes: 0, again: undefined };
  const before = sent.lost;
  let waitMs = 0;
  for (const range of sent.list) {
    if (range.state !== "flying") continue;
    const isBefore = range.sentAt < sentAt || (range.sentAt === sentAt && range.end < rack.end);
    if (!isBefore) continue;
    const remainingMs = range.sentAt + rack.rttMs + windowMs - now;
    if (remainingMs <= 0) setState(sent, range, "lost");
    else waitMs = Math.max(waitMs, remainingMs);
  }
  const again = waitMs > 0 ? after(now, waitMs) : undefined;
  return { lostBytes: sent.lost - before, again };
}

/**
 * The time-out has passed (RFC 8985 §6.3): the first segment is lost, and of the others what has been under way for
 * longer than an answer takes. What was sent just before is only waiting for its own.
 */
export function loseAtTimeout(
  sent: SentRanges,
  rack: Rack,
  now: Instant,
  { mss, rtt }: { readonly mss: number; readonly rtt: RoundTrip },
): void {
  loseFirst(sent, mss);
  const windowMs = reorderingWindow(rack, { sackedSegments: 0, isRecovering: true, rtt });
  const answerMs = rack.sentAt === undefined ? (rtt.smoothedMs ?? 0) : rack.rttMs;
  for (const range of sent.list) {
    const isOverdue = range.sentAt + answerMs + windowMs <= now;
    if (range.state === "flying" && isOverdue) setState(sent, range, "lost");
  }
}

/** RFC 8985 §7.2: two round trips, and the peer's patience if a single segment is under way. */
export function probeDelay(rtt: RoundTrip, isSingleSegment: boolean): number {
  if (rtt.smoothedMs === undefined) return PROBE_FIRST_MS;
  return Math.max(PROBE_MIN_MS, 2 * rtt.smoothedMs + (isSingleSegment ? ACK_DELAY_MAX_MS : 0));
}
