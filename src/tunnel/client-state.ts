/** What the parts of the client share, and what they all derive from it: routes, tables, announcements. */
import { equalValues, type Instant } from "../base/index.ts";
import type { Resolver } from "../dns/index.ts";
import { encodeGoodbye, encodeRefusal, type Refusal } from "../packet/index.ts";
import type { PolicyTables } from "../plane/index.ts";
import type {
  ClientInterface,
  ClientRequest,
  ClientResource,
  FlowFailureReason,
} from "../portal/protocol/index.ts";
import { type AccessTable, authorisedOn, gatewayOf, lastServedBy } from "./access.ts";
import { type ClientDnsEvent, configureResolver } from "./client-dns.ts";
import { INTERNAL_RANGES } from "./constants.ts";
import type { DnsNat } from "./dns-nat.ts";
import {
  announceInterface,
  announcePeers,
  type EndState,
  type InterfaceEvent,
  ownAddresses,
} from "./endpoint.ts";
import type { FlowBook } from "./flow-book.ts";
import type { Fragments } from "./fragments.ts";
import {
  type Gateways,
  linkedGateways,
  preferredGateways,
  removeGateway,
  statusOfSites,
} from "./gateways.ts";
import type { Named } from "./named.ts";
import { clientPolicy } from "./policy.ts";
import type { ProxyBlocks } from "./proxy-blocks.ts";
import type { RelaysWanted } from "./relays.ts";
import { activeResources, allResources, isActive, networksOf, type ResourceTable } from "./resources.ts";

export interface ResourceStatus {
  readonly resource: ClientResource;
  readonly status: "unknown" | "online" | "offline";
  /** Not while it is the internet and its switch is off (TN-23). */
  readonly isEnabled: boolean;
}

export type TunnelClientEvent =
  | { readonly kind: "request"; readonly request: ClientRequest }
  | InterfaceEvent
  | { readonly kind: "resources"; readonly resources: readonly ResourceStatus[] }
  | { readonly kind: "connected" | "disconnected"; readonly gid: string }
  | { readonly kind: "dns"; readonly event: ClientDnsEvent }
  | RelaysWanted;

/** Drops that the tunnel itself decides, by the reasons of tunnel.md. */
export type TunnelClientCounter =
  | "pending-full"
  | "pending-idle"
  | "unknown-resource"
  | "p2p-bad"
  | "icmp-error-out"
  | "flow-table-full"
  | "fragment-unknown"
  /** No drop: how often TN-36 has acted. */
  | "prohibited-asked-again";

/** What was decided about a flow. */
export type ClientVerdict =
  | { readonly kind: "pass"; readonly gid: string }
  | { readonly kind: "refuse"; readonly refusal: "prohibited" | "unreachable" };

/** Where a packet leads (TN-21). */
export type ClientTarget =
  | { readonly kind: "resource"; readonly rid: string; readonly name?: Named }
  | { readonly kind: "refuse"; readonly refusal: "prohibited" | "unreachable" }
  | { readonly kind: "unknown" };

export interface ClientState extends EndState<TunnelClientEvent> {
  readonly resources: ResourceTable;
  readonly gateways: Gateways;
  readonly access: AccessTable;
  own: ClientInterface | undefined;
  /** Absent: names are somebody else's business, and sentinels are refused. */
  readonly resolver: Resolver | undefined;
  /** Which proxy addresses each gateway may speak for (TN-39). */
  readonly proxyBlocks: ProxyBlocks;
  /** Which gateway knows which name (TN-46). */
  readonly nat: DnsNat;
  readonly flows: FlowBook<ClientVerdict>;
  readonly fragments: Fragments<ClientTarget>;
  /** Where a gateway says *prohibited*, access is asked for again (TN-36). */
  readonly asksWhereProhibited: boolean;
  readonly counters: Record<TunnelClientCounter, number>;
  /** Why the portal refused a resource last; each reason is worth one line. */
  readonly refusals: Map<string, FlowFailureReason>;
  announcedResources: readonly ResourceStatus[];
}

export function isAuthorised({ access }: ClientState): (rid: string) => boolean {
  return (rid) => gatewayOf(access, rid) !== undefined;
}

/** The tables of the present state. */
export function tablesOf(client: ClientState): PolicyTables {
  const { connections, resources, access } = client;
  const proxies = client.proxyBlocks.prefixes((rid) => gatewayOf(access, rid));
  const peers = linkedGateways(client.gateways).flatMap(({ gid, addresses }) => {
    const slot = connections.slotOf(gid);
    if (slot === undefined) return [];
    const rids = authorisedOn(access, gid);
    const networks = rids.flatMap((rid) => resources.listed.get(rid)?.reach.networks ?? []);
    return [{ slot, addresses, networks: [...networks, ...(proxies.get(gid) ?? [])] }];
  });
  const networks = networksOf(resources, isAuthorised(client)).map((owned) => ({
    network: owned.network,
    isByFlow: owned.isFiltered,
    slot: slotFor(client, owned.rid),
  }));
  const hasInternet = activeResources(resources).some(({ reach }) => reach.isRest);
  const hasResolver = client.resolver !== undefined;
  return clientPolicy({
    ...{ ownAddresses: ownAddresses(client), gateways: peers, networks, hasInternet, hasResolver },
  });
}

function slotFor({ connections, access }: ClientState, rid: string): number | undefined {
  const gid = gatewayOf(access, rid);
  return gid === undefined ? undefined : connections.slotOf(gid);
}

/** New names: nothing that was decided before changes. */
export function publishNames(client: ClientState, now: Instant): void {
  client.connections.publish(now, tablesOf(client));
}

/** The policy is another one: what was decided about flows holds no more (TN-84). */
export function publish(client: ClientState, now: Instant): void {
  configureResolver(client, now);
  client.flows.revokeAll();
  client.fragments.forget();
  client.connections.publish(now, tablesOf(client));
  announceClientInterface(client);
}

/**
 * Asks the portal for access; before its greeting nothing goes out, and the greeting asks again (TN-33). Nothing is
 * asked for after the farewell (TN-37).
 */
export function ask(client: ClientState, rid: string): void {
  const { access, gateways, events, log } = client;
  if (!client.isGreeted || client.isOver) return;
  log.debug?.("asking for access", { rid });
  const connectedGatewayIds = preferredGateways(gateways, lastServedBy(access, rid));
  events.push({ kind: "request", request: { kind: "create-flow", rid, connectedGatewayIds } });
}

/** The gateway serves no resource of ours any more (TN-26). */
export function closeUnused(client: ClientState, now: Instant, gid: string | undefined): void {
  if (gid === undefined || authorisedOn(client.access, gid).length > 0) return;
  removeGateway(client.gateways, gid);
  client.connections.closeConnection(now, { id: gid, goodbye: encodeGoodbye() });
  client.events.push({ kind: "disconnected", gid });
}

/** Tells the senders: the host, or the resolver if the packet was its own. */
export function refuseAll(
  { resolver, commands }: ClientState,
  now: Instant,
  packets: readonly Uint8Array[],
  refusal: Refusal,
): void {
  for (const packet of packets) {
    const error = encodeRefusal(packet, refusal);
    if (error === undefined || resolver?.handleTunnelPacket(now, error) === true) continue;
    commands.push({ kind: "write-tun", packet: error });
  }
}

export function announceClientInterface(client: ClientState): void {
  if (client.own === undefined) return;
  const networks = activeResources(client.resources).flatMap(({ reach }) => reach.routes);
  announceInterface(client, [...INTERNAL_RANGES, ...networks]);
  const added = linkedGateways(client.gateways).flatMap(({ addresses }) => addresses);
  announcePeers(client, { removed: [...client.peers.values()], added });
}

export function announceResources(client: ClientState): void {
  const next = listResources(client);
  if (equalValues(next, client.announcedResources)) return;
  client.announcedResources = next;
  client.events.push({ kind: "resources", resources: next });
}

export function listResources({ resources, gateways }: ClientState): readonly ResourceStatus[] {
  return allResources(resources).map((entry) => ({
    resource: entry.resource,
    status: statusOfSites(
      gateways,
      entry.resource.sites.map(({ id }) => id),
    ),
    isEnabled: isActive(resources, entry),
  }));
}
