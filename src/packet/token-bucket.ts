/** A rate limit: `burst` at once, then `ratePerSecond`. */
import type { Instant } from "../base/index.ts";

export interface TokenBucket {
  /** Takes one token; `false` when there is none. */
  take(now: Instant): boolean;
}

export function createTokenBucket(options: {
  readonly ratePerSecond: number;
  readonly burst: number;
}): TokenBucket {
  let tokens = options.burst;
  let filledAt: Instant | undefined;
  return {
    take(now) {
      const elapsedMs = filledAt === undefined ? 0 : now - filledAt;
      filledAt = now;
      tokens = Math.min(options.burst, tokens + (elapsedMs * options.ratePerSecond) / 1000);
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
  };
}
