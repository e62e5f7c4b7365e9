/**
 * Limits on connecting, each over a bounded table (PT-72).
 */
import { after, type Instant } from "../../base/index.ts";

/** So many keys are remembered; past that the one used longest ago is forgotten. */
const MAX_KEYS = 20_000;

export interface TokenBucket {
  /** Takes one token of `key`; false when there is none. */
  take(now: Instant, key: string): boolean;
}

export function createTokenBucket(options: {
  readonly perSecond: number;
  readonly burst: number;
}): TokenBucket {
  const levels = new Map<string, { readonly tokens: number; readonly at: Instant }>();
  return {
    take(now, key) {
      const level = levels.get(key) ?? { tokens: options.burst, at: now };
      const gained = ((now - level.at) / 1000) * options.perSecond;
      const tokens = Math.min(options.burst, level.tokens + gained);
      const isFree = tokens >= 1;
      levels.delete(key);
      levels.set(key, { tokens: isFree ? tokens - 1 : tokens, at: now });
      forgetOldest(levels);
      return isFree;
    },
  };
}

/** Blocks a key for a while after too many failures within a minute. */
export interface FailureLimit {
  note(now: Instant, key: string): void;
  /** Until when the key is blocked. */
  blockedUntil(now: Instant, key: string): Instant | undefined;
}

const FAILURE_WINDOW_MS = 60_000;
const MAX_FAILURES = 20;
const BLOCK_MS = 60_000;

export function createFailureLimit(): FailureLimit {
  const failures = new Map<string, { readonly count: number; readonly since: Instant }>();
  const blocks = new Map<string, Instant>();
  return {
    note(now, key) {
      const known = failures.get(key);
      const isSame = known !== undefined && now - known.since < FAILURE_WINDOW_MS;
      const next = isSame ? { ...known, count: known.count + 1 } : { count: 1, since: now };
      failures.delete(key);
      failures.set(key, next);
      forgetOldest(failures);
      if (next.count < MAX_FAILURES) return;
      failures.delete(key);
      blocks.set(key, after(now, BLOCK_MS));
      forgetOldest(blocks);
    },
    blockedUntil(now, key) {
      const until = blocks.get(key);
      if (until === undefined || now < until) return until;
      blocks.delete(key);
      return undefined;
    },
  };
}

function forgetOldest(table: Map<string, unknown>): void {
  if (table.size <= MAX_KEYS) return;
  for (const key of table.keys()) {
    table.delete(key);
    return;
  }
}
