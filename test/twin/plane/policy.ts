/**
 * The policy by the tables of the specification, one rule after the other: the twin of
 * `assembly/batch/policy.ts` (TN-20, TN-38, TN-61, TN-62, WG-58).
 */
import type { Reason } from "../../../bindings/memory/index.ts";
import type { PlaneMode } from "../../../bindings/plane/index.ts";
import { contains, equalIp, type Prefix } from "../../../src/base/index.ts";
import {
  isIcmpError,
  isProhibited,
  type PacketDescriptor,
  PROTOCOL,
  parseIcmpQuote,
  viewPacket,
} from "../../../src/packet/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";

export type EgressVerdict =
  | { readonly kind: "peer"; readonly slot: number }
  | { readonly kind: "punt" | "refuse" }
  /** `slot`: the peer to which the packet goes; `isElseAllowed`: it does so without a record as well. */
  | { readonly kind: "flow"; readonly slot?: number; readonly isElseAllowed?: boolean }
  | { readonly kind: "icmp-error"; readonly slot?: number }
  | { readonly kind: "drop"; readonly reason: Reason };

export type IngressVerdict =
  | { readonly kind: "pass" | "refuse" | "control" | "flow" | "icmp-error" | "resolver" }
  | { readonly kind: "drop"; readonly reason: Reason };

export interface Judged {
  readonly mode: PlaneMode;
  /** Absent: nothing has been published yet. */
  readonly policy: PolicyTables | undefined;
  readonly packet: Uint8Array;
  readonly found: PacketDescriptor;
}

const drop = (reason: Reason) => ({ kind: "drop", reason }) as const;

export function judgeEgress({ mode, policy, packet, found }: Judged): EgressVerdict {
  if (policy === undefined) return drop("not-configured");
  const { source, destination } = addressesOf(packet);
  if (mode !== "plain" && isControlEvent(packet, found)) return drop("p2p-on-tun");
  if (mode === "client" && isMulticast(destination)) return drop("multicast");
  if (policy.ownAddresses !== undefined) {
    if (!isOwn(policy, source)) return drop("bad-source");
    if (isOwn(policy, destination)) return drop("to-self");
  }
  const target = longestMatch(policy, destination);
  const isError = mode !== "plain" && isIcmpError(packet, found);
  if (mode === "client" && isError && target?.kind !== "flow") return drop("icmp-error-out");
  const reason = mode === "plain" ? undefined : icmpReason(packet, found);
  if (reason !== undefined) return drop(reason);
  if (target === undefined) {
    if (mode === "plain") return { kind: "refuse" };
    return drop(mode === "client" ? "unknown-resource" : "not-a-peer");
  }
  // Names of reasons are what a route's reason is made of.
  if (target.kind === "drop") return drop(target.reason as Reason);
  if (target.kind === "flow" && isError) return { kind: "icmp-error" };
  if (target.kind !== "peer" || mode !== "gateway") return target;
  const permit = policy.permits.find(({ slot }) => slot === target.slot);
  if (permit === undefined) return drop("no-peer-state");
  const { slot } = target;
  const isTranslated = permit.byFlow?.isTranslated === true;
  if (isError) return isTranslated ? { kind: "icmp-error", slot } : target;
  const member = memberOf(permit.egressSources, permit.byFlow?.egressSources, source);
  if (isTranslated) return { kind: "flow", slot, isElseAllowed: member === "allowed" };
  if (member === "by flow") return { kind: "flow", slot };
  return member === "allowed" ? target : drop("not-allowed");
}

export function judgeIngress(slot: number, { mode, policy, packet, found }: Judged): IngressVerdict {
  if (policy === undefined) return drop("not-configured");
  const { source, destination } = addressesOf(packet);
  if (mode === "plain") {
    const target = longestMatch(policy, source);
    const isAllowed = target?.kind === "peer" && target.slot === slot;
    return isAllowed ? { kind: "pass" } : drop("wg_disallowed_source");
  }
  if (isControlEvent(packet, found)) return { kind: "control" };
  const permit = policy.permits.find((candidate) => candidate.slot === slot);
  if (permit === undefined) return drop("no-peer-state");
  const isError = mode === "gateway" && isIcmpError(packet, found);
  const member = memberOf(permit.destinations, permit.byFlow?.destinations, destination);
  if (mode === "gateway" && isMulticast(destination)) return drop("multicast");
  if (isError && member !== "by flow") return drop("icmp-error-out");
  if (!isIn(permit.sources, source)) {
    return drop(mode === "client" ? "not-allowed-source" : "not-client-ip");
  }
  if (!isOwn(policy, destination)) return drop("bad-destination");
  if (member === "none") return permit.refuseDestination ? { kind: "refuse" } : drop("not-granted");
  const reason = icmpReason(packet, found);
  if (reason !== undefined) return drop(reason);
  if (member === "allowed") {
    if (mode === "client" && isForResolver(packet, found)) return { kind: "resolver" };
    return { kind: mode === "client" && isProhibited(packet, found) ? "icmp-error" : "pass" };
  }
  return { kind: isError ? "icmp-error" : "flow" };
}

/** Of all prefixes that hold the address the longest counts; of equal ones the one by flow (TN-110). */
function memberOf(
  allowed: readonly Prefix[] | undefined,
  byFlow: readonly Prefix[] = [],
  address: Uint8Array,
): "none" | "allowed" | "by flow" {
  const longest = (prefixes: readonly Prefix[]) =>
    Math.max(-1, ...prefixes.filter((each) => contains(each, address)).map(({ bits }) => bits));
  const [ofFlow, ofAllowed] = [longest(byFlow), longest(allowed ?? [])];
  if (ofFlow >= 0 && ofFlow >= ofAllowed) return "by flow";
  return ofAllowed >= 0 || allowed === undefined ? "allowed" : "none";
}

function addressesOf(packet: Uint8Array): { source: Uint8Array; destination: Uint8Array } {
  return (packet[0] ?? 0) >> 4 === 6
    ? { source: packet.subarray(8, 24), destination: packet.subarray(24, 40) }
    : { source: packet.subarray(12, 16), destination: packet.subarray(16, 20) };
}

/** Everything, where the policy names no own addresses. */
function isOwn({ ownAddresses }: PolicyTables, address: Uint8Array): boolean {
  return ownAddresses === undefined || ownAddresses.some((own) => equalIp(own, address));
}

/** TN-40; the protocol is the one behind extension headers. */
function isControlEvent(packet: Uint8Array, { family, protocol }: PacketDescriptor): boolean {
  return family === 6 && protocol === 255 && packet.subarray(8, 40).every((byte) => byte === 0);
}

/** TN-38: a name server's packet to the resolver's ports, or an error about one from there. */
function isForResolver(packet: Uint8Array, found: PacketDescriptor): boolean {
  const hasPorts = (protocol: number): boolean => protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp;
  const quote = parseIcmpQuote(packet, found);
  if (quote.ok && quote.value !== undefined) {
    const { protocol, ports } = quote.value;
    return hasPorts(protocol) && ports !== undefined && areResolverPorts(ports.source, ports.destination);
  }
  if (!hasPorts(found.protocol) || found.isFragment) return false;
  const { ports } = viewPacket(packet);
  return ports !== undefined && areResolverPorts(ports.destination, ports.source);
}

function areResolverPorts(own: number, server: number): boolean {
  return own >= 61_000 && (server === 53 || server === 53_535);
}

/** TN-7, and TN-70: the quoted packet must be one that the receiver sent. */
function icmpReason(packet: Uint8Array, found: PacketDescriptor): Reason | undefined {
  const quote = parseIcmpQuote(packet, found);
  if (!quote.ok) return quote.reason;
  if (quote.value === undefined) return undefined;
  return equalIp(quote.value.source, addressesOf(packet).destination) ? undefined : "icmp-quote";
}

/** The longest prefix decides; of two equal ones the later. */
function longestMatch({ routes }: PolicyTables, address: Uint8Array) {
  let best: (typeof routes)[number] | undefined;
  for (const route of routes) {
    if (!contains(route.prefix, address)) continue;
    if (best === undefined || route.prefix.bits >= best.prefix.bits) best = route;
  }
  return best?.target;
}

function isIn(prefixes: readonly Prefix[], address: Uint8Array): boolean {
  return prefixes.some((candidate) => contains(candidate, address));
}

function isMulticast(address: Uint8Array): boolean {
  if (address.length === 16) return address[0] === 0xff;
  return (address[0] ?? 0) >> 4 === 14 || address.every((byte) => byte === 0xff);
}
