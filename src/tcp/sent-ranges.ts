/**
 * What is under way, in ranges of offsets that were sent and fared alike: a super-segment is one range until an
 * acknowledgement cuts it. The scoreboard of RFC 6675 and RFC 8985.
 */
import type { Instant } from "../base/index.ts";

export type SentState = "flying" | "lost" | "sacked";

export interface SentRange {
  start: number;
  end: number;
  /** The last time it was sent. */
  sentAt: Instant;
  /** How often; what was sent twice is not timed (Karn). */
  sends: number;
  state: SentState;
}

export interface SentRanges {
  /** In order, without gaps. */
  list: SentRange[];
  /** Octets in each state. */
  flying: number;
  lost: number;
  sacked: number;
}

export type Delivered = (range: Readonly<SentRange>) => void;

export function createSentRanges(): SentRanges {
  return { list: [], flying: 0, lost: 0, sacked: 0 };
}

/** Notes what is sent for the first time; it follows what was sent before. */
export function noteSent(sent: SentRanges, start: number, end: number, now: Instant): void {
  const last = sent.list.at(-1);
  sent.flying += end - start;
  if (last?.end === start && last.sentAt === now && last.state === "flying" && last.sends === 1) {
    last.end = end;
    return;
  }
  sent.list.push({ start, end, sentAt: now, sends: 1, state: "flying" });
}

/** The beginning of a lost range goes out again, up to `end`. */
export function noteSentAgain(sent: SentRanges, range: SentRange, end: number, now: Instant): void {
  cutAt(sent, range, end);
  setState(sent, range, "flying");
  range.sends++;
  range.sentAt = now;
}

/** Forgets all before `upTo`, which has been acknowledged. */
export function acknowledge(sent: SentRanges, upTo: number, delivered: Delivered): void {
  let done = 0;
  for (const range of sent.list) {
    if (range.start >= upTo) break;
    if (range.end > upTo) {
      const { start } = range;
      if (range.state !== "sacked") delivered({ ...range, end: upTo });
      sent[range.state] -= upTo - start;
      range.start = upTo;
      break;
    }
    if (range.state !== "sacked") delivered(range);
    sent[range.state] -= range.end - range.start;
    done++;
  }
  if (done > 0) sent.list.splice(0, done);
}

/** Marks what lies in a block as received. */
export function sack(sent: SentRanges, start: number, end: number, delivered: Delivered): void {
  let isChanged = false;
  for (let i = indexBehind(sent, start); i < sent.list.length; i++) {
    const range = sent.list[i];
    if (range === undefined || range.start >= end) break;
    if (range.state === "sacked") continue;
    if (range.start < start) {
      cutAt(sent, range, start);
      continue;
    }
    cutAt(sent, range, end);
    delivered(range);
    setState(sent, range, "sacked");
    isChanged = true;
  }
  if (isChanged) joinSacked(sent);
}

/** The first range that ends behind `offset`. */
function indexBehind({ list }: SentRanges, offset: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.end ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Nothing tells sacked neighbours apart any more; so the list stays as long as there are gaps. */
function joinSacked(sent: SentRanges): void {
  const joined: SentRange[] = [];
  for (const range of sent.list) {
    const last = joined.at(-1);
    if (range.state === "sacked" && last?.state === "sacked") last.end = range.end;
    else joined.push(range);
  }
  sent.list = joined;
}

export function setState(sent: SentRanges, range: SentRange, state: SentState): void {
  const octets = range.end - range.start;
  sent[range.state] -= octets;
  range.state = state;
  sent[state] += octets;
}

/** What of `range` lies behind `at` becomes a range of its own. */
export function cutAt(sent: SentRanges, range: SentRange, at: number): void {
  if (at <= range.start || at >= range.end) return;
  const index = indexBehind(sent, range.start);
  sent.list.splice(index + 1, 0, { ...range, start: at });
  range.end = at;
}

/** The oldest octets that have to be sent again. */
export function firstLost(sent: SentRanges): SentRange | undefined {
  return sent.lost === 0 ? undefined : sent.list.find(({ state }) => state === "lost");
}

/** Everything that has not arrived for certain is to be sent again (RFC 6298 §5.4). */
export function loseAll(sent: SentRanges): void {
  for (const range of sent.list) if (range.state === "flying") setState(sent, range, "lost");
}

/** Whether the peer has acknowledged what lies before octets that it said it had, but not those (RFC 2018 §8). */
export function hasReneged({ list }: SentRanges): boolean {
  return list[0]?.state === "sacked";
}

/** What the peer said it had counts no more than what nobody has heard of. */
export function forgetSacks(sent: SentRanges): void {
  for (const range of sent.list) if (range.state === "sacked") setState(sent, range, "flying");
}

/** The first `octets` at most, if they are under way: what three duplicates, or part of an acknowledgement, tell of. */
export function loseFirst(sent: SentRanges, octets: number): void {
  const [first] = sent.list;
  if (first?.state !== "flying") return;
  cutAt(sent, first, first.start + octets);
  setState(sent, first, "lost");
}
