/**
 * Equal queries of different askers that are under way together: one goes on for all of them (DN-70). So a cold cache
 * does not use up what may be in flight, and a forger has one ID to guess, not one of many (RFC 5452 §5).
 */
import type { Instant } from "../base/index.ts";
import { encodeForwarded } from "./forward.ts";
import type { Query } from "./query.ts";
import type { Asker, Flight, ResolverState, Route } from "./resolver-state.ts";
import { upstreamKey } from "./upstreams.ts";

/** Who wait for one answer: others ask for themselves. */
export const JOINED_MAX = 64;
/** A flight is joined while it is young: who asks later is not to wait for what may have been lost. */
export const JOIN_MS = 2_000;
/** Longer queries are not compared. */
const KEY_OCTETS_MAX = 512;

/**
 * What equal queries have in common: the way, and every octet but the ID. `undefined`: it goes alone, as a question
 * of our own does, or one that is signed together with its ID.
 */
export function joinKeyOf(asker: Asker, query: Query, route: Route): string | undefined {
  const isAlone = asker.kind === "loop-probe" || query.isSigned || query.bytes.length > KEY_OCTETS_MAX;
  return isAlone ? undefined : `${wayOf(asker, route)} ${String.fromCharCode(...encodeForwarded(query, 0))}`;
}

/** A flight that the query can join. */
export function findJoinable(
  { byJoin }: ResolverState,
  now: Instant,
  joinKey: string | undefined,
): Flight | undefined {
  const flight = joinKey === undefined ? undefined : byJoin.get(joinKey);
  const isOpen =
    flight !== undefined && now - flight.startedAt < JOIN_MS && flight.waiters.length < JOINED_MAX;
  return isOpen ? flight : undefined;
}

function wayOf(asker: Asker, route: Route): string {
  switch (route.kind) {
    case "direct":
      return `${route.transport} ${upstreamKey(route.upstream)}`;
    case "tunnel":
      return `tunnel ${route.transport} ${route.servers.map(({ address }) => address.join(".")).join()}`;
    case "waiting":
      return `site ${route.rid} ${route.isV6First} ${asker.kind === "tcp"}`;
  }
}
