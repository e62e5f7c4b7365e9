/** One candidate pair: its checks, when the next is due, and when it is given up (SN §4.2, §4.3). */
import { after, earliest, formatSocketAddress, type Instant, type SocketAddress } from "../base/index.ts";
import type { Candidate, LocalCandidate } from "./candidate.ts";
import {
  EXTRA_GAP_MS,
  EXTRA_MAX,
  type IceTimings,
  NOMINATION_MIN_MS,
  NOMINATION_REPEATS,
  NOMINATION_ROUND_TRIPS,
  TRIGGERED_GAP_MS,
  TRIGGERED_MAX,
  TYPE_PREFERENCE,
} from "./constants.ts";

export interface LocalEntry {
  readonly candidate: LocalCandidate;
  isDiscarded: boolean;
}

export interface RemoteEntry {
  candidate: Candidate;
  /** Told by the peer, learnt from a check (SN-64), or guessed (SN-37). */
  origin: "signalled" | "temporary" | "optimistic";
  isDiscarded: boolean;
}

/** One check on the wire. */
export interface Attempt {
  /** Transaction id in hexadecimal. */
  readonly transaction: string;
  readonly sentAt: Instant;
  readonly isNominated: boolean;
  /** Sent early, beside the schedule: it is answered like any other, and counts in no other way (SN-144). */
  readonly isExtra: boolean;
  answeredAt: Instant | undefined;
}

/** How far a nomination has come (SN-44). */
export type Nomination =
  | { readonly kind: "none" }
  | { readonly kind: "pending"; readonly since: Instant }
  /** A check went out since, not answered yet. */
  | { readonly kind: "sent" }
  | { readonly kind: "done" };

export interface Pair {
  readonly key: string;
  local: LocalEntry;
  remote: RemoteEntry;
  priority: bigint;
  readonly formedAt: Instant;
  state: "waiting" | "in-progress" | "succeeded";
  nomination: Nomination;
  /** When a check by the peer asked for one of ours, which has not gone out yet (SN-140). */
  triggeredAt: Instant | undefined;
  /** The last `retransmitsMax` checks of the schedule and the extra ones among them, oldest first. */
  attempts: Attempt[];
  rttMs: number | undefined;
  /** What the peer saw as our address, if that is none of our candidates; for logs only (SN-65). */
  mappedAddress: SocketAddress | undefined;
  /** Which of its candidates the peer sends from, as its last check said (SN-19, SN-141). */
  peerPriority: number | undefined;
  /** The pair whose place this one takes as soon as a check sent since then is answered (SN-141). */
  rebinding: { readonly before: Pair; readonly since: Instant } | undefined;
  /** The pair that has this one's place now. */
  replacedBy: Pair | undefined;
  /** It once took the place of a pair that was alive: never again. */
  isRival: boolean;
  /** Given up before, and back only because the peer spoke: counts for nothing until it is answered (SN-143). */
  isOnTrial: boolean;
}

/** No candidate that is not relayed has less (SN-18). */
const DIRECT_PRIORITY_LEAST = TYPE_PREFERENCE.srflx * 2 ** 24;

/** A pair is unique by the local base and the remote address (SN-42). */
export function pairKey(base: SocketAddress, remote: SocketAddress): string {
  return `${formatSocketAddress(base)}>${formatSocketAddress(remote)}`;
}

/**
 * RFC 8445 §6.1.2.3. Beyond 2^53, therefore a bigint. Where one side is relayed, which side that is counts before
 * the other candidate: behind a NAT that is a host to its own end, and server-reflexive to the peer (SN-20).
 */
export function pairPriority(controlling: number, controlled: number): bigint {
  const [low, high] = controlling < controlled ? [controlling, controlled] : [controlled, controlling];
  const isOtherRelayed = controlling > controlled ? 1n : 0n;
  const isHalfRelayed = low < DIRECT_PRIORITY_LEAST && high >= DIRECT_PRIORITY_LEAST;
  const rest = isHalfRelayed ? (isOtherRelayed << 31n) + BigInt(high) : 2n * BigInt(high) + isOtherRelayed;
  return (BigInt(low) << 32n) + rest;
}

/** SN-45: the pause after the n-th check. */
function delayMs(n: number, timings: IceTimings): number {
  if (n === 0) return 0;
  const factor = 2 ** Math.min(n - 1, timings.retransmitsMax);
  return Math.min(timings.initialRtoMs * factor, timings.maxRtoMs);
}

/** The checks that the schedule counts. */
interface Course {
  readonly count: number;
  readonly last: Attempt;
  /** Those behind the newest answer, extra ones included as answers. */
  readonly unanswered: number;
  readonly firstUnanswered: Attempt;
}

function courseOf({ attempts }: Pair): Course | undefined {
  let last: Attempt | undefined;
  let firstUnanswered: Attempt | undefined;
  let [count, unanswered, isSilent] = [0, 0, true];
  for (let i = attempts.length - 1; i >= 0; i--) {
    const attempt = attempts[i];
    if (attempt === undefined) break;
    if (attempt.answeredAt !== undefined) isSilent = false;
    if (attempt.isExtra) continue;
    last ??= attempt;
    count++;
    if (!isSilent) continue;
    unanswered++;
    firstUnanswered = attempt;
  }
  return last && { count, last, unanswered, firstUnanswered: firstUnanswered ?? last };
}

/** Unanswered checks of the schedule, counted from the newest back to the first answered one. */
export function unansweredChecks(pair: Pair): number {
  return courseOf(pair)?.unanswered ?? 0;
}

/** When the next check is due (SN-45). For a dead pair this is when it is removed. */
export function nextCheckAt(pair: Pair, timings: IceTimings): Instant {
  const course = courseOf(pair);
  if (course === undefined) return pair.formedAt;
  const { count, last, unanswered, firstUnanswered } = course;
  const isLongSilent = unanswered >= 1 && last.sentAt - firstUnanswered.sentAt > timings.maxRtoMs / 2;
  const due = after(last.sentAt, delayMs(isLongSilent ? unanswered : count, timings));
  return earliest(due, pair.triggeredAt, nominationDue(pair, last, unanswered)) ?? due;
}

/** When the nomination wants a check: at once, and again after a few round trips (SN-45, SN-140). */
function nominationDue(pair: Pair, last: Attempt, unanswered: number): Instant | undefined {
  const { nomination, rttMs } = pair;
  if (nomination.kind === "pending") return nomination.since;
  const isLost = nomination.kind === "sent" && unanswered >= 1 && unanswered <= NOMINATION_REPEATS;
  if (!isLost || rttMs === undefined) return undefined;
  return after(last.sentAt, Math.max(NOMINATION_MIN_MS, Math.ceil(NOMINATION_ROUND_TRIPS * rttMs)));
}

/** A check of the peer came in on the pair: an early sign that ours may get through, too (SN-140). */
export function trigger(pair: Pair, now: Instant): void {
  const last = pair.attempts.at(-1);
  if (pair.state !== "in-progress" || last === undefined) return;
  const count = courseOf(pair)?.count ?? 0;
  if (count < TRIGGERED_MAX && now - last.sentAt >= TRIGGERED_GAP_MS) pair.triggeredAt = now;
}

/** When an extra check of a pair that nobody has answered yet could go out, pacing aside (SN-144). */
export function extraCheckAt({ attempts }: Pair): Instant | undefined {
  const last = attempts.at(-1);
  if (last === undefined || attempts.filter(({ isExtra }) => isExtra).length >= EXTRA_MAX) return undefined;
  return after(last.sentAt, EXTRA_GAP_MS);
}

/** When the pair is given up, if no answer comes before (SN-46). */
export function removalAt(pair: Pair, timings: IceTimings): Instant | undefined {
  const course = courseOf(pair);
  const most = timings.retransmitsMax;
  if (course === undefined || course.count < most || course.unanswered < most) return undefined;
  return after(course.last.sentAt, delayMs(most, timings));
}

export function isDead(pair: Pair, timings: IceTimings, now: Instant): boolean {
  const removal = removalAt(pair, timings);
  return removal !== undefined && now >= removal;
}

/** Forgets all but the newest checks of the schedule, and the extra ones before them (SN-48). */
export function forgetOldAttempts({ attempts }: Pair, timings: IceTimings): readonly Attempt[] {
  let from = attempts.length;
  for (let left = timings.retransmitsMax; left > 0 && from > 0; ) if (!attempts[--from]?.isExtra) left--;
  return attempts.splice(0, from);
}
