/**
 * What became of each pair, for people who ask why a path is as it is (PG-190). Nothing here decides: the
 * agent notes, and only a report reads.
 */
import type { Instant, SocketAddress } from "../base/index.ts";
import type { CandidateKind } from "./candidate.ts";
import { MAX_PAIRS } from "./constants.ts";
import type { Pair } from "./pair.ts";

/** One pair of candidates and its last check, either way. */
export interface PairReport {
  /** Where our datagrams leave from. */
  readonly base: SocketAddress;
  readonly localKind: CandidateKind;
  readonly remote: SocketAddress;
  readonly remoteKind: CandidateKind;
  readonly state: "selected" | "succeeded" | "checking" | "given-up";
  /** Of those that are remembered. */
  readonly checksSent: number;
  readonly lastSentAt?: Instant;
  readonly lastAnsweredAt?: Instant;
  readonly rttMs?: number;
  /** The last answer was this error. */
  readonly errorCode?: number;
  /** When the peer's last check came in on the pair. */
  readonly heardAt?: Instant;
}

interface Note {
  heardAt?: Instant;
  errorCode?: number;
}

export interface PairHistory {
  /** By the key of the pair. */
  readonly notes: Map<string, Note>;
  readonly givenUp: Map<string, PairReport>;
  /** Why the peer's last check was refused, if one was. */
  refusal: string | undefined;
}

export function createPairHistory(): PairHistory {
  return { notes: new Map(), givenUp: new Map(), refusal: undefined };
}

export function noteHeard({ notes }: PairHistory, { key }: Pair, now: Instant): void {
  keep(notes, key, { ...notes.get(key), heardAt: now });
}

export function noteError({ notes }: PairHistory, { key }: Pair, errorCode: number): void {
  keep(notes, key, { ...notes.get(key), errorCode });
}

export function noteVerdict<Verdict extends string>(history: PairHistory, verdict: Verdict): Verdict {
  if (verdict !== "accepted") history.refusal = verdict;
  return verdict;
}

export function noteGone(history: PairHistory, pairs: readonly Pair[]): void {
  for (const pair of pairs) keep(history.givenUp, pair.key, reportOf(history, pair, "given-up"));
}

/** Living pairs, best first, then those that were given up and have not come back. */
export function reportPairs(
  history: PairHistory,
  pairs: readonly Pair[],
  selected: Pair | undefined,
): readonly PairReport[] {
  const living = new Set(pairs.map(({ key }) => key));
  const stateOf = (pair: Pair): PairReport["state"] => {
    if (pair === selected) return "selected";
    return pair.state === "succeeded" ? "succeeded" : "checking";
  };
  return [
    ...pairs.map((pair) => reportOf(history, pair, stateOf(pair))),
    ...[...history.givenUp].filter(([key]) => !living.has(key)).map(([, report]) => report),
  ];
}

function reportOf({ notes }: PairHistory, pair: Pair, state: PairReport["state"]): PairReport {
  const { key, local, remote, attempts, rttMs } = pair;
  const lastSentAt = attempts.at(-1)?.sentAt;
  const lastAnsweredAt = attempts.findLast(({ answeredAt }) => answeredAt !== undefined)?.answeredAt;
  return {
    base: local.candidate.base,
    localKind: local.candidate.kind,
    remote: remote.candidate.address,
    remoteKind: remote.candidate.kind,
    state,
    checksSent: attempts.length,
    ...(lastSentAt !== undefined && { lastSentAt }),
    ...(lastAnsweredAt !== undefined && { lastAnsweredAt }),
    ...(rttMs !== undefined && { rttMs }),
    ...notes.get(key),
  };
}

/** Of more than a checklist holds the oldest are forgotten. */
function keep<Value>(map: Map<string, Value>, key: string, value: Value): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > MAX_PAIRS && oldest !== undefined) map.delete(oldest);
}
