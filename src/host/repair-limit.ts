/** Repairs must not become a fight with whoever changes the host (PG-153). Pure. */
import { after, type Instant } from "../base/index.ts";

const WINDOW_MS = 60_000;

export interface RepairLimits {
  /** Per minute. */
  readonly repairsMax: number;
  readonly pauseMs: number;
}

const DEFAULT_LIMITS: RepairLimits = { repairsMax: 3, pauseMs: 60_000 };

export interface RepairLimit {
  /** `give-up` comes once, at the repair that would be one too many; then there is a pause. */
  ask(now: Instant): "repair" | "give-up" | "paused";
  /** The repair that was asked for last could not be made: it is none. */
  takeBack(): void;
}

/** Three repairs a minute, then a minute's pause, if nothing else is said. */
export function createRepairLimit({ repairsMax, pauseMs } = DEFAULT_LIMITS): RepairLimit {
  let repairs: readonly Instant[] = [];
  let pausedUntil: Instant | undefined;
  return {
    ask(now) {
      if (pausedUntil !== undefined && now < pausedUntil) return "paused";
      pausedUntil = undefined;
      repairs = repairs.filter((at) => now - at < WINDOW_MS);
      if (repairs.length < repairsMax) {
        repairs = [...repairs, now];
        return "repair";
      }
      repairs = [];
      pausedUntil = after(now, pauseMs);
      return "give-up";
    },
    takeBack() {
      repairs = repairs.slice(0, -1);
    },
  };
}
