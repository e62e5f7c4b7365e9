/**
 * A NAT between the peer and us has given it another address (SN-141).
 *
 * A peer gives each of its candidates a priority of its own, and its checks name it: so a check from an
 * unknown address with the priority of another pair's checks is that pair, seen through another mapping.
 * It takes the other one's place when a check of ours to the new address has been answered: nobody without
 * the peer's password can do that. A check that came before, by whatever way, says nothing; and the old
 * address needs only to speak again to have its place back for good.
 */
import { equalSocketAddress, type Instant } from "../base/index.ts";
import { TRANSACTION_ID_BYTES } from "../stun/index.ts";
import type { Pair } from "./pair.ts";

/** Checks of the peer that are remembered, so that one that is sent again is not taken for news. */
const SEEN_MAX = 64;

export interface PeerChecks {
  /** Their transaction ids, one behind the other: as text they were a fifth of what a connection takes. */
  readonly seen: Uint8Array;
  /** How many there have been: the next one takes the place of the oldest. */
  count: number;
  /** A pair that had been replaced has spoken again: from then on data moves no path (SN-145). */
  hasComeBack: boolean;
}

export interface PeerCheck {
  readonly transactionId: Uint8Array;
  readonly priority: number;
}

export function createPeerChecks(): PeerChecks {
  return { seen: new Uint8Array(SEEN_MAX * TRANSACTION_ID_BYTES), count: 0, hasComeBack: false };
}

/** A valid check of the peer has come in on `pair`. */
export function noteCheck(
  checks: PeerChecks,
  pairs: readonly Pair[],
  pair: Pair,
  { transactionId, priority, now }: PeerCheck & { readonly now: Instant },
): void {
  if (isSeen(checks, transactionId)) return;
  checks.seen.set(transactionId, (checks.count++ % SEEN_MAX) * TRANSACTION_ID_BYTES);
  pair.peerPriority = priority;
  if (pair.replacedBy !== undefined) {
    // The old mapping lives: these are two ways, and priorities decide between them.
    pair.replacedBy.isRival = true;
    pair.replacedBy = undefined;
    checks.hasComeBack = true;
  }
  if (pair.remote.origin !== "temporary" || pair.isRival || pair.rebinding !== undefined) return;
  const before = pairs.find((other) => isSamePair(other, pair, priority));
  if (before !== undefined) pair.rebinding = { before, since: now };
}

function isSeen({ seen, count }: PeerChecks, transactionId: Uint8Array): boolean {
  const end = Math.min(count, SEEN_MAX) * TRANSACTION_ID_BYTES;
  for (let at = 0; at < end; at += TRANSACTION_ID_BYTES) {
    if (transactionId.every((byte, i) => byte === seen[at + i])) return true;
  }
  return false;
}

/** A check of ours that was sent at `sentAt` has been answered. */
export function confirmRebinding(pair: Pair, sentAt: Instant): void {
  const { rebinding } = pair;
  if (rebinding === undefined || sentAt < rebinding.since || pair.isRival) return;
  replacePair(rebinding.before, pair);
}

/** The end of a chain takes another pair's place: so there are no circles. */
export function replacePair(before: Pair, pair: Pair): void {
  pair.rebinding = undefined;
  pair.replacedBy = undefined;
  before.replacedBy = pair;
}

/** The pair that has this one's place, as far as it is among `usable`. */
export function inPlaceOf(pair: Pair, usable: readonly Pair[]): Pair {
  let last = pair;
  while (last.replacedBy !== undefined && usable.includes(last.replacedBy)) last = last.replacedBy;
  return last;
}

function isSamePair(other: Pair, pair: Pair, priority: number): boolean {
  return (
    other !== pair &&
    other.replacedBy === undefined &&
    other.peerPriority === priority &&
    equalSocketAddress(other.local.candidate.base, pair.local.candidate.base)
  );
}
