/**
 * The machines' clock where no system call can be made (grade `plain`). The runtime's own stands still while the host is
 * suspended (Linux's CLOCK_MONOTONIC), and deadlines must not (D-14). The time since the host's start counts suspends,
 * but reading it opens a file: so it is read only when the wall clock has jumped.
 */
import { uptime } from "node:os";
import { type Instant, instant } from "../../base/index.ts";
import { isPermitted } from "./permission.ts";

export interface ClockSources {
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  /** Since the host's start, suspends included; some runtimes tell whole seconds. */
  readonly uptimeMs: () => number;
}

const WALL_TOLERANCE_MS = 1_000;
/** Shorter suspends may be nothing but rounding. */
const SUSPEND_MS_MIN = 2_000;

export function createPlainClock(
  { monotonicMs, wallMs, uptimeMs }: ClockSources = ofRuntime(),
): () => Instant {
  let suspendedMs = 0;
  let wallAheadMs = wallMs() - monotonicMs();
  let uptimeAheadMs = uptimeMs() - monotonicMs();
  return () => {
    const monotonic = monotonicMs();
    const aheadMs = wallMs() - monotonic;
    if (Math.abs(aheadMs - wallAheadMs) > WALL_TOLERANCE_MS) {
      wallAheadMs = aheadMs;
      const gainedMs = uptimeMs() - monotonic - uptimeAheadMs;
      if (gainedMs >= SUSPEND_MS_MIN) {
        suspendedMs += gainedMs;
        uptimeAheadMs += gainedMs;
      }
    }
    return instant(Math.floor(monotonic + suspendedMs));
  };
}

function ofRuntime(): ClockSources {
  const monotonicMs = (): number => performance.now();
  const isTold = isPermitted({ name: "sys", kind: "osUptime" });
  return { monotonicMs, wallMs: Date.now, uptimeMs: isTold ? () => uptime() * 1_000 : monotonicMs };
}
