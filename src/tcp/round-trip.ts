/** The retransmission time-out (RFC 6298), and the least round trip of late (RFC 8985 §6.2 step 1). */
import type { Instant } from "../base/index.ts";
import { CLOCK_GRANULARITY_MS, RTO_FIRST_MS } from "./constants.ts";

export interface RoundTrip {
  smoothedMs: number | undefined;
  varianceMs: number;
  rtoMs: number;
  leastMs: number;
  leastAt: Instant | undefined;
}

/** The least round trip is forgotten after this time: paths change. */
const LEAST_LASTS_MS = 300_000;

export function createRoundTrip(): RoundTrip {
  return {
    smoothedMs: undefined,
    varianceMs: 0,
    rtoMs: RTO_FIRST_MS,
    leastMs: Number.POSITIVE_INFINITY,
    leastAt: undefined,
  };
}

/** One sample (RFC 6298 §2.2, §2.3). */
export function learn(
  rtt: RoundTrip,
  now: Instant,
  sampleMs: number,
  { rtoMinMs, rtoMaxMs }: { readonly rtoMinMs: number; readonly rtoMaxMs: number },
): void {
  if (rtt.smoothedMs === undefined) {
    rtt.smoothedMs = sampleMs;
    rtt.varianceMs = sampleMs / 2;
  } else {
    rtt.varianceMs = 0.75 * rtt.varianceMs + 0.25 * Math.abs(rtt.smoothedMs - sampleMs);
    rtt.smoothedMs = 0.875 * rtt.smoothedMs + 0.125 * sampleMs;
  }
  const rtoMs = Math.ceil(rtt.smoothedMs + Math.max(CLOCK_GRANULARITY_MS, 4 * rtt.varianceMs));
  rtt.rtoMs = Math.min(rtoMaxMs, Math.max(rtoMinMs, rtoMs));
  const isOld = rtt.leastAt === undefined || now - rtt.leastAt > LEAST_LASTS_MS;
  if (isOld || sampleMs <= rtt.leastMs) {
    rtt.leastMs = sampleMs;
    rtt.leastAt = now;
  }
}

/** RFC 6298 §5.5. */
export function backOff(rtt: RoundTrip, rtoMaxMs: number): void {
  rtt.rtoMs = Math.min(rtoMaxMs, rtt.rtoMs * 2);
}
