/** Which pair is the best, and what state the agent is in (SN-56, SN-57, SN §4.6): pure functions. */
import { type Instant, unreachable } from "../base/index.ts";
import type { IceRole } from "../stun/index.ts";
import type { IceTimings } from "./constants.ts";
import { isDead, type Pair } from "./pair.ts";
import { inPlaceOf } from "./rebinding.ts";

/**
 * `connected`: a pair is nominated, others are alive. `completed`: no other pair is left. The node
 * treats them alike (SN-61). `disconnected`: nothing left to try, never final.
 */
export type IceState = "new" | "checking" | "connected" | "completed" | "disconnected";

export function isIceConnected(state: IceState): boolean {
  return state === "connected" || state === "completed";
}

/**
 * The pair to use. `pairs` is sorted: the first that qualifies, or whoever has its place (SN-141). The
 * controlling side needs an answer of its own; the controlled side follows nominations, answered or not.
 * Of several that are equally good, `current` stays.
 */
export function bestPair(role: IceRole, pairs: readonly Pair[], current: Pair | undefined): Pair | undefined {
  const isUsable = (pair: Pair): boolean =>
    role === "controlling" ? pair.state === "succeeded" : isNominated(pair);
  const usable = pairs.filter(isUsable);
  const best = usable
    .filter(({ priority }) => priority === usable[0]?.priority)
    .map((pair) => inPlaceOf(pair, usable));
  return best.find((pair) => pair === current) ?? best[0];
}

/** A pair on trial is nobody's path (SN-143). */
function isNominated({ nomination, isOnTrial }: Pair): boolean {
  return nomination.kind !== "none" && !isOnTrial;
}

export interface Prospects {
  readonly hasNominated: boolean;
  readonly hasOther: boolean;
}

export interface CandidateHistory {
  /** Ever, discarded ones included: a lost last candidate is no reason to wait (SN-62). */
  readonly hasHadLocal: boolean;
  readonly hasHadRemote: boolean;
}

export function prospectsOf(
  pairs: readonly Pair[],
  history: CandidateHistory,
  timings: IceTimings,
  now: Instant,
): Prospects {
  const isOther = (pair: Pair): boolean =>
    pair.nomination.kind === "none" && !pair.isOnTrial && !isDead(pair, timings, now);
  return {
    hasNominated: pairs.some(isNominated),
    hasOther: !history.hasHadLocal || !history.hasHadRemote || pairs.some(isOther),
  };
}

/** The table of SN §4.6, row by row. */
export function nextIceState(state: IceState, { hasNominated, hasOther }: Prospects): IceState {
  switch (state) {
    case "new":
      return "checking";
    case "checking":
    case "disconnected":
    case "connected":
    case "completed":
      if (hasNominated) return hasOther ? "connected" : "completed";
      return hasOther ? "checking" : "disconnected";
    default:
      return unreachable(state);
  }
}
