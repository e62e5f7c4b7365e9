/**
 * The gateway's law for one client's packets: may it pass, and as what (TN-57 to TN-62). Pure functions over what is
 * granted and translated; the caller obeys.
 */
import { contains, equalIp, type Instant, type IpAddress } from "../base/index.ts";
import type { GrantedClient } from "./grants.ts";
import type { ClientNat } from "./nat/client-nat.ts";
import { entryOf } from "./nat/entries.ts";
import type { Mapping, OutsideTuple } from "./nat/mappings.ts";
import { isProxyAddress, isSentinel, isTunnelAddress } from "./ranges.ts";
import type { Flow, Reach } from "./reach/face.ts";
import { refusalCause } from "./reach/filters.ts";
import { reachOf } from "./reach/reach.ts";

/** The client, as far as its packets are concerned. */
export interface Party {
  readonly client: GrantedClient;
  readonly nat: ClientNat;
}

export type Verdict =
  /** Unchanged. `rid`: by which resource, for the flow log; absent: a service of the gateway itself. */
  | { readonly kind: "pass"; readonly rid?: string }
  | { readonly kind: "nat"; readonly rid: string; readonly mapping: Mapping }
  | {
      readonly kind: "refuse";
      readonly refusal: "prohibited" | "unreachable";
      readonly cause: string;
    }
  | { readonly kind: "drop"; readonly reason: "expired-nat" | "not-allowed" };

export interface OutboundContext {
  readonly now: Instant;
  readonly ownAddresses: readonly IpAddress[];
  /** Whether the gateway host serves the packet: DNS, echo, or everything (TN-61 row 6). */
  readonly isHostService: boolean;
  /** Whether an untranslated flow of the client has the outside tuple already (TN-65). */
  readonly isUsed: (outside: OutsideTuple) => boolean;
}

/** TN-61 from row 6 on: the rows before are decided before anybody asks. */
export function judgeOutbound(party: Party, flow: Flow, context: OutboundContext): Verdict {
  const { destination } = flow;
  if (context.ownAddresses.some((address) => equalIp(address, destination))) {
    return context.isHostService ? { kind: "pass" } : prohibited("the gateway's own service");
  }
  if (isTunnelAddress(destination)) return prohibited("another client or gateway");
  if (isProxyAddress(destination)) return judgeProxy(party, flow, context);
  if (isSentinel(destination)) return prohibited("a sentinel of the resolver");
  return judgeAddress(party, flow);
}

/** Rows 8 to 11: the resource of the entry alone judges; its filters never mix with those of networks (TN-57). */
function judgeProxy({ client, nat }: Party, flow: Flow, { now, isUsed }: OutboundContext): Verdict {
  const { destination, protocol, ports } = flow;
  const entry = entryOf(nat.entries, destination);
  const grant = entry && client.grants.get(entry.rid);
  if (entry === undefined || grant === undefined) return prohibited("no name that is granted");
  if (!reachOf(grant.resource).permits(flow)) return prohibited(refusalCause(flow));
  const { rid, real } = entry;
  const inside = ports && { protocol, port: ports.source, proxy: destination };
  const known = inside && nat.mappings.ofInside(inside);
  // A mapping keeps its real address, whatever the name has by now (TN-66).
  if (known !== undefined) return { kind: "nat", rid, mapping: known };
  if (real === undefined) return unreachable("the name has no address of this family");
  if (inside === undefined) return prohibited(`cannot be translated: protocol ${protocol}`);
  const mapping = nat.mappings.create(now, { inside, real }, isUsed);
  if (mapping === undefined) return unreachable("no port is left for a translation");
  return { kind: "nat", rid, mapping };
}

/** Rows 12 to 14: any granted resource that has the address may permit it (TN-57). */
function judgeAddress({ client }: Party, flow: Flow): Verdict {
  const owners = ownersOf(client, flow.destination);
  const permitting = owners.find(({ reach }) => reach.permits(flow));
  if (permitting !== undefined) return { kind: "pass", rid: permitting.rid };
  if (owners.length > 0) return prohibited(refusalCause(flow));
  const hasInternet = [...client.grants.values()].some(({ resource }) => reachOf(resource).isRest);
  return hasInternet ? unreachable("not on the internet") : prohibited("no filter for this address");
}

/**
 * TN-62 from row 4 on, for anything but ICMP errors. `flow` is seen from the client: its destination is the packet's
 * source, and its ports are exchanged.
 */
export function judgeInbound(
  { client, nat }: Party,
  flow: Flow,
  { ownAddresses }: { readonly ownAddresses: readonly IpAddress[] },
): Verdict {
  const { destination: remote, protocol, ports } = flow;
  if (ownAddresses.some((address) => equalIp(address, remote))) return { kind: "pass" };
  if (isTunnelAddress(remote)) return { kind: "drop", reason: "not-allowed" };
  const mapping = ports && nat.mappings.ofOutside({ protocol, port: ports.source, real: remote });
  if (mapping === "expired") return { kind: "drop", reason: "expired-nat" };
  if (mapping !== undefined) return judgeMapped({ client, nat }, flow, mapping);
  const owner = ownersOf(client, remote).find(({ reach }) => reach.permits(flow));
  return owner === undefined ? { kind: "drop", reason: "not-allowed" } : { kind: "pass", rid: owner.rid };
}

function judgeMapped({ client, nat }: Party, flow: Flow, mapping: Mapping): Verdict {
  const rid = entryOf(nat.entries, mapping.inside.proxy)?.rid ?? "";
  const grant = client.grants.get(rid);
  const isPermitted = grant !== undefined && reachOf(grant.resource).permits(flow);
  return isPermitted ? { kind: "nat", rid, mapping } : { kind: "drop", reason: "not-allowed" };
}

interface Owner {
  readonly rid: string;
  readonly reach: Reach;
  readonly bits: number;
}

/** The granted resources that have the address, best first: the longest prefix, the internet last (TN-21 no. 2). */
function ownersOf(client: GrantedClient, address: IpAddress): readonly Owner[] {
  const owners = [...client.grants.values()].flatMap(({ resource }): readonly Owner[] => {
    const reach = reachOf(resource);
    const network = reach.networks.find((one) => contains(one, address));
    if (network === undefined) return [];
    return [{ rid: resource.rid, reach, bits: reach.isRest ? -1 : network.bits }];
  });
  return owners.sort((a, b) => b.bits - a.bits || (a.rid > b.rid ? -1 : 1));
}

function prohibited(cause: string): Verdict {
  return { kind: "refuse", refusal: "prohibited", cause };
}

function unreachable(cause: string): Verdict {
  return { kind: "refuse", refusal: "unreachable", cause };
}
