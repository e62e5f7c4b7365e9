/**
 * Who may ask for control's time: the twin of `assembly/guard` as long as control has published no key
 * (PG-160). With one, `test/unit/plane/guard.test.ts` compares macs and cookies with control's own.
 */
import { formatSocketAddress, type SocketAddress } from "../../../src/base/index.ts";

const WINDOW_MS = 100;
const SHARES = { free: 10, "known-stun": 400, stun: 400, unknown: 50 } as const;
/** So much STUN of strangers is not looked at source by source. */
const STUN_CALM = 100;
const INTERVAL_MS = 50;
const BURST = 5;
/** A session's life in units of 16 s, as the plane counts it. */
const UNIT_MS = 16_384;
const KNOWN_UNITS = 12;

export type Share = keyof typeof SHARES;

export interface Guard {
  windowBegan: number;
  readonly used: Map<Share, number>;
  /** Of each source: when it will have used up nothing (GCRA). */
  readonly freeAt: Map<string, number>;
  /** Sources that have proved to be a peer, and the unit of time in which they did; absent: not used yet. */
  readonly known: Map<string, number | undefined>;
}

export function createGuard(): Guard {
  return { windowBegan: 0, used: new Map(), freeAt: new Map(), known: new Map() };
}

/** Authentic data came from there, or, without `now`, a path leads there. */
export function noteKnown({ known }: Guard, from: SocketAddress, now?: number): void {
  known.set(formatSocketAddress(from), now === undefined ? undefined : Math.floor(now / UNIT_MS));
}

/** Whether control is to see one more datagram of its kind in these 100 ms. */
export function mayBeJudged(
  guard: Guard,
  now: number,
  kind: "handshake" | "stun" | "other",
  source: { readonly from: SocketAddress; readonly isRelayed: boolean },
): boolean {
  if (kind === "other") return takeShare(guard, now, "unknown");
  if (kind === "handshake") return takeShare(guard, now, "free");
  if (source.isRelayed || isKnown(guard, now, source.from)) return takeShare(guard, now, "known-stun");
  const isCrowded = usedOf(guard, now, "stun") >= STUN_CALM;
  if (isCrowded && !takeBudget(guard, now, source.from)) return false;
  return takeShare(guard, now, "stun");
}

function isKnown(guard: Guard, now: number, from: SocketAddress): boolean {
  const name = formatSocketAddress(from);
  if (!guard.known.has(name)) return false;
  const since = guard.known.get(name);
  if (since !== undefined) return Math.floor(now / UNIT_MS) - since <= KNOWN_UNITS;
  noteKnown(guard, from, now);
  return true;
}

function usedOf(guard: Guard, now: number, share: Share): number {
  if (now - guard.windowBegan >= WINDOW_MS) {
    guard.windowBegan = now;
    guard.used.clear();
  }
  return guard.used.get(share) ?? 0;
}

function takeShare(guard: Guard, now: number, share: Share): boolean {
  const used = usedOf(guard, now, share);
  if (used >= SHARES[share]) return false;
  guard.used.set(share, used + 1);
  return true;
}

/** 20 a second and 5 at once, for an IPv4 address or an IPv6 /64. */
function takeBudget({ freeAt }: Guard, now: number, { address }: SocketAddress): boolean {
  const holder = address.subarray(0, address.length === 4 ? 4 : 8).join(".");
  const free = Math.max(now, freeAt.get(holder) ?? now);
  if (free - now > INTERVAL_MS * (BURST - 1)) return false;
  freeAt.set(holder, free + INTERVAL_MS);
  return true;
}
