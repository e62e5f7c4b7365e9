/**
 * What a case begins with (TN-96): who stands where, what the administrator could list, what names lead to. Drawn
 * from the seed, and never changed afterwards; what changes is in `reference.ts`.
 */
import { NAT_KINDS, type NatKind } from "../../lib/nat.ts";
import { type Draw, drawFrom } from "./draw.ts";

export interface Filter {
  readonly protocol: "tcp" | "udp" | "icmp";
  readonly first?: number;
  readonly last?: number;
}

export interface Resource {
  readonly name: string;
  readonly id: string;
  readonly kind: "cidr" | "dns" | "internet";
  /** A network or a pattern. */
  readonly address: string;
  readonly stack: "dual" | "ipv4_only" | "ipv6_only";
  readonly site: string;
  readonly filters: readonly Filter[];
}

export interface Place {
  readonly name: string;
  readonly latencyMs: number;
  /** Absent: on the Internet. */
  readonly nat?: NatKind;
}

export interface ClientPlace extends Place {
  readonly families: "ipv4" | "both";
  /** Only relays are reached. */
  readonly isRelayed: boolean;
  readonly isInternetOn: boolean;
}

export interface Site {
  readonly name: string;
  readonly gateways: readonly Place[];
}

export interface Setup {
  readonly seed: number;
  readonly portalDelayMs: number;
  readonly sites: readonly Site[];
  readonly clients: readonly ClientPlace[];
  readonly relays: readonly Place[];
  /** All that can ever be listed. */
  readonly resources: readonly Resource[];
  /** Names of resources that are listed at first. */
  readonly listed: readonly string[];
  /** Who may reach what at first: `client resource`. */
  readonly access: readonly string[];
  /** Addresses by name, at first. */
  readonly records: Readonly<Record<string, readonly string[]>>;
  /** Addresses that answer with an ICMP error. */
  readonly errorHosts: Readonly<Record<string, ErrorKind>>;
  /** That the portal lists at first. */
  readonly nameServers: readonly string[];
}

export const ERROR_KINDS = ["host-unreachable", "port-unreachable", "time-exceeded", "too-big"] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

/** They cover each other, so that precedence matters (TN-21, TN-57). */
export const NETWORKS = [
  "172.20.0.0/16",
  "172.20.1.0/24",
  "172.20.1.0/25",
  "172.20.1.64/28",
  "10.9.0.0/24",
  "192.0.2.0/25",
  "2001:db8:cafe::/64",
  "2001:db8:cafe::/121",
] as const;
/** Some within the networks, some within none. */
export const ADDRESSES = [
  "172.20.1.70",
  "172.20.1.5",
  "172.20.1.200",
  "172.20.9.9",
  "10.9.0.7",
  "192.0.2.7",
  "2001:db8:cafe::7",
  "2001:db8:cafe::1:7",
  "9.9.9.9",
  "2620:fe::fe",
  "10.200.0.1",
  "fd12::1",
] as const;
const PATTERNS = ["git.test", "*.wiki.test", "**.wiki.test", "git.wiki.test", "?.shop.test"] as const;
export const DOMAINS = [
  "git.test",
  "a.wiki.test",
  "wiki.test",
  "deep.a.wiki.test",
  "git.wiki.test",
  "x.shop.test",
] as const;
/** Also such that lie in a network above: a name's filters must not mix with a network's (TN-57). */
export const REAL_ADDRESSES = [
  "192.0.2.7",
  "192.0.2.8",
  "192.0.2.200",
  "172.20.1.5",
  "198.18.0.7",
  "2001:db8:5eed::7",
  "2001:db8:5eed::8",
  "2001:db8:cafe::7",
] as const;
/** Some within networks that can be listed, some on the internet, one nowhere; none that answers with errors. */
const NAME_SERVERS = [
  "172.20.1.53",
  "10.9.0.53",
  "192.0.2.53",
  "9.9.9.10",
  "2001:db8:cafe::35",
  "10.200.0.53",
] as const;
export const PORTS = [53, 80, 443, 1_500, 40_000] as const;
/** Servers listen there, at every address. */
export const TCP_PORT = 443;

const NATS = Object.keys(NAT_KINDS) as NatKind[];

export function drawSetup(seed: number): Setup {
  return drawSetupBy(seed, drawFrom(seed, "setup"));
}

/** The same by other choices; from the seed come the keys and the delays of what happens. */
export function drawSetupBy(seed: number, draw: Draw): Setup {
  const sites = drawSites(draw);
  const clients = drawClients(draw);
  const resources = drawResources(draw, sites);
  const errors = draw.some(REAL_ADDRESSES, draw.of([0, 1, 2, 4]));
  return {
    seed,
    portalDelayMs: draw.of([5, 20, 50, 250]),
    sites,
    clients,
    relays: ["relay-1", "relay-2"]
      .slice(0, 1 + draw.below(2))
      .map((name) => ({ name, latencyMs: 10 + draw.below(40) })),
    resources,
    listed: draw.some(resources, 2 + draw.below(resources.length - 1)).map(({ name }) => name),
    access: clients.flatMap(({ name }) =>
      resources.flatMap((resource) => (draw.oneIn(5) ? [] : [`${name} ${resource.name}`])),
    ),
    records: Object.fromEntries(DOMAINS.map((domain) => [domain, drawRecords(draw)])),
    errorHosts: Object.fromEntries(errors.map((address) => [address, draw.of(ERROR_KINDS)])),
    nameServers: drawNameServers(draw),
  };
}

export function drawNameServers(draw: Draw): readonly string[] {
  return draw.oneIn(2) ? [] : draw.some(NAME_SERVERS, draw.of([1, 2, 4]));
}

export function drawRecords(draw: Draw): readonly string[] {
  return draw.some(REAL_ADDRESSES, draw.of([1, 2, 3, 5]));
}

export function drawFilters(draw: Draw): readonly Filter[] {
  if (draw.oneIn(2)) return [];
  const all: readonly Filter[] = [
    { protocol: "icmp" },
    { protocol: "udp", first: 53, last: 53 },
    { protocol: "udp", first: 1_000, last: 2_000 },
    { protocol: "tcp", first: 80, last: 443 },
    { protocol: "tcp", first: 22, last: 22 },
    { protocol: "udp", first: 0, last: 65_535 },
  ];
  return draw.some(all, 1 + draw.below(4));
}

function drawSites(draw: Draw): readonly Site[] {
  const count = 1 + draw.below(3);
  return Array.from({ length: count }, (_, i) => ({
    name: `site-${i + 1}`,
    gateways: Array.from({ length: draw.of([1, 1, 2]) }, (_, j) => ({
      name: `gateway-${i + 1}${"ab"[j]}`,
      latencyMs: 10 + draw.below(190),
      ...drawNat(draw),
    })),
  }));
}

function drawClients(draw: Draw): readonly ClientPlace[] {
  const isRelayed = draw.oneIn(4);
  return ["alice", "bob"].slice(0, draw.oneIn(4) ? 2 : 1).map((name) => ({
    name,
    families: draw.of(["ipv4", "both"]),
    latencyMs: draw.of([0, 10 + draw.below(240), 10 + draw.below(240), 400]),
    isRelayed,
    isInternetOn: draw.oneIn(2),
    ...(isRelayed ? { nat: draw.of(NATS) } : drawNat(draw)),
  }));
}

function drawNat(draw: Draw): { readonly nat?: NatKind } {
  return draw.oneIn(3) ? {} : { nat: draw.of(NATS) };
}

function drawResources(draw: Draw, sites: readonly Site[]): readonly Resource[] {
  const networks = draw.some(NETWORKS, 1 + draw.below(4));
  const patterns = draw.some(PATTERNS, 1 + draw.below(4));
  const inSite = (): string => draw.of(sites).name;
  return [
    ...networks.map((address) => ({ kind: "cidr" as const, address, stack: "dual" as const })),
    ...patterns.map((address) => ({
      kind: "dns" as const,
      address,
      stack: draw.of(["dual", "dual", "ipv4_only", "ipv6_only"] as const),
    })),
    { kind: "internet" as const, address: "", stack: "dual" as const },
  ].map((part, i) => ({
    ...part,
    name: `r${i + 1}`,
    id: `00000000-0000-4000-8000-0000000000${(16 + i).toString(16)}`,
    site: part.kind === "internet" ? (sites[0]?.name ?? "") : inSite(),
    filters: part.kind === "internet" ? [] : drawFilters(draw),
  }));
}
