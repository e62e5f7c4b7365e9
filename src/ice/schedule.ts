/** Which checks of an agent are due, and when it wants to be called again (SN-45, SN-47, SN-144). */
import { after, earliest, type Instant } from "../base/index.ts";
import { type IceTimings, PACING_MS } from "./constants.ts";
import { extraCheckAt, nextCheckAt, type Pair, removalAt } from "./pair.ts";

/** Checks beside the schedule, while no pair of the agent has been answered. */
export interface ExtraChecks {
  /** Ever: then the schedule is enough. */
  hasAnswer: boolean;
  lastAt: Instant | undefined;
}

export interface DueCheck {
  readonly pair: Pair;
  readonly isExtra: boolean;
}

/** All checks that the schedule asks for by now, and at most one extra one. */
export function dueChecks(
  pairs: readonly Pair[],
  timings: IceTimings,
  extra: ExtraChecks,
  now: Instant,
): readonly DueCheck[] {
  const scheduled = pairs
    .map((pair) => ({ pair, at: nextCheckAt(pair, timings) }))
    .filter(({ at }) => at <= now)
    // Stable: pairs due at the same time stay in the order of their priority (SN-47).
    .sort((a, b) => a.at - b.at)
    .map(({ pair }) => ({ pair, isExtra: false }));
  const others = pairs.filter((pair) => !scheduled.some((due) => due.pair === pair));
  const { pair, at } = nextExtra(others, extra);
  return pair !== undefined && at !== undefined && at <= now
    ? [...scheduled, { pair, isExtra: true }]
    : scheduled;
}

/** When a check is due, or a pair is given up. */
export function nextDeadline(
  pairs: readonly Pair[],
  timings: IceTimings,
  extra: ExtraChecks,
): Instant | undefined {
  let first = nextExtra(pairs, extra).at;
  for (const pair of pairs) first = earliest(first, removalAt(pair, timings) ?? nextCheckAt(pair, timings));
  return first;
}

/** The pair that has waited longest, the best one first; one extra check per Ta (RFC 8445 §14.2). */
function nextExtra(
  pairs: readonly Pair[],
  { hasAnswer, lastAt }: ExtraChecks,
): { readonly pair?: Pair; readonly at?: Instant } {
  if (hasAnswer) return {};
  let next: { readonly pair: Pair; readonly at: Instant } | undefined;
  for (const pair of pairs) {
    const at = extraCheckAt(pair);
    if (at !== undefined && (next === undefined || at < next.at)) next = { pair, at };
  }
  if (next === undefined || lastAt === undefined) return next ?? {};
  const paced = after(lastAt, PACING_MS);
  return paced > next.at ? { ...next, at: paced } : next;
}
