/** Who may send what where, as the plane obeys it: published as a whole. */
import type { IpAddress, Prefix } from "../base/index.ts";

/** What becomes of a packet whose destination lies in a route's prefix. */
export type RouteTarget =
  | { readonly kind: "peer"; readonly slot: number }
  /** Hand it to control as punt `first` (TN-28). */
  | { readonly kind: "punt" }
  /** The record of its flow decides; without one it is handed to control as punt `flow` (TN-74). */
  | { readonly kind: "flow" }
  /** Hand it to control as punt `refused`: it answers with ICMP (TN-12). */
  | { readonly kind: "refuse" }
  /** Drop it under this reason of `bindings/memory/reasons.ts`, e.g. `not-a-peer` (TN-62). */
  | { readonly kind: "drop"; readonly reason: string };

export interface Route {
  readonly prefix: Prefix;
  readonly target: RouteTarget;
}

/**
 * What one peer's packets may be, besides its route (first-light policy).
 * Ingress: inner source in `sources` and inner destination in `destinations`.
 * Egress: inner source in `egressSources`. `undefined` means that this check does not apply.
 */
export interface PeerPermits {
  readonly slot: number;
  readonly sources: readonly Prefix[];
  readonly destinations?: readonly Prefix[];
  readonly egressSources?: readonly Prefix[];
  /** What happens to a packet with a wrong destination: `refused` punt, or a counted drop. */
  readonly refuseDestination: boolean;
  readonly byFlow?: PermitsByFlow;
}

/**
 * Where the records of flows decide instead (TN-74), on a gateway. They stand beside `destinations` and
 * `egressSources`: of all prefixes that hold an address the longest counts, and by flow before the other where both
 * are equal.
 */
export interface PermitsByFlow {
  readonly destinations: readonly Prefix[];
  readonly egressSources: readonly Prefix[];
  /**
   * The peer has translations: real addresses are many, and lie anywhere (TN-67). So every packet to it is looked up
   * first, whatever its source; without a record the prefixes judge it, and control if none of them holds its source.
   */
  readonly isTranslated: boolean;
}

/**
 * What one peer may, and which addresses lead to it, set by itself: with ten thousand peers whole tables would cost
 * ten thousand times as much, for each that comes. It counts besides the tables, and outlives a publication.
 */
export interface PeerPolicy {
  /** Each leads to the peer, whatever routes say: no prefix is longer. */
  readonly addresses: readonly IpAddress[];
  /** In place of what tables permit the same peer. */
  readonly permits: Omit<PeerPermits, "slot">;
}

/** The whole policy; it is built aside and published with one pointer swap (WG-58). */
export interface PolicyTables {
  /**
   * Our own tunnel addresses. On a client the source of every packet from the TUN device must be one
   * of them (`bad-source`, TN-20), and the destination of every packet from a gateway
   * (`bad-destination`, TN-38). Absent: neither is checked (`postern wg`, gateway).
   */
  readonly ownAddresses?: readonly IpAddress[];
  readonly routes: readonly Route[];
  readonly permits: readonly PeerPermits[];
}
