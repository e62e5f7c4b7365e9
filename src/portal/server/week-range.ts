/**
 * Times of the week at which a policy applies (PT-82).
 *
 * A value is `D/ranges/zone`, such as `M/9:00-12:00,13-17:30/Europe/Berlin` or `U/true/UTC`. A range is
 * half-open, in the zone's own clock, and touching ranges join, also across midnight: the end of one
 * day does not cut access that goes on the next.
 */
import { malformed, type Parsed, parsed, type UnixMs, unixMs } from "../../base/index.ts";

/** Seconds since Monday 0:00 of the zone's clock; `end` is the first second outside. */
export interface WeekRange {
  readonly startS: number;
  readonly endS: number;
  readonly zone: string;
}

export type MalformedWeekRange = "bad-form" | "bad-day" | "bad-time" | "bad-zone";

const DAYS = "MTWRFSU";
const DAY_S = 86_400;
const WEEK_S = 7 * DAY_S;
const WEEK_MS = WEEK_S * 1000;

/** Reads one value of a `current_utc_datetime` condition. */
export function parseWeekRanges(text: string): Parsed<readonly WeekRange[], MalformedWeekRange> {
  const match = /^([^/]*)\/([^/]*)\/(.+)$/.exec(text);
  if (match === null) return malformed("bad-form");
  const [, day = "", times = "", zone = ""] = match;
  const dayIndex = day.length === 1 ? DAYS.indexOf(day) : -1;
  if (dayIndex < 0) return malformed("bad-day");
  if (!isZone(zone)) return malformed("bad-zone");
  const ranges: WeekRange[] = [];
  for (const part of times === "true" ? ["0-24:00"] : times.split(",")) {
    const [from, to, ...rest] = part.split("-");
    const start = parseTime(from);
    const end = parseTime(to);
    if (start === undefined || end === undefined || rest.length > 0) return malformed("bad-time");
    if (start > end || start === DAY_S) return malformed("bad-time");
    ranges.push({ startS: dayIndex * DAY_S + start, endS: dayIndex * DAY_S + end, zone });
  }
  return parsed(ranges);
}

/**
 * Whether `at` lies in one of the ranges, and until when without a gap. A week without one has no end.
 */
export function withinWeek(
  ranges: readonly WeekRange[],
  at: UnixMs,
): { readonly isWithin: false } | { readonly isWithin: true; readonly until?: UnixMs } {
  let end: number = at;
  // Each round leaves one range; a week holds no more ends than there are ranges, plus its turn.
  for (let round = 0; round <= 2 * ranges.length + 1; round++) {
    const next = endOfRangeAt(ranges, unixMs(end));
    if (next === undefined) {
      return end === at ? { isWithin: false } : { isWithin: true, until: unixMs(end) };
    }
    end = next;
    if (end - at >= WEEK_MS) return { isWithin: true };
  }
  return { isWithin: true, until: unixMs(end) };
}

/**
 * When the next of the ranges begins, seen from a time outside all of them. A clock that is set forward over
 * the beginning may make it a little early: whoever asks then asks again.
 */
export function nextBegin(ranges: readonly WeekRange[], at: UnixMs): UnixMs | undefined {
  let earliest: number | undefined;
  for (const { startS, zone } of ranges) {
    const local = at + offsetMs(zone, at);
    const aheadS = (((startS - weekSecond(local)) % WEEK_S) + WEEK_S) % WEEK_S;
    const begin = fromLocal(zone, local + aheadS * 1000, at);
    if (begin > at && (earliest === undefined || begin < earliest)) earliest = begin;
  }
  return earliest === undefined ? undefined : unixMs(earliest);
}

/** The latest end of the ranges that hold `at`. */
function endOfRangeAt(ranges: readonly WeekRange[], at: UnixMs): number | undefined {
  let latest: number | undefined;
  for (const { startS, endS, zone } of ranges) {
    const local = at + offsetMs(zone, at);
    const second = weekSecond(local);
    if (second < startS || second >= endS) continue;
    const localEnd = local + (endS - second) * 1000;
    const end = fromLocal(zone, localEnd, at);
    // A clock that is set back inside the range repeats an hour; the end must still lie ahead.
    if (end > at && (latest === undefined || end > latest)) latest = end;
  }
  return latest;
}

/** Seconds since Monday 0:00 of a local time given as if it were UTC; fractions count. */
function weekSecond(localMs: number): number {
  // 1970-01-01 was a Thursday, the fourth day of the week.
  const seconds = localMs / 1000 + 3 * DAY_S;
  return ((seconds % WEEK_S) + WEEK_S) % WEEK_S;
}

/** The instant at which the zone's clock shows `localMs`, with the offset valid at that instant. */
function fromLocal(zone: string, localMs: number, near: UnixMs): number {
  let at = localMs - offsetMs(zone, near);
  for (let i = 0; i < 2; i++) at = localMs - offsetMs(zone, unixMs(at));
  return at;
}

/** Local time minus UTC, in milliseconds. */
function offsetMs(zone: string, at: UnixMs): number {
  if (zone === "UTC") return 0;
  const parts: Record<string, number> = {};
  for (const { type, value } of formatOf(zone).formatToParts(at)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  const whole = Math.floor(at / 1000) * 1000;
  return Date.UTC(year, month - 1, day, hour, minute, second) - whole;
}

function formatOf(zone: string): Intl.DateTimeFormat {
  return new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
}

function isZone(zone: string): boolean {
  try {
    formatOf(zone);
    return true;
  } catch {
    // The only way to ask whether a zone is known is to try it.
    return false;
  }
}

/** `H[:MM[:SS]]` in seconds; 24:00 is the end of the day. */
function parseTime(text: string | undefined): number | undefined {
  const match = /^(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?$/.exec(text ?? "");
  if (match === null) return undefined;
  const [hour, minute, second] = [match[1], match[2] ?? "0", match[3] ?? "0"].map(Number);
  if (hour === undefined || minute === undefined || second === undefined) return undefined;
  const total = hour * 3600 + minute * 60 + second;
  return minute > 59 || second > 59 || total > DAY_S ? undefined : total;
}
