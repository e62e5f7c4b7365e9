/**
 * What relays and candidates show of the NATs of both ends, for people who ask why no path is direct (PG-193).
 * IPv4 only: nothing else is commonly translated. Nothing here decides about paths.
 */
import { equalSocketAddress, formatIp, formatSocketAddress, type SocketAddress } from "../base/index.ts";
import type { Candidate } from "../ice/index.ts";
import type { RelayCandidate } from "../turn/index.ts";

/**
 * `none`: relays see our own address. `same`: all destinations see one outside port. `differs`: each sees
 * another, so that nobody can know where to send. `unknown`: too little was seen.
 */
export interface NatSight {
  readonly mapping: "none" | "same" | "differs" | "unknown";
  /** Whether the outside port is that of the host. */
  readonly isPortKept?: boolean;
}

/** @param shown of each relay that has answered, what it shows of us */
export function ownNat(shown: readonly (readonly RelayCandidate[])[]): NatSight {
  const reflexive = shown.flatMap((candidates) => ofKind(candidates, "srflx"));
  const [first, ...others] = reflexive;
  if (first === undefined) {
    return {
      mapping: shown.some((candidates) => ofKind(candidates, "host").length > 0) ? "none" : "unknown",
    };
  }
  const comparable = others.filter(({ base }) => equalSocketAddress(base, first.base));
  const isPortKept = reflexive.every(({ address, base }) => address.port === base.port);
  return { mapping: mappingOf([first, ...comparable].map(({ address }) => address)), isPortKept };
}

/** @param told candidates of the peer */
export function peerNat(told: readonly Candidate[]): NatSight {
  const hosts = ofKind(told, "host");
  const reflexive = ofKind(told, "srflx");
  const [first] = reflexive;
  // Of several hosts nobody knows which one a relay has seen.
  if (first === undefined || hosts.length > 1) return { mapping: "unknown" };
  const outside = reflexive.map(({ address }) => address);
  const isOneRouter = outside.every(({ address }) => formatIp(address) === formatIp(first.address.address));
  // One address may be the same for all, or have been seen by one relay alone.
  const mapping = isOneRouter && mappingOf(outside) === "differs" ? "differs" : "unknown";
  const [host] = hosts;
  if (host === undefined) return { mapping };
  return { mapping, isPortKept: outside.every(({ port }) => port === host.address.port) };
}

function mappingOf(outside: readonly SocketAddress[]): NatSight["mapping"] {
  if (outside.length < 2) return "unknown";
  return new Set(outside.map(formatSocketAddress)).size > 1 ? "differs" : "same";
}

function ofKind<C extends Candidate | RelayCandidate>(
  candidates: readonly C[],
  kind: "host" | "srflx",
): readonly C[] {
  return candidates.filter(({ kind: of, address }) => of === kind && address.address.length === 4);
}
