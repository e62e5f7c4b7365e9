/** Which relays a peer is given: the two nearest, else any two (PT-88). */
import { type Random, randomBelow } from "../../base/index.ts";
import type { Location } from "./model.ts";

export const RELAYS_PER_PEER = 2;

/** Mean radius of the earth. */
const EARTH_KM = 6_371;

export interface RelayCandidate {
  readonly id: string;
  readonly location?: Location;
}

/**
 * Relays at an unknown place count as farthest, and all as equally near to a peer at an unknown place. Of
 * those equally near the peer keeps what it has; else chance decides.
 *
 * @param given ids of the relays that the peer has now
 */
export function chooseRelays<R extends RelayCandidate>(
  present: readonly R[],
  location: Location | undefined,
  given: ReadonlySet<string>,
  random: Random,
): readonly R[] {
  const ranked = shuffled(present, random).map((relay) => ({
    relay,
    km: location === undefined ? 0 : distanceKm(location, relay.location),
    isGiven: given.has(relay.id),
  }));
  ranked.sort((a, b) => a.km - b.km || Number(b.isGiven) - Number(a.isGiven));
  return ranked.slice(0, RELAYS_PER_PEER).map(({ relay }) => relay);
}

/** Along the great circle, by the haversine formula. */
export function distanceKm(from: Location, to: Location | undefined): number {
  if (to === undefined) return Number.MAX_VALUE;
  const [north, south] = [toRadians(from.latitude), toRadians(to.latitude)];
  const halfLatitude = (south - north) / 2;
  const halfLongitude = toRadians(to.longitude - from.longitude) / 2;
  const chord =
    Math.sin(halfLatitude) ** 2 + Math.cos(north) * Math.cos(south) * Math.sin(halfLongitude) ** 2;
  return 2 * EARTH_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}

function toRadians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}

function shuffled<T>(values: readonly T[], random: Random): readonly T[] {
  const left = [...values];
  const order: T[] = [];
  while (left.length > 0) order.push(...left.splice(randomBelow(random, left.length), 1));
  return order;
}
