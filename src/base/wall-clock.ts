/**
 * The time of day as machines see it: derived from their own clock, so that it moves only when the shell
 * says so. Dates that others wrote (expiries) become deadlines by it.
 */
import { type Instant, instant, type UnixMs, unixMs } from "./instant.ts";

export interface WallClock {
  /** Takes the wall clock as it is now. */
  set(now: Instant, wallNow: UnixMs): void;
  /**
   * Takes it only if it was stepped: set by hand or by NTP, or the machine's own clock stood still. NTP's small
   * corrections move both clocks alike.
   *
   * @returns whether it was stepped, so that deadlines are others now
   */
  follow(now: Instant, wallNow: UnixMs): boolean;
  wallNow(now: Instant): UnixMs;
  /** When the machine's clock will show a wall-clock time. */
  instantOf(at: UnixMs): Instant;
}

/** The two clocks are read one after the other, and a busy machine may pause in between. */
export const CLOCK_TOLERANCE_MS = 250;

export function createWallClock(now: Instant, wallNow: UnixMs): WallClock {
  let offsetMs = wallNow - now;
  return {
    set(at, wall) {
      offsetMs = wall - at;
    },
    follow(at, wall) {
      if (Math.abs(wall - at - offsetMs) <= CLOCK_TOLERANCE_MS) return false;
      offsetMs = wall - at;
      return true;
    },
    wallNow: (at) => unixMs(at + offsetMs),
    instantOf: (at) => instant(at - offsetMs),
  };
}
