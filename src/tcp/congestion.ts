/**
 * How much may be under way: slow start and the reactions of RFC 5681, growth by CUBIC (RFC 9438), and in recovery
 * proportional rate reduction (RFC 6937). CUBIC instead of NewReno's one segment per round trip, because a window
 * of 1 MiB at 50 ms would need half a minute to come back after a single loss; where the two differ little, on short
 * paths, CUBIC is at least as fast as NewReno (its Reno-friendly region).
 */
import type { Instant } from "../base/index.ts";
import { INITIAL_WINDOW_SEGMENTS } from "./constants.ts";
import { CAREFUL_SHARE, createSlowStart, judgeRound, type Round, type SlowStart } from "./slow-start.ts";

/** `open`: nothing is missing. `recovery`: until what was sent before the loss is acknowledged. `loss`: after an RTO. */
export type Phase =
  | { readonly kind: "open" }
  | { readonly kind: "recovery"; readonly until: number; readonly prr: Prr }
  // The oldest segment goes out whatever else is under way (RFC 6298 §5.4).
  | { readonly kind: "loss"; readonly until: number; isFirstDue: boolean };

interface Prr {
  readonly flightBytes: number;
  delivered: number;
  sent: number;
  /** The first retransmission is not held back (RFC 6675 §5 step 4.3). */
  isFirstDue: boolean;
}

export interface Congestion {
  phase: Phase;
  windowBytes: number;
  thresholdBytes: number;
  mss: number;
  readonly slowStart: SlowStart;
  /** Window before the last reduction. */
  cubicMaxBytes: number;
  epochAt: Instant | undefined;
  /** Seconds from the beginning of the epoch until the window is what it was. */
  cubicK: number;
  /** What Reno would have by now (RFC 9438 §4.3). */
  renoBytes: number;
  /** What to go back to if a time-out proves to have been none (RFC 4015). */
  undo: { readonly windowBytes: number; readonly thresholdBytes: number } | undefined;
}

/** RFC 9438 §4.6. */
const CUBIC_BETA = 0.7;
const CUBIC_C = 0.4;
/** α of the Reno-friendly region (RFC 9438 §4.3). */
const CUBIC_ALPHA = (3 * (1 - CUBIC_BETA)) / (1 + CUBIC_BETA);

export function createCongestion(mss: number): Congestion {
  return {
    phase: { kind: "open" },
    windowBytes: INITIAL_WINDOW_SEGMENTS * mss,
    thresholdBytes: Number.POSITIVE_INFINITY,
    mss,
    slowStart: createSlowStart(),
    cubicMaxBytes: 0,
    epochAt: undefined,
    cubicK: 0,
    renoBytes: 0,
    undo: undefined,
  };
}

/** The path's segment size has become known, or less; before anything was sent the initial window follows it. */
export function setSegmentSize(congestion: Congestion, mss: number, isFresh: boolean): void {
  congestion.mss = mss;
  if (isFresh) congestion.windowBytes = INITIAL_WINDOW_SEGMENTS * mss;
}

export interface Progress extends Round {
  readonly now: Instant;
  /** Newly acknowledged or sacked octets. */
  readonly delivered: number;
  /** Octets under way before this acknowledgement, and after it. */
  readonly flightBefore: number;
  readonly flight: number;
  readonly smoothedMs: number;
  readonly mostBytes: number;
}

/** What was delivered makes room for more. */
export function grow(congestion: Congestion, progress: Progress): void {
  if (congestion.phase.kind === "recovery") return reduce(congestion, congestion.phase.prr, progress);
  const { delivered, flightBefore, mostBytes } = progress;
  if (delivered === 0) return;
  const { windowBytes, thresholdBytes, mss } = congestion;
  if (windowBytes < thresholdBytes) {
    // Who does not use what he has learns nothing about more (RFC 7661 §4).
    if (flightBefore * 2 < windowBytes && congestion.phase.kind === "open") return;
    const growth = slowStartGrowth(congestion, progress);
    congestion.windowBytes = Math.min(windowBytes + growth, mostBytes);
    return;
  }
  if (flightBefore + mss <= windowBytes) return;
  congestion.windowBytes = Math.min(windowBytes + cubicIncrease(congestion, progress), mostBytes);
}

/** After a loss the threshold ends it; the first one knows none (RFC 9406 §4.3). */
function slowStartGrowth(congestion: Congestion, progress: Progress): number {
  if (Number.isFinite(congestion.thresholdBytes)) return progress.delivered;
  switch (judgeRound(congestion.slowStart, progress)) {
    case "grow":
      return progress.delivered;
    case "careful":
      return progress.delivered * CAREFUL_SHARE;
    case "leave":
      congestion.thresholdBytes = congestion.windowBytes;
      return 0;
  }
}

/** RFC 9438 §4.2 to §4.5. */
function cubicIncrease(congestion: Congestion, { now, delivered, smoothedMs }: Progress): number {
  const { windowBytes, mss } = congestion;
  if (congestion.epochAt === undefined) {
    congestion.epochAt = now;
    congestion.renoBytes = windowBytes;
    if (congestion.cubicMaxBytes < windowBytes) congestion.cubicMaxBytes = windowBytes;
    congestion.cubicK = Math.cbrt((congestion.cubicMaxBytes - windowBytes) / mss / CUBIC_C);
  }
  const alpha = congestion.renoBytes < congestion.cubicMaxBytes ? CUBIC_ALPHA : 1;
  congestion.renoBytes += (alpha * mss * delivered) / windowBytes;
  const seconds = (now - congestion.epochAt + smoothedMs) / 1_000 - congestion.cubicK;
  const wanted = CUBIC_C * seconds ** 3 * mss + congestion.cubicMaxBytes;
  const target = Math.min(Math.max(wanted, windowBytes), 1.5 * windowBytes);
  const cubic = ((target - windowBytes) * delivered) / windowBytes;
  return Math.max(cubic, congestion.renoBytes - windowBytes, 0);
}

/** RFC 6937 §3.1, with the slow start reduction bound. */
function reduce(congestion: Congestion, prr: Prr, { delivered, flight }: Progress): void {
  const { thresholdBytes, mss } = congestion;
  prr.delivered += delivered;
  let room: number;
  if (flight > thresholdBytes) {
    room = Math.ceil((prr.delivered * thresholdBytes) / Math.max(1, prr.flightBytes)) - prr.sent;
  } else {
    const limit = Math.max(prr.delivered - prr.sent, delivered) + mss;
    room = Math.min(thresholdBytes - flight, limit);
  }
  congestion.windowBytes = flight + Math.max(0, room);
}

/** Octets have been sent; a recovery counts them. */
export function noteOutput({ phase }: Congestion, octets: number): void {
  if (phase.kind === "loss") phase.isFirstDue = false;
  if (phase.kind !== "recovery") return;
  phase.prr.sent += octets;
  phase.prr.isFirstDue = false;
}

/** A segment was lost, the first of this window (RFC 5681 §3.2, RFC 9438 §4.6). */
export function enterRecovery(congestion: Congestion, flightBytes: number, until: number): void {
  if (congestion.phase.kind !== "open") return;
  lower(congestion, flightBytes);
  const prr = { flightBytes, delivered: 0, sent: 0, isFirstDue: true };
  congestion.phase = { kind: "recovery", until, prr };
}

/** Nothing came back in time: one segment, then slow start (RFC 5681 §3.1). */
export function enterLoss(
  congestion: Congestion,
  { flightBytes, until, isRepeated }: { flightBytes: number; until: number; isRepeated: boolean },
): void {
  if (!isRepeated) {
    const { windowBytes, thresholdBytes } = congestion;
    congestion.undo = { windowBytes, thresholdBytes };
    lower(congestion, flightBytes);
  }
  congestion.windowBytes = congestion.mss;
  congestion.phase = { kind: "loss", until, isFirstDue: true };
}

/** The time-out was none: the answer was only late (RFC 4015 §3.2). */
export function undoLoss(congestion: Congestion): void {
  if (congestion.undo === undefined) return;
  Object.assign(congestion, congestion.undo);
  congestion.undo = undefined;
  congestion.phase = { kind: "open" };
}

/** All that was under way when the loss was noticed has been acknowledged. @returns whether a phase has ended */
export function leaveAt(congestion: Congestion, una: number): boolean {
  const { phase } = congestion;
  if (phase.kind === "open" || una < phase.until) return false;
  if (phase.kind === "recovery") congestion.windowBytes = congestion.thresholdBytes;
  congestion.phase = { kind: "open" };
  congestion.undo = undefined;
  return true;
}

/** Nothing was sent for longer than the RTO: what was learnt is stale (RFC 5681 §4.1). */
export function restartAfterIdle(congestion: Congestion): void {
  congestion.windowBytes = Math.min(congestion.windowBytes, INITIAL_WINDOW_SEGMENTS * congestion.mss);
  congestion.epochAt = undefined;
}

/** A single loss that a probe has mended by itself halves the window, too (RFC 8985 §7.4.2). */
export function lowerOnce(congestion: Congestion): void {
  if (congestion.phase.kind !== "open") return;
  lower(congestion, congestion.windowBytes);
  congestion.windowBytes = congestion.thresholdBytes;
}

function lower(congestion: Congestion, flightBytes: number): void {
  const { windowBytes, mss } = congestion;
  // Fast convergence (RFC 9438 §4.7).
  congestion.cubicMaxBytes =
    windowBytes < congestion.cubicMaxBytes ? (windowBytes * (1 + CUBIC_BETA)) / 2 : windowBytes;
  congestion.thresholdBytes = Math.max(Math.floor(flightBytes * CUBIC_BETA), 2 * mss);
  congestion.epochAt = undefined;
}

/** Octets that may be sent now. */
export function roomIn({ phase, windowBytes, mss }: Congestion, flightBytes: number): number {
  const room = windowBytes - flightBytes;
  const isFirstDue =
    phase.kind === "recovery" ? phase.prr.isFirstDue : phase.kind === "loss" && phase.isFirstDue;
  return isFirstDue ? Math.max(room, mss) : room;
}
