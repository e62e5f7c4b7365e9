/** Tells that the host was suspended: its boot time goes on meanwhile, its monotonic clock does not (PG-74). */

const CHECK_EVERY_MS = 10_000;
/** A jump of less is not worth a reconnection: what is under way survives it. */
const SUSPENDED_MS_MIN = 5_000;

export interface SuspendWatch {
  /**
   * Whether the host has resumed since the last call; looks every 10 s at most.
   * @param bootMs milliseconds since boot, suspend included
   * @param monotonicMs milliseconds of a clock that stands still while the host is suspended
   */
  hasResumed(bootMs: number, monotonicMs: number): boolean;
}

export function createSuspendWatch(bootMs: number, monotonicMs: number): SuspendWatch {
  let suspendedMs = bootMs - monotonicMs;
  let checkedAt = bootMs;
  return {
    hasResumed(boot, monotonic) {
      if (boot - checkedAt < CHECK_EVERY_MS) return false;
      checkedAt = boot;
      const before = suspendedMs;
      suspendedMs = boot - monotonic;
      return suspendedMs - before > SUSPENDED_MS_MIN;
    },
  };
}
