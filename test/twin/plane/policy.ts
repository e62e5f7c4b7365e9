/**
 * The policy by the tables of the specification, one rule after the other: the twin of
 * `assembly/batch/policy.ts` (TN-20, TN-38, TN-61, TN-62, WG-58).
 */
import type { Reason } from "../../../bindings/memory/index.ts";
import type { PlaneMode } from "../../../bindings/plane/index.ts";
import { contains, equalIp, type Prefix } from "../../../src/base/index.ts";
import { isIcmpError, type PacketDescriptor, parseIcmpQuote } from "../../../src/packet/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";

export type EgressVerdict =
  | { readonly kind: "peer"; readonly slot: number }
  | { readonly kind: "punt" | "flow" | "refuse" }
  | { readonly kind: "drop"; readonly reason: Reason };

export type IngressVerdict =
  | { readonly kind: "pass" | "refuse" | "control" }
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
  if (mode === "client" && isIcmpError(packet, found)) return drop("icmp-error-out");
  const reason = mode === "plain" ? undefined : icmpReason(packet, found);
  if (reason !== undefined) return drop(reason);
  const target = longestMatch(policy, destination);
  if (target === undefined) {
    if (mode === "plain") return { kind: "refuse" };
    return drop(mode === "client" ? "unknown-resource" : "not-a-peer");
  }
  // Names of reasons are what a route's reason is made of.
  if (target.kind === "drop") return drop(target.reason as Reason);
  if (target.kind !== "peer" || mode !== "gateway") return target;
  const permit = policy.permits.find(({ slot }) => slot === target.slot);
  if (permit === undefined) return drop("no-peer-state");
  if (permit.egressSources === undefined || isIcmpError(packet, found)) return target;
  return isIn(permit.egressSources, source) ? target : drop("not-allowed");
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
  if (mode === "gateway") {
    if (isMulticast(destination)) return drop("multicast");
    if (isIcmpError(packet, found)) return drop("icmp-error-out");
  }
  if (!isIn(permit.sources, source)) {
    return drop(mode === "client" ? "not-allowed-source" : "not-client-ip");
  }
  if (!isOwn(policy, destination)) return drop("bad-destination");
  if (permit.destinations !== undefined && !isIn(permit.destinations, destination)) {
    return permit.refuseDestination ? { kind: "refuse" } : drop("not-granted");
  }
  const reason = icmpReason(packet, found);
  return reason === undefined ? { kind: "pass" } : drop(reason);
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
