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
  /** Whether this turn comes so late that the process must have stood still. `now` counts suspend (D-14). */
  hasResumed(now: Instant): boolean;
}

export function createSuspendWatch(): SuspendWatch {
  let asked: Instant | undefined;
  return {
    sleepUntil(due) {
      asked = due;
    },
    hasResumed: (now) => asked !== undefined && now - asked > LATE_MS_MIN,
  };
}
