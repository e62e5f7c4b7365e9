/**
 * The reference (TN-99, TN-100): who may reach what, and what becomes of a packet. Written from the specification
 * alone; of the product it knows addresses and prefixes.
 *
 *     a packet of a client ─▶ whose is it? (names, networks, internet) ─▶ do filters let it? ─▶ which answer
 */
import { contains, type IpAddress, ip, parsePrefix, prefix } from "../../../src/base/index.ts";
import type { Filter, Resource, Setup } from "./setup.ts";

export interface Reference {
  readonly setup: Setup;
  /** As they are now, by name. */
  readonly resources: Map<string, Resource>;
  readonly listed: Set<string>;
  /** `client resource` */
  readonly access: Set<string>;
  readonly records: Map<string, readonly string[]>;
  /** Names that no site's DNS answers for. */
  readonly failing: Set<string>;
  /** Clients whose switch for the internet is on. */
  readonly internet: Set<string>;
  /** Proxy addresses, by client and address: what the client's resolver has answered with. */
  readonly proxies: Map<string, Named>;
  /** When access ends by itself, in seconds of UNIX time, by `client resource`. */
  readonly ends: Map<string, number>;
  /** Of the portal, for all clients (DN-16); the first of servers and DoH that is not empty counts (DN-17). */
  readonly dns: PortalDns;
  /** Servers that each client's host used before, as text. */
  readonly hostServers: Map<string, readonly string[]>;
  /** Who is cut off at present: from the portal alone, or from everything. */
  readonly cuts: Map<string, "portal" | "all">;
}

export interface PortalDns {
  servers: readonly string[];
  isDoh: boolean;
  searchDomain: string | undefined;
}

/** A name as the resource that it was given out for. */
export interface Named {
  readonly domain: string;
  readonly resource: string;
}

/** A packet of an application. */
export interface Flow {
  readonly protocol: "icmp" | "udp" | "tcp";
  readonly destination: IpAddress;
  /** Not of ICMP. */
  readonly port: number;
}

export type Expectation =
  /** Somebody in the resource's site gets it, and what he answers comes back. */
  | { readonly kind: "served"; readonly resources: readonly Resource[]; readonly domain?: string }
  | { readonly kind: "prohibited" | "unreachable" }
  /** Nothing is said. */
  | { readonly kind: "silence" };

export function createReference(setup: Setup): Reference {
  return {
    setup,
    resources: new Map(setup.resources.map((resource) => [resource.name, resource])),
    listed: new Set(setup.listed),
    access: new Set(setup.access),
    records: new Map(Object.entries(setup.records)),
    failing: new Set(),
    internet: new Set(setup.clients.filter(({ isInternetOn }) => isInternetOn).map(({ name }) => name)),
    proxies: new Map(),
    ends: new Map(),
    dns: { servers: setup.nameServers, isDoh: false, searchDomain: undefined },
    hostServers: new Map(setup.clients.map(({ name }) => [name, ["9.9.9.9"]])),
    cuts: new Map(),
  };
}

/** What the portal lists for the client (PT-80). */
export function resourcesOf({ resources, listed, access }: Reference, client: string): readonly Resource[] {
  return [...resources.values()].filter(({ name }) => listed.has(name) && access.has(`${client} ${name}`));
}

const PROXIES = ["100.96.0.0/11", "fd00:2021:1111:8000::/107"].map(prefix);
const TUNNEL = ["100.64.0.0/11", "fd00:2021:1111::/107"].map(prefix);
/** TN-59, in its order. */
const NOT_INTERNET = [
  ...["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"],
  ...["224.0.0.0/4", "240.0.0.0/4", "0.0.0.0/8"],
  ...["::1/128", "::/128", "::ffff:0:0/96", "fc00::/7", "fe80::/10", "ff00::/8"],
].map(prefix);

/** What becomes of a client's packet while nothing is cut off (TN-100). */
export function expect(reference: Reference, client: string, flow: Flow): Expectation {
  const { destination } = flow;
  if (isIn(TUNNEL, destination)) return { kind: "silence" };
  if (isIn(PROXIES, destination)) return expectName(reference, client, flow);
  const mine = resourcesOf(reference, client);
  const around = mine.filter(({ kind, address }) => kind === "cidr" && isWithin(destination, address));
  const permitting = around.filter((resource) => permits(resource.filters, flow));
  if (permitting.length > 0) return { kind: "served", resources: longest(permitting) };
  if (around.length > 0) return { kind: "prohibited" };
  const internet = mine.filter(({ kind }) => kind === "internet");
  if (internet.length === 0 || !reference.internet.has(client)) return { kind: "silence" };
  if (isIn(NOT_INTERNET, destination)) return { kind: "unreachable" };
  return { kind: "served", resources: internet };
}

/**
 * All ways that the packet may take for a client that has not heard of what else it may reach: each resource that
 * permits it, whether or not there is a better one (TN-57). `undefined`: there is none, or the address stands for a name.
 */
export function expectUnaware(reference: Reference, client: string, flow: Flow): Expectation | undefined {
  const { destination } = flow;
  if (isIn([...TUNNEL, ...PROXIES], destination)) return undefined;
  const resources = resourcesOf(reference, client).filter(({ kind, address, filters }) => {
    if (kind === "internet") return reference.internet.has(client) && !isIn(NOT_INTERNET, destination);
    return kind === "cidr" && isWithin(destination, address) && permits(filters, flow);
  });
  return resources.length === 0 ? undefined : { kind: "served", resources };
}

/** An address that stands for a name: the resource that it was given out for decides, and no other (TN-21 no. 1). */
function expectName(reference: Reference, client: string, flow: Flow): Expectation {
  const named = reference.proxies.get(`${client} ${flow.destination.join(".")}`);
  const resource = resourcesOf(reference, client).find(({ name }) => name === named?.resource);
  if (named === undefined || resource === undefined) return { kind: "unreachable" };
  if (!permits(resource.filters, flow)) return { kind: "prohibited" };
  return { kind: "served", resources: [resource], domain: named.domain };
}

/** Which resource a name belongs to: the first of the sorted patterns that matches (DN-31). */
export function resourceOfName(reference: Reference, client: string, domain: string): Resource | undefined {
  return resourcesOf(reference, client)
    .filter(({ kind, address }) => kind === "dns" && matches(address, domain))
    .sort((a, b) => rank(a.address) - rank(b.address))[0];
}

/** Exact names first, then `?`, then `*`, then `**`: as far as the patterns of `setup.ts` go. */
function rank(pattern: string): number {
  if (pattern.startsWith("**")) return 3;
  if (pattern.startsWith("*")) return 2;
  return pattern.startsWith("?") ? 1 : 0;
}

function matches(pattern: string, domain: string): boolean {
  const labels = domain.split(".");
  const [first = "", ...rest] = pattern.split(".");
  const tail = rest.join(".");
  if (first === "**") return domain === tail || domain.endsWith(`.${tail}`);
  const isBelow = labels.slice(1).join(".") === tail;
  if (first === "*") return isBelow || domain === tail;
  if (first === "?") return isBelow && labels[0]?.length === 1;
  return domain === pattern;
}

/** An empty list lets everything through; else any of its filters may (TN-56). */
export function permits(filters: readonly Filter[], { protocol, port }: Flow): boolean {
  if (filters.length === 0) return true;
  return filters.some((filter) => {
    if (filter.protocol !== protocol) return false;
    return protocol === "icmp" || (port >= (filter.first ?? 0) && port <= (filter.last ?? 65_535));
  });
}

/** Those with the longest prefix; which of equal ones serves is not said here (TN-21 no. 2). */
function longest(resources: readonly Resource[]): readonly Resource[] {
  const bits = ({ address }: Resource): number => prefix(address).bits;
  const most = Math.max(...resources.map(bits));
  return resources.filter((resource) => bits(resource) === most);
}

export function isWithin(address: IpAddress, network: string): boolean {
  const parsed = parsePrefix(network);
  return parsed.ok && contains(parsed.value, address);
}

function isIn(ranges: readonly ReturnType<typeof prefix>[], address: IpAddress): boolean {
  return ranges.some((range) => contains(range, address));
}

/** The addresses of a family that a name leads to; `undefined`: it cannot be found out. */
export function addressesOf(
  { records, failing }: Reference,
  domain: string,
): readonly IpAddress[] | undefined {
  return failing.has(domain) ? undefined : (records.get(domain) ?? []).map(ip);
}
