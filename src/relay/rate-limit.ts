/**
 * Limits on what strangers cost (RL-59): token buckets by address in a table of fixed size, so that forged
 * sources cost no memory. Two addresses that share a bucket share its tokens; which do depends on a seed that
 * nobody outside knows.
 */
import { type Instant, type IpAddress, type Random, randomU32 } from "../base/index.ts";
import { RATE_BUCKETS, RATES } from "./constants.ts";

export type LimitedKind = "binding" | "refusal" | "authenticated";

export interface RateLimits {
  /** Takes a token of this address, and for unauthenticated input one of all addresses together. */
  take(now: Instant, kind: LimitedKind, address: IpAddress): boolean;
  /** Whether `take` would succeed. */
  has(now: Instant, kind: LimitedKind, address: IpAddress): boolean;
}

interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/**
 * A token bucket as one number: when it will be full again. A bucket that is `burst` tokens short of full
 * is empty. All zeros are full buckets.
 */
interface Buckets {
  readonly rate: Rate;
  readonly fullAt: Float64Array;
}

export function createRateLimits(random: Random): RateLimits {
  const seed = randomU32(random);
  const kinds: Readonly<Record<LimitedKind, Buckets>> = {
    binding: createBuckets(RATES.binding, RATE_BUCKETS),
    refusal: createBuckets(RATES.refusal, RATE_BUCKETS),
    authenticated: createBuckets(RATES.authenticated, RATE_BUCKETS),
  };
  const total = createBuckets(RATES.total, 1);
  return {
    take(now, kind, address) {
      const index = bucketOf(address, seed);
      const isTotal = kind !== "authenticated";
      if (isTotal && !hasToken(total, 0, now)) return false;
      if (!hasToken(kinds[kind], index, now)) return false;
      takeToken(kinds[kind], index, now);
      if (isTotal) takeToken(total, 0, now);
      return true;
    },
    has: (now, kind, address) =>
      hasToken(kinds[kind], bucketOf(address, seed), now) &&
      (kind === "authenticated" || hasToken(total, 0, now)),
  };
}

/** The bucket of one allocation. */
export interface RateLimit {
  take(now: Instant): boolean;
}

export function createRateLimit(rate: Rate): RateLimit {
  const buckets = createBuckets(rate, 1);
  return {
    take(now) {
      if (!hasToken(buckets, 0, now)) return false;
      takeToken(buckets, 0, now);
      return true;
    },
  };
}

function createBuckets(rate: Rate, count: number): Buckets {
  return { rate, fullAt: new Float64Array(count).fill(Number.NEGATIVE_INFINITY) };
}

function hasToken({ rate, fullAt }: Buckets, index: number, now: Instant): boolean {
  const intervalMs = 1000 / rate.perSecond;
  // The slack: sums of intervals are not exact.
  return Math.max(fullAt[index] ?? 0, now) - now <= (rate.burst - 0.99) * intervalMs;
}

function takeToken({ rate, fullAt }: Buckets, index: number, now: Instant): void {
  fullAt[index] = Math.max(fullAt[index] ?? 0, now) + 1000 / rate.perSecond;
}

/** IPv4 addresses one by one, IPv6 by /64: who has one address of a /64 has them all. */
function bucketOf(address: IpAddress, seed: number): number {
  const length = address.length === 4 ? 4 : 8;
  let hash = seed;
  for (let i = 0; i < length; i++) {
    hash = Math.imul(hash ^ (address[i] ?? 0), 0x85eb_ca6b);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % RATE_BUCKETS;
}
