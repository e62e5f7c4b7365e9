/**
 * What a refused upgrade says about the next attempt and about its reason (PT-30, PT-31).
 */
import * as v from "valibot";
import { parseJson, type UnixMs } from "../../base/index.ts";
import { MAX_RETRY_AFTER_MS } from "./constants.ts";
import { readAs } from "./scalar.ts";

/** A body of RFC 9457; only what we use. */
export interface Problem {
  readonly code?: string;
  readonly detail?: string;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const IMF_FIXDATE = /^[A-Z][a-z]{2}, (\d{2}) ([A-Z][a-z]{2}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/;
const DAY_MS = 86_400_000;

/** Longer bodies only reach the log, cut to this (PT-31). */
export const MAX_LOGGED_BODY_CHARS = 200;

const problem = v.object({
  code: v.optional(v.fallback(v.optional(v.string()), undefined)),
  detail: v.optional(v.fallback(v.optional(v.string()), undefined)),
});

/**
 * The pause that a `Retry-After` header asks for, in milliseconds: whole seconds, or an IMF-fixdate
 * (RFC 9110 §5.6.7; past → 0). Anything else is `undefined`; more than an hour counts as an hour.
 */
export function parseRetryAfter(header: string, wallNow: UnixMs): number | undefined {
  const text = header.trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
  const at = parseFixdate(text);
  if (at === undefined) return undefined;
  return Math.min(Math.max(0, at - wallNow), MAX_RETRY_AFTER_MS);
}

/** Reads `application/problem+json`; the media type counts without case and parameters. */
export function parseProblem(contentType: string | undefined, body: string): Problem | undefined {
  const media = contentType?.split(";")[0]?.trim().toLowerCase();
  if (media !== "application/problem+json") return undefined;
  const json = parseJson(body);
  // A body that is no JSON explains nothing; the status decides alone.
  if (!json.ok) return undefined;
  const { code, detail } = readAs(problem, json.value) ?? {};
  return {
    ...(code === undefined ? {} : { code }),
    ...(detail === undefined ? {} : { detail }),
  };
}

function parseFixdate(text: string): number | undefined {
  const match = IMF_FIXDATE.exec(text);
  if (match === null) return undefined;
  const [, day, monthName, year, hour, minute, second] = match;
  const month = MONTHS.indexOf(monthName ?? "");
  const [d, y, h, m, s] = [day, year, hour, minute, second].map(Number);
  if (month < 0 || d === undefined || y === undefined || d < 1 || d > 31) return undefined;
  if (h === undefined || m === undefined || s === undefined || h > 23 || m > 59 || s > 60) return undefined;
  return daysSinceEpoch(y, month + 1, d) * DAY_MS + ((h * 60 + m) * 60 + s) * 1000;
}

/** Days from 1970-01-01 in the Gregorian calendar, counting years from March (no leap-day cases). */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const monthFromMarch = (month + 9) % 12;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5) + day - 1;
  const leapDays = Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400);
  return y * 365 + leapDays + dayOfYear - 719_468;
}
