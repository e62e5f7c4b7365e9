/**
 * A peer's data came from an address that is not its path's (SN-145).
 *
 * Data moves no path: it is a reason to check where it came from, once, at once. The answer, which only the
 * peer can give, makes the address a candidate and lets it take the place of the path in use, as for a
 * rebinding that the peer's own check tells of (SN-141).
 */
import {
  equalBytes,
  equalSocketAddress,
  type Instant,
  type IpAddress,
  type SocketAddress,
} from "../base/index.ts";
import { SIGHTING_GAP_MS, SIGHTING_MS } from "./constants.ts";
import type { Pair } from "./pair.ts";
import { replacePair } from "./rebinding.ts";

/** The check that is under way. A newer one takes its place: there is one at a time. */
export interface Sighting {
  /** The selected pair, which the new address may replace. */
  readonly before: Pair;
  readonly source: SocketAddress;
  /** Transaction id in hexadecimal. */
  readonly transaction: string;
  readonly sentAt: Instant;
}

/** Where data of the peer came from, and on which address of ours. */
export interface DataSource {
  readonly source: SocketAddress;
  readonly local: IpAddress;
}

/**
 * Whether data may be a reason to check its source: it came in where the selected pair sends from. Another way
 * of the peer to another address of ours is for its own checks to show.
 */
export function isOnLocalOf({ local }: Pair, data: DataSource): boolean {
  return local.candidate.kind === "host" && equalBytes(local.candidate.base.address, data.local);
}

/** However many packets come from however many addresses: ten checks a second. */
export function mayCheck(sighting: Sighting | undefined, now: Instant): boolean {
  return sighting === undefined || now - sighting.sentAt >= SIGHTING_GAP_MS;
}

/** An answer from elsewhere says that somebody handed our check on: nothing follows from it. */
export function isConfirmedBy(sighting: Sighting, now: Instant, source: SocketAddress): boolean {
  return now - sighting.sentAt <= SIGHTING_MS && equalSocketAddress(sighting.source, source);
}

/** The answered pair takes the place of the one in use, with what the peer has said of that one. */
export function takePlace({ before }: Sighting, pair: Pair, now: Instant): void {
  if (pair === before || pair.remote.origin !== "temporary" || pair.isRival) return;
  pair.peerPriority ??= before.peerPriority;
  // The controlled side may not wait for the peer's next check to hear again what it has nominated.
  if (before.nomination.kind !== "none" && pair.nomination.kind === "none") {
    pair.nomination = { kind: "pending", since: now };
  }
  replacePair(before, pair);
}
