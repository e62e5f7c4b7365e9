/**
 * HyStart++ (RFC 9406): the first slow start ends when round trips get longer, before its last doubling overflows a
 * queue. Growth is not limited to 8 segments per acknowledgement (§4.2, L): ours answer whole super-segments.
 */
export interface SlowStart {
  /** Offset with whose acknowledgement the round ends. */
  roundEnd: number;
  lastLeastMs: number;
  leastMs: number;
  samples: number;
  /** Conservative slow start: the least round trip when it began, and the rounds since. */
  careful: { readonly baselineMs: number; rounds: number } | undefined;
}

const THRESHOLD_MIN_MS = 4;
const THRESHOLD_MAX_MS = 16;
const THRESHOLD_DIVISOR = 8;
const SAMPLES = 8;
const CAREFUL_ROUNDS = 5;
/** In conservative slow start the window grows by this part of what is delivered. */
export const CAREFUL_SHARE = 1 / 4;

export function createSlowStart(): SlowStart {
  const never = Number.POSITIVE_INFINITY;
  return { roundEnd: 0, lastLeastMs: never, leastMs: never, samples: 0, careful: undefined };
}

export interface Round {
  /** What is acknowledged, and what was sent so far. */
  readonly una: number;
  readonly nxt: number;
  readonly rttMs: number | undefined;
}

/** How an acknowledgement lets the window grow (RFC 9406 §4.2). */
export function judgeRound(slowStart: SlowStart, { una, nxt, rttMs }: Round): "grow" | "careful" | "leave" {
  if (una >= slowStart.roundEnd) {
    slowStart.lastLeastMs = slowStart.leastMs;
    slowStart.leastMs = Number.POSITIVE_INFINITY;
    slowStart.samples = 0;
    slowStart.roundEnd = nxt;
    if (slowStart.careful !== undefined && ++slowStart.careful.rounds > CAREFUL_ROUNDS) return "leave";
  }
  if (rttMs !== undefined) {
    slowStart.leastMs = Math.min(slowStart.leastMs, rttMs);
    slowStart.samples++;
  }
  const { careful, samples, leastMs, lastLeastMs } = slowStart;
  if (samples >= SAMPLES && careful === undefined && Number.isFinite(lastLeastMs)) {
    const part = lastLeastMs / THRESHOLD_DIVISOR;
    const threshold = Math.max(THRESHOLD_MIN_MS, Math.min(part, THRESHOLD_MAX_MS));
    if (leastMs >= lastLeastMs + threshold) slowStart.careful = { baselineMs: leastMs, rounds: 0 };
  } else if (samples >= SAMPLES && careful !== undefined && leastMs < careful.baselineMs) {
    // It was jitter.
    slowStart.careful = undefined;
  }
  return slowStart.careful === undefined ? "grow" : "careful";
}
