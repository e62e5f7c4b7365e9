/**
 * Which gateway a flow goes through (PT-84).
 *
 * Locations come from the file and belong to sites, so all gateways of a resource lie equally near and
 * the distance of step 5 decides nothing yet.
 */
import { type Random, randomBelow } from "../../base/index.ts";

export interface GatewayCandidate {
  readonly gid: string;
  /** Its protocol level. */
  readonly version: string;
}

export interface ChoiceInput {
  /** Present gateways of the resource's site. */
  readonly candidates: readonly GatewayCandidate[];
  readonly clientVersion: string;
  /** Gateways that have just failed this very flow (PT-85.5). */
  readonly excluded: readonly string[];
  /** The gateway that the client was given less than a minute ago and asks again about. */
  readonly suspect: string | undefined;
  /** Gateways that the client knows, best first. */
  readonly known: readonly string[];
  readonly hasLiveAuthorization: (gid: string) => boolean;
  /** Clients with live authorisations. */
  readonly load: (gid: string) => number;
  readonly random: Random;
}

export type GatewayChoice =
  | { readonly kind: "chosen"; readonly gid: string }
  | { readonly kind: "failed"; readonly reason: "offline" | "version_mismatch" };

export function chooseGateway(input: ChoiceInput): GatewayChoice {
  const present = input.candidates.filter(({ gid }) => !input.excluded.includes(gid));
  if (present.length === 0) return { kind: "failed", reason: "offline" };
  const compatible = present.filter(({ version }) => isCompatible(version, input.clientVersion));
  if (compatible.length === 0) return { kind: "failed", reason: "version_mismatch" };
  const trusted = compatible.filter(({ gid }) => gid !== input.suspect);
  const choice = (trusted.length > 0 ? trusted : compatible).map(({ gid }) => gid);
  const kept = input.known.find((gid) => choice.includes(gid) && input.hasLiveAuthorization(gid));
  return { kind: "chosen", gid: kept ?? leastLoaded(choice, input) };
}

function leastLoaded(gids: readonly string[], { load, random }: ChoiceInput): string {
  const [only = ""] = gids;
  // Counting goes through every authorization of a gateway.
  if (gids.length <= 1) return only;
  const loads = gids.map(load);
  const least = Math.min(...loads);
  const idle = gids.filter((_, i) => loads[i] === least);
  return idle[randomBelow(random, idle.length)] ?? only;
}

/** The same major version, and minor versions that differ by at most one. */
export function isCompatible(a: string, b: string): boolean {
  const [majorA, minorA] = levelOf(a);
  const [majorB, minorB] = levelOf(b);
  return majorA === majorB && Math.abs(minorA - minorB) <= 1;
}

function levelOf(version: string): readonly [number, number] {
  const match = /^(\d{1,6})\.(\d{1,6})/.exec(version);
  return match === null ? [-1, 0] : [Number(match[1]), Number(match[2])];
}
