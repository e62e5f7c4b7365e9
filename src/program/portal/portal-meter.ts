/** How fast a portal's loop and disk are (PT-192). */
import { createHistogram } from "../../base/index.ts";
import { inSeconds, type Sample, sample } from "../metrics/index.ts";

/** In milliseconds: what is asked for is answered within one of these, or others wait for it. */
const BOUNDS_MS = [0.1, 0.5, 1, 2.5, 5, 10, 25, 100, 250, 1000, 5000];

export interface PortalMeter {
  /** Since the input that messages to peers follow from, until the sockets had them. */
  pushed(ms: number): void;
  /** How late the loop woke. */
  woke(lateMs: number): void;
  /** One write of the state, on disk. */
  written(ms: number): void;
  /** Since a new configuration was read, until the sockets had what it changes. */
  change(ms: number): void;
  samples(): readonly Sample[];
}

export function createPortalMeter(): PortalMeter {
  const pushLag = createHistogram(BOUNDS_MS);
  const loopLag = createHistogram(BOUNDS_MS);
  const writes = createHistogram(BOUNDS_MS);
  const changeLag = createHistogram(BOUNDS_MS);
  return {
    pushed: pushLag.observe,
    woke: loopLag.observe,
    written: writes.observe,
    change: changeLag.observe,
    samples: () => [
      sample("postern_portal_push_lag_seconds", inSeconds(pushLag.read(), 1000)),
      sample("postern_portal_loop_lag_seconds", inSeconds(loopLag.read(), 1000)),
      sample("postern_portal_db_seconds", inSeconds(writes.read(), 1000)),
      sample("postern_portal_change_lag_seconds", inSeconds(changeLag.read(), 1000)),
    ],
  };
}
