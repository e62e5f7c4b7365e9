/**
 * How much of control's time each source may ask for (PG-160, WG-32).
 *
 * **Shares**: of each window of PUNT_WINDOW_MS every kind of message has so many. Strangers and known peers
 * have shares of their own, so that no flood of one takes the place of the other.
 *
 * **Budgets**: of what a share has, one source gets BUDGET_PER_SECOND, and BUDGET_BURST at once. A table of
 * fixed size holds the instant at which a source has used up nothing (GCRA); a source whose place another
 * one has taken begins anew, which gives it more rather than less.
 *
 * The twin is `test/twin/plane/guard.ts`.
 */
import {
  BUDGET_BURST,
  BUDGET_INTERVAL_MS,
  BUDGETS,
  Budget,
  Ingress,
  PLANE_ADDRESS,
  Plane,
  PUNT_WINDOW_MS,
  SHARES,
  Worker,
} from "../layout";
import { replyLimit, settleReplies } from "./replies";

/** The factors of SplitMix64, in halves that every tool can read. */
const MIX_FIRST: u64 = ((<u64>0xbf58476d) << 32) | 0x1ce4e5b9;
const MIX_SECOND: u64 = ((<u64>0x94d049bb) << 32) | 0x133111eb;

/** Takes one of the window's `most` places of share `share`; false when this worker's part of them is used up. */
export function takeShare(worker: usize, share: u32, most: u32): bool {
  if (usedOf(worker, share) >= partOf(most)) return false;
  const place = worker + Ingress.SHARES + ((<usize>share) << 2);
  store<u32>(place, load<u32>(place) + 1);
  return true;
}

/** One worker's part of what all ingress workers may give away (PG-176). */
export function partOf(most: u32): u32 {
  const pairs = load<u32>(PLANE_ADDRESS, Plane.PAIRS);
  return pairs <= 1 ? most : (most + pairs - 1) / pairs;
}

/** How many places of a share this window has given away. */
export function usedOf(worker: usize, share: u32): u32 {
  const now = load<u64>(worker, Worker.NOW);
  const elapsed = now - load<u64>(worker, Ingress.PUNT_WINDOW);
  if (elapsed >= PUNT_WINDOW_MS) {
    store<u64>(worker, now, Ingress.PUNT_WINDOW);
    settleReplies(worker, elapsed, partOf(replyLimit(worker)));
    memory.fill(worker + Ingress.SHARES, 0, (<usize>SHARES) << 2);
  }
  return load<u32>(worker + Ingress.SHARES + ((<usize>share) << 2));
}

/** Takes one of the budget that `holder` has for `share`; false when it is used up. */
export function takeBudget(worker: usize, share: u32, holder: u64): bool {
  const key = mixed(holder + share);
  const row = load<usize>(PLANE_ADDRESS, Plane.BUDGETS) + <usize>(<u32>key & (BUDGETS - 1)) * Budget.BYTES;
  const now = load<u64>(worker, Worker.NOW);
  let free = now;
  if (load<u64>(row, Budget.KEY) == key) free = max<u64>(now, load<u64>(row, Budget.FREE_AT));
  if (free - now > <u64>(BUDGET_INTERVAL_MS * (BUDGET_BURST - 1))) return false;
  store<u64>(row, key, Budget.KEY);
  store<u64>(row, free + <u64>BUDGET_INTERVAL_MS, Budget.FREE_AT);
  return true;
}

/** Who holds the budget of the batch's source: an IPv4 address, or an IPv6 /64 (WG-32). */
export function sourceHolder(worker: usize): u64 {
  const address = load<u64>(worker, Worker.FROM);
  return mixed(load<u32>(worker, Worker.FROM_BYTES) == 4 ? address & 0xffffffff : address);
}

/** Who holds the budget of the batch's source where each socket has one of its own. */
export function socketHolder(worker: usize): u64 {
  return (
    mixed(sourceHolder(worker) ^ load<u64>(worker, Worker.FROM + 8)) + load<u32>(worker, Worker.FROM_PORT)
  );
}

/** Spreads the bits of a key (the finalizer of SplitMix64). */
function mixed(key: u64): u64 {
  key = (key ^ (key >> 30)) * MIX_FIRST;
  key = (key ^ (key >> 27)) * MIX_SECOND;
  return key ^ (key >> 31);
}
