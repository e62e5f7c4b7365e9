/**
 * Networks of the simulated world and the routers between them (TS-11). The Internet is the one without a
 * router; every other network hangs below one:
 *
 *     Internet ── router of an ISP (CGNAT) ── its network ── router at home (NAT) ── hosts
 *
 * A router translates IPv4 if it has a NAT. What it does not translate passes as it is, into a guarded
 * network only as an answer. Two networks may use the same private addresses.
 */
import {
  equalIp,
  formatSocketAddress,
  type Instant,
  type IpAddress,
  type SocketAddress,
} from "../../src/base/index.ts";
import type { LinkConditions } from "./link.ts";
import type { Nat } from "./nat.ts";
import type { Host } from "./world.ts";

export interface Network {
  readonly name: string;
  /** The way up; none: it is the Internet. */
  readonly router: Router | undefined;
  readonly hosts: Host[];
  readonly below: RoutedNetwork[];
}

export interface RoutedNetwork extends Network {
  readonly router: Router;
}

export interface Router {
  readonly name: string;
  /** The network that it has its outside addresses on. */
  readonly above: Network;
  outside: readonly IpAddress[];
  /** To the network above. */
  link: LinkConditions;
  /** Of IPv4; none: it passes as it is, as IPv6 does. */
  nat: Nat | undefined;
  /** Whether untranslated packets come in only as answers. */
  isGuarded: boolean;
  /** What it does not let out. */
  blocks: "nothing" | "udp" | { readonly allButPorts: readonly number[] };
  /** Untranslated flows that have gone out, and when they were last used. */
  readonly flows: Map<string, Instant>;
}

/** What a router looks at and changes. */
export interface Ends {
  readonly from: SocketAddress;
  readonly to: SocketAddress;
}

export type Crossing =
  | { readonly kind: "pass"; readonly ends: Ends }
  | { readonly kind: "back-inside"; readonly ends: Ends }
  | { readonly kind: "dropped"; readonly why: string };

/** As Linux remembers a flow of UDP that was answered. */
const FLOW_MS = 120_000;

export function createInternet(): Network {
  return { name: "the Internet", router: undefined, hosts: [], below: [] };
}

export function createNetwork(name: string, router: Router): RoutedNetwork {
  const network: RoutedNetwork = { name, router, hosts: [], below: [] };
  router.above.below.push(network);
  return network;
}

/** Who takes a datagram on a network. */
export function hostAt({ hosts }: Network, address: IpAddress): Host | undefined {
  return hosts.find(({ routed }) => routed.some((own) => equalIp(own, address)));
}

/** The network below through whose router an address is reached. */
export function networkTowards({ below }: Network, address: IpAddress): RoutedNetwork | undefined {
  return below.find((network) => {
    const { router } = network;
    const isOwn = router.outside.some((own) => equalIp(own, address));
    return isOwn || (!isTranslated(router, address) && isWithin(network, address));
  });
}

function isWithin(network: Network, address: IpAddress): boolean {
  return hostAt(network, address) !== undefined || networkTowards(network, address) !== undefined;
}

function isTranslated({ nat }: Router, address: IpAddress): boolean {
  return nat !== undefined && address.length === 4;
}

/** A datagram on its way out of the network behind the router. */
export function leave(router: Router, now: Instant, { from, to }: Ends): Crossing {
  const { nat, outside } = router;
  if (isBlocked(router, to)) return { kind: "dropped", why: "blocked" };
  if (nat === undefined || !isTranslated(router, to.address)) {
    router.flows.set(flowOf(from, to), now);
    return { kind: "pass", ends: { from, to } };
  }
  const address = outside.find(({ length }) => length === 4);
  if (address === undefined) return { kind: "dropped", why: "no address" };
  const isHairpin = equalIp(address, to.address);
  if (isHairpin && nat.options.hairpin === "none") return { kind: "dropped", why: "no hairpin" };
  const port = nat.translateOut(now, from, to);
  if (port === undefined) return { kind: "dropped", why: "no port" };
  const translated = { address, port };
  if (!isHairpin) return { kind: "pass", ends: { from: translated, to } };
  const target = nat.translateIn(now, to.port, translated);
  if (target === undefined) return { kind: "dropped", why: "filtered" };
  const source = nat.options.hairpin === "inside" ? from : translated;
  return { kind: "back-inside", ends: { from: source, to: target } };
}

/** A datagram that comes to the router from above. */
export function enterThrough(router: Router, now: Instant, { from, to }: Ends): Crossing {
  const { nat, flows } = router;
  if (nat !== undefined && isTranslated(router, to.address)) {
    const target = nat.translateIn(now, to.port, from);
    if (target === undefined) return { kind: "dropped", why: "filtered" };
    return { kind: "pass", ends: { from, to: target } };
  }
  if (!router.isGuarded) return { kind: "pass", ends: { from, to } };
  const flow = flowOf(to, from);
  const usedAt = flows.get(flow);
  if (usedAt === undefined || now - usedAt >= FLOW_MS) return { kind: "dropped", why: "filtered" };
  flows.set(flow, now);
  return { kind: "pass", ends: { from, to } };
}

/** It forgets all that it knew of flows. */
export function reboot(router: Router): void {
  router.flows.clear();
  router.nat?.reboot();
}

function isBlocked({ blocks }: Router, { port }: SocketAddress): boolean {
  if (blocks === "nothing") return false;
  return blocks === "udp" || !blocks.allButPorts.includes(port);
}

function flowOf(inside: SocketAddress, outside: SocketAddress): string {
  return `${formatSocketAddress(inside)} ${formatSocketAddress(outside)}`;
}
