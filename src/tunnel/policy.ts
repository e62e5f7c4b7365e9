/**
 * Policy as the plane has it: two prefix tables. Routes say where a destination leads, permits what a peer's packets
 * may be (TN-20, TN-38, TN-61, TN-62), and both where single flows decide (TN-110). Nothing is permitted by
 * omission: what no row names is dropped under a reason, or refused.
 */
import { contains, type IpAddress, type Prefix, subtract, toPrefix } from "../base/index.ts";
import { LLMNR_GROUPS } from "../dns/index.ts";
import type { PeerPermits, PeerPolicy, PermitsByFlow, PolicyTables, Route } from "../plane/index.ts";
import {
  EVERYTHING,
  INTERNAL_RANGES,
  PROXY_RANGES,
  RESERVED_RANGES,
  SENTINEL_RANGES,
  TUNNEL_RANGES,
} from "./constants.ts";
import type { GrantedClient } from "./grants.ts";
import { reachOf } from "./reach/reach.ts";

/** A gateway that the client has a connection to, with the resources authorised on it. */
export interface GatewayPeer {
  readonly slot: number;
  readonly addresses: readonly IpAddress[];
  readonly networks: readonly Prefix[];
}

export interface ClientNetwork {
  readonly network: Prefix;
  readonly slot: number | undefined;
  /** Filters decide, so each flow does (TN-22). */
  readonly isByFlow: boolean;
}

export interface ClientPolicyInput {
  readonly ownAddresses: readonly IpAddress[];
  readonly gateways: readonly GatewayPeer[];
  /** Networks of resources, each with the slot it is authorised on, or none: then it is asked for (TN-28). */
  readonly networks: readonly ClientNetwork[];
  /** The internet leads here: what it does not have is refused at once (TN-21 no. 3). */
  readonly hasInternet: boolean;
  /** Queries to sentinels, and those that are asked of the whole link, are answered here (DN-58). */
  readonly hasResolver: boolean;
}

/** The tables of a client. */
export function clientPolicy(input: ClientPolicyInput): PolicyTables {
  const routes: Route[] = [
    ...EVERYTHING.map((range) => (input.hasInternet ? refuse(range) : drop(range, "unknown-resource"))),
    ...TUNNEL_RANGES.map((range) => drop(range, "unknown-peer")),
    // Without a resolver no proxy address is assigned: refused, never sent elsewhere (TN-21).
    ...RESERVED_RANGES.map(refuse),
    ...(input.hasResolver ? PROXY_RANGES.map(byFlow) : []),
    ...(input.hasResolver ? [...SENTINEL_RANGES, ...LLMNR_GROUPS.map(host)].map(punt) : []),
    ...input.gateways.flatMap(({ slot, addresses }) =>
      addresses.map((address) => toPeer(host(address), slot)),
    ),
    ...input.networks.map(({ network, slot, isByFlow }): Route => {
      if (isByFlow) return byFlow(network);
      return slot === undefined ? punt(network) : toPeer(network, slot);
    }),
  ];
  const permits = input.gateways.map(
    ({ slot, addresses, networks }): PeerPermits => ({
      slot,
      sources: [...addresses.map(host), ...networks],
      refuseDestination: false,
    }),
  );
  return { ownAddresses: input.ownAddresses, routes: lastOfEach(routes), permits };
}

/** What a gateway's tables say whoever its clients are: each of these has a policy of its own. */
export const GATEWAY_TABLES: PolicyTables = {
  routes: [
    ...EVERYTHING.map((range) => drop(range, "not-a-peer")),
    ...TUNNEL_RANGES.map((range) => drop(range, "no-peer-state")),
  ],
  permits: [],
};

export interface ClientPolicyAtGateway {
  readonly ownAddresses: readonly IpAddress[];
  /** Real addresses that the client's names lead to. */
  readonly reals: readonly IpAddress[];
  /** Whether every service of the gateway host may be reached, instead of DNS and echo only (TN-61 row 6). */
  readonly isHostOpen: boolean;
  /** Flows are logged: nothing passes but by its own flow (TN-91, TN-110). */
  readonly isLogged?: boolean;
}

/** What one client of a gateway may. */
export function policyOfClient(client: GrantedClient, input: ClientPolicyAtGateway): PeerPolicy {
  const own = input.ownAddresses.map(host);
  const { plain, byFlow } = grantedNetworks(client, input.reals, input.isLogged);
  return {
    addresses: client.addresses,
    permits: {
      sources: client.addresses.map(host),
      destinations: input.isHostOpen ? [...plain, ...own] : plain,
      egressSources: [...plain, ...own],
      refuseDestination: true,
      ...withServices(byFlow, input.isHostOpen ? [] : own),
    },
  };
}

/**
 * Of the gateway's own addresses only some services pass: as flows, since what tables refuse is handed over within
 * the budget of refusals (TN-14), which a hundred queries to its name server would exceed.
 */
function withServices(
  byFlow: PermitsByFlow | undefined,
  own: readonly Prefix[],
): Pick<PeerPermits, "byFlow"> {
  if (own.length === 0) return byFlow === undefined ? {} : { byFlow };
  const { destinations = [], egressSources = [], isTranslated = false } = byFlow ?? {};
  return { byFlow: { destinations: [...destinations, ...own], egressSources, isTranslated } };
}

export interface GrantedNetworks {
  /** What prefixes alone decide. */
  readonly plain: readonly Prefix[];
  readonly byFlow?: PermitsByFlow;
}

/**
 * What a client's grants open: each network without the ranges that the tunnel itself uses, because a network that
 * covers them opens neither other clients nor proxy addresses (TN-18, TN-61 rows 6 to 8). Flows decide where there
 * are filters or translations (TN-110), and where a network has an address that a name leads to, too: the plane must
 * know which flow of it is which.
 *
 * @param isLogged flows decide about everything
 */
export function grantedNetworks(
  client: GrantedClient,
  reals: readonly IpAddress[],
  isLogged = false,
): GrantedNetworks {
  const reaches = [...client.grants.values()].map(({ resource }) => reachOf(resource));
  const networksOf = (isFiltered: boolean): readonly Prefix[] =>
    reaches
      .filter((reach) => (isLogged || reach.isFiltered) === isFiltered)
      .flatMap(({ networks }) => networks.flatMap((network) => subtract(network, INTERNAL_RANGES)));
  const plain = networksOf(false);
  const shared = reals.filter((real) => plain.some((network) => contains(network, real))).map(host);
  const filtered = [...networksOf(true), ...shared];
  const isTranslated = reaches.some(({ pattern }) => pattern !== undefined);
  if (filtered.length === 0 && !isTranslated) return { plain };
  const destinations = isTranslated ? [...filtered, ...PROXY_RANGES] : filtered;
  return { plain, byFlow: { destinations, egressSources: filtered, isTranslated } };
}

function host(address: IpAddress): Prefix {
  return toPrefix(address, address.length * 8);
}

function toPeer(range: Prefix, slot: number): Route {
  return { prefix: range, target: { kind: "peer", slot } };
}

function refuse(range: Prefix): Route {
  return { prefix: range, target: { kind: "refuse" } };
}

function byFlow(range: Prefix): Route {
  return { prefix: range, target: { kind: "flow" } };
}

function punt(range: Prefix): Route {
  return { prefix: range, target: { kind: "punt" } };
}

function drop(range: Prefix, reason: string): Route {
  return { prefix: range, target: { kind: "drop", reason } };
}

/** Later routes replace earlier ones of the same prefix: a resource may be 0.0.0.0/0 itself. */
function lastOfEach(routes: readonly Route[]): readonly Route[] {
  const byPrefix = new Map<string, Route>();
  for (const route of routes) byPrefix.set(`${route.prefix.address.join(".")}/${route.prefix.bits}`, route);
  return [...byPrefix.values()];
}
