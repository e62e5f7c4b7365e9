/** Makes a failed case small (TN-95, TS-19): fewer steps, then smaller numbers in those that are left. */
import type { CaseOptions, Outcome } from "./run-case.ts";
import { runSteps } from "./run-case.ts";
import type { Step } from "./transition.ts";

/** Each is a whole case. */
const RUNS_MAX = 300;

/** @returns the smallest case that was found and still fails, in whatever way */
export function shrink(failed: Outcome, options: CaseOptions = {}): Outcome {
  let best = failed;
  let runs = 0;
  const isBetter = (steps: readonly Step[]): boolean => {
    if (runs++ >= RUNS_MAX) return false;
    const outcome = runSteps(failed.seed, steps, options);
    if (outcome.failure === undefined) return false;
    best = outcome;
    return true;
  };
  for (let size = best.steps.length; size >= 1; size = Math.floor(size / 2)) {
    // From the end: what stands there depends on what stands before.
    for (let from = best.steps.length - size; from >= 0; from--) {
      isBetter([...best.steps.slice(0, from), ...best.steps.slice(from + size)]);
    }
  }
  for (let i = 0; i < best.steps.length; i++) {
    for (let j = 0; j < (best.steps[i]?.numbers.length ?? 0); j++) {
      const smaller = withZero(best.steps, i, j);
      if (smaller !== undefined) isBetter(smaller);
    }
  }
  return best;
}

function withZero(steps: readonly Step[], i: number, j: number): readonly Step[] | undefined {
  const step = steps[i];
  if (step === undefined || step.numbers[j] === 0) return undefined;
  return steps.with(i, { ...step, numbers: step.numbers.with(j, 0) });
}
