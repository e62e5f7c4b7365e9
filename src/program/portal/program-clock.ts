/** The portal's clocks: it has no plane to share CLOCK_BOOTTIME with. */
import { type Instant, instant, type UnixMs, unixMs } from "../../base/index.ts";

/**
 * Monotonic milliseconds. It may stand still during a suspend: the machine is told the wall clock again
 * at every turn, and expiry follows that one.
 */
export function monotonicNow(): Instant {
  return instant(Math.floor(performance.now()));
}

export function wallNow(): UnixMs {
  return unixMs(Date.now());
}
