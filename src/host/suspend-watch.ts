/**
 * Tells that this process stood still: the host was suspended, or somebody stopped the process, or the
 * machine below it (PG-74). Each of them shows in the same way: the loop comes later than it had asked for.
 */
import type { Instant } from "../base/index.ts";

/** A shorter break is not worth a reconnection: what is under way survives it. */
const LATE_MS_MIN = 5_000;

export interface SuspendWatch {
  /** Notes when the loop wants to be woken at the latest. */
  sleepUntil(due: Instant): void;
  /**
   * How long the process stood still at least, if this turn comes so late that it must have. `now` counts
   * suspend (D-14).
   */
  stoodStillMs(now: Instant): number | undefined;
}

export function createSuspendWatch(): SuspendWatch {
  let asked: Instant | undefined;
  return {
    sleepUntil(due) {
      asked = due;
    },
    stoodStillMs: (now) => (asked !== undefined && now - asked > LATE_MS_MIN ? now - asked : undefined),
  };
}
