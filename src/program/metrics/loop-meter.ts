/** How long turns of a control loop take (PG-114). */
import { createHistogram } from "../../base/index.ts";
import { type Sample, sample } from "./families.ts";

/** Seconds: a turn is over within one of these, or it holds up the others. */
const TURN_BOUNDS = [0.0001, 0.001, 0.005, 0.02, 0.1, 0.5, 2];

export interface LoopMeter {
  /** @param isExhausted whether it left input for the next turn (PG-52) */
  turn(ms: number, isExhausted: boolean): void;
  samples(): readonly Sample[];
}

export function createLoopMeter(): LoopMeter {
  const turns = createHistogram(TURN_BOUNDS);
  let exhausted = 0;
  return {
    turn(ms, isExhausted) {
      turns.observe(ms / 1000);
      if (isExhausted) exhausted++;
    },
    samples: () => [
      sample("postern_loop_turn_seconds", turns.read()),
      sample("postern_loop_exhausted_total", exhausted),
    ],
  };
}
