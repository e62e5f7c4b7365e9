/** The list of pairs, always sorted by descending priority (SN-42, SN-43). */
import type { Instant } from "../base/index.ts";
import type { IceRole } from "../stun/index.ts";
import { MAX_PAIRS } from "./constants.ts";
import { type LocalEntry, type Pair, pairKey, pairPriority, type RemoteEntry } from "./pair.ts";

export interface Pairing {
  readonly role: IceRole;
  readonly local: LocalEntry;
  readonly remote: RemoteEntry;
  readonly now: Instant;
}

/**
 * Pairs that were given up and have not been answered since, by their keys, oldest first (SN-143). Were one
 * forgotten, it would get one chance too many.
 */
export type GivenUp = Set<string>;

const GIVEN_UP_MAX = 2 * MAX_PAIRS;

export function noteGivenUp(givenUp: GivenUp, pairs: readonly Pair[]): void {
  for (const { key } of pairs) {
    givenUp.delete(key);
    givenUp.add(key);
  }
  for (const key of givenUp) {
    if (givenUp.size <= GIVEN_UP_MAX) return;
    givenUp.delete(key);
  }
}

/** A candidate that is signalled, or an answer, gives the pair a new beginning. */
export function endTrial(givenUp: GivenUp, pair: Pair): void {
  givenUp.delete(pair.key);
  pair.isOnTrial = false;
}

/** Whether such a pair may be formed: one family, and a local candidate that datagrams can leave from. */
export function canPair(local: LocalEntry, remote: RemoteEntry): boolean {
  return (
    !local.isDiscarded &&
    !remote.isDiscarded &&
    (local.candidate.kind === "host" || local.candidate.kind === "relay") &&
    local.candidate.address.address.length === remote.candidate.address.address.length
  );
}

/**
 * Forms a pair, or lets the existing one of the same addresses take the better candidates; that one
 * keeps its checks, its success and its nomination (SN-42).
 */
export function formPair(pairs: Pair[], pairing: Pairing): Pair {
  const { local, remote } = pairing;
  const key = pairKey(local.candidate.base, remote.candidate.address);
  const priority = priorityOf(pairing);
  const existing = pairs.find((pair) => pair.key === key);
  if (existing !== undefined) {
    if (priority > existing.priority) Object.assign(existing, { local, remote, priority });
    sortPairs(pairs);
    return existing;
  }
  const pair: Pair = {
    key,
    local,
    remote,
    priority,
    formedAt: pairing.now,
    state: "waiting",
    nomination: { kind: "none" },
    triggeredAt: undefined,
    attempts: [],
    rttMs: undefined,
    mappedAddress: undefined,
    peerPriority: undefined,
    rebinding: undefined,
    replacedBy: undefined,
    isRival: false,
    isOnTrial: false,
  };
  pairs.push(pair);
  sortPairs(pairs);
  return pair;
}

/** Recomputes the priorities of a remote candidate's pairs after it has changed (SN-33). */
export function rerankPairs(pairs: Pair[], role: IceRole, remote: RemoteEntry): void {
  for (const pair of pairs) {
    if (pair.remote === remote) pair.priority = priorityOf({ role, local: pair.local, remote });
  }
  sortPairs(pairs);
}

/** Takes out the pairs for which `isGone` holds, and returns them. */
export function takePairs(pairs: Pair[], isGone: (pair: Pair) => boolean): readonly Pair[] {
  const gone = pairs.filter(isGone);
  if (gone.length > 0) pairs.splice(0, pairs.length, ...pairs.filter((pair) => !gone.includes(pair)));
  return gone;
}

/** Puts a pair on trial that a check of the peer has just brought back, if it was given up before. */
export function tryAgain(givenUp: GivenUp, pair: Pair): void {
  if (pair.state === "waiting" && givenUp.has(pair.key)) pair.isOnTrial = true;
}

function priorityOf({ role, local, remote }: Omit<Pairing, "now">): bigint {
  const [ours, theirs] = [local.candidate.priority, remote.candidate.priority];
  return role === "controlling" ? pairPriority(ours, theirs) : pairPriority(theirs, ours);
}

/** The key makes the order total, so that nothing depends on the order of arrival. */
function sortPairs(pairs: Pair[]): void {
  pairs.sort((a, b) => {
    if (a.priority !== b.priority) return a.priority > b.priority ? -1 : 1;
    return a.key < b.key ? -1 : 1;
  });
}
