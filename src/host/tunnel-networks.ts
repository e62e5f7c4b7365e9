/**
 * What is routed into the tunnel on a host whose own networks lie in the ranges that the tunnel uses (TN-16,
 * TN-18): carriers number their customers from 100.64.0.0/10, too. Pure.
 */
import { RTN_UNICAST } from "../../bindings/linux/index.ts";
import {
  contains,
  covers,
  equalPrefix,
  formatPrefix,
  type IpAddress,
  type Prefix,
  subtract,
  TUNNEL_V4,
  TUNNEL_V6,
  toPrefix,
} from "../base/index.ts";
import type { NetworkSnapshot } from "./own-addresses.ts";
import { linkRoutes } from "./routes.ts";

/** Networks of a host that are looked at; more only cost routes. */
const LOCAL_NETWORKS_MAX = 32;

export interface TunnelNetworksInput {
  /** What the tunnel wants, its own ranges and the reserved ones among it. */
  readonly routes: readonly Prefix[];
  /** Proxy addresses and sentinels. */
  readonly reserved: readonly Prefix[];
  /** Tunnel addresses of connected peers. */
  readonly peers: readonly IpAddress[];
  readonly network: NetworkSnapshot;
  readonly tunIndex: number;
}

export interface TunnelNetworks {
  readonly networks: readonly Prefix[];
  /** Networks of the host in the tunnel's range, which are reached directly except for peers. */
  readonly shadowed: readonly Prefix[];
  /** Networks of the host that are reached through the tunnel, as they overlap something else of it. */
  readonly captured: readonly Prefix[];
}

/**
 * In the tunnel's range a peer's address comes first, then the host's own networks and the way to its
 * default gateway, then the range. Reserved ranges and resources go into the tunnel whatever the network
 * says: a hostile one must not pull them out (PG-33).
 */
export function tunnelNetworks(input: TunnelNetworksInput): TunnelNetworks {
  const { routes, peers } = input;
  const local = localNetworks(input);
  const isRange = (network: Prefix): boolean =>
    [TUNNEL_V4, TUNNEL_V6].some((range) => equalPrefix(range, network));
  const ranges = routes.filter(isRange);
  const shadowed = local.filter((one) => ranges.some((range) => covers(range, one) || covers(one, range)));
  const others = routes.filter((network) => !isRange(network));
  const isReserved = (network: Prefix): boolean => input.reserved.some((one) => equalPrefix(one, network));
  const captured = local.filter((one) =>
    others.some((other) => covers(other, one) || (isReserved(other) && covers(one, other))),
  );
  const apart = peers
    .filter((peer) => shadowed.some((network) => contains(network, peer)))
    .filter((peer) => ranges.some((range) => contains(range, peer)))
    .map((peer) => toPrefix(peer, peer.length * 8));
  return {
    networks: [...ranges.flatMap((range) => subtract(range, shadowed)), ...others, ...apart],
    shadowed,
    captured,
  };
}

/** Directly connected networks, and the default gateways by themselves where they lie in none. */
function localNetworks({ network, tunIndex }: TunnelNetworksInput): readonly Prefix[] {
  const { routes, links } = network;
  const connected = linkRoutes(routes, links, tunIndex).map(({ destination }) => destination);
  const gateways = routes.flatMap(({ destination, gateway, type, outputIndex }) => {
    const isDefault = destination.bits === 0 && type === RTN_UNICAST && outputIndex !== tunIndex;
    return isDefault && gateway !== undefined ? [toPrefix(gateway, gateway.length * 8)] : [];
  });
  const all = [...connected, ...gateways];
  return all
    .filter((one, i) => !all.some((other, j) => covers(other, one) && (!equalPrefix(other, one) || j < i)))
    .slice(0, LOCAL_NETWORKS_MAX);
}

/** Texts for the log, in a fixed order: equal ones are no news. */
export function describeNetworks(networks: readonly Prefix[]): readonly string[] {
  return networks.map(formatPrefix).sort();
}
