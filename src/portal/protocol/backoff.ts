/**
 * Pauses between attempts to reach the portal (PT §3, PT-27).
 */
import { type Random, randomU32 } from "../../base/index.ts";
import {
  INITIAL_BACKOFF_MS,
  INITIAL_MAX_ELAPSED_MS,
  RECONNECT_BACKOFF_CAP_MS,
  RECONNECT_BACKOFF_FACTOR,
  RECONNECT_BACKOFF_MS,
} from "./constants.ts";

/** `initial` until the first join succeeded: whoever never got in is told so soon. */
export type Backoff =
  | { readonly kind: "initial" }
  | { readonly kind: "reconnect"; readonly attempts: number };

export const INITIAL_BACKOFF: Backoff = { kind: "initial" };

/** The same back-off at its beginning (PT-20, PT-27). */
export function restarted(backoff: Backoff): Backoff {
  return backoff.kind === "initial" ? backoff : { kind: "reconnect", attempts: 0 };
}

/** The next pause, and the back-off after it. */
export function nextPause(
  backoff: Backoff,
  random: Random,
): { readonly pauseMs: number; readonly backoff: Backoff } {
  if (backoff.kind === "initial") return { pauseMs: INITIAL_BACKOFF_MS, backoff };
  const mean = Math.min(
    RECONNECT_BACKOFF_CAP_MS,
    RECONNECT_BACKOFF_MS * RECONNECT_BACKOFF_FACTOR ** backoff.attempts,
  );
  const jitter = 0.5 + randomU32(random) / 0x1_0000_0000;
  return {
    pauseMs: Math.round(mean * jitter),
    backoff: { kind: "reconnect", attempts: backoff.attempts + 1 },
  };
}

/** After how long without a join the machine gives up; `undefined`: never. */
export function maxElapsedMs(backoff: Backoff, maxPartitionMs: number | undefined): number | undefined {
  return backoff.kind === "initial" ? INITIAL_MAX_ELAPSED_MS : maxPartitionMs;
}
