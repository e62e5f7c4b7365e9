/**
 * An office behind a gateway, for tests of the real programs in namespaces.
 *
 * ```
 *   client 10.30.0.2, fd30::2 ──┐            ┌── gateway 10.31.0.2, fd31::2
 *                               ├── router ──┤      │ 172.20.0.1, fd20::1, 172.21.0.1
 *   portal 203.0.113.10 ────────┘            ┘      └── resource 172.20.0.100, fd20::100, 172.21.0.100
 * ```
 *
 * Nobody but the gateway knows a way to the resource, and the resource knows none back. With `nats` client
 * and gateway stand behind routers of their own instead (`internet.ts`), at 172.30.0.100 and 172.31.0.100,
 * or the gateway at 172.30.0.101 in the client's own network.
 */

import { existsSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../../src/base/index.ts";
import { createToken, hashToken, parseToken } from "../../src/portal/derive.ts";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { systemRandom } from "../../src/program/system-random.ts";
import { createInternet, type Families, type Internet, type Site } from "./internet.ts";
import type { Nat } from "./nat.ts";
import { inEtcOf } from "./own-etc.ts";
import { MAIN, posternOf } from "./program.ts";

const TRAFFIC = join(import.meta.dirname, "traffic.mjs");

export const API_URL = "ws://203.0.113.10:8080";
/** For who has IPv6 only; with `nats`. */
const API_URL_6 = "ws://[2001:db8:113::10]:8080";
export const OFFICE_V4 = "172.20.0.100";
export const OFFICE_V6 = "fd20::100";
/** The last byte of the first relay's address. */
const FIRST_RELAY = 101;
/** In another network behind the same gateway. */
export const VAULT = "172.21.0.100";
/** Bounds are generous: the machine may be busy with other tests (TS-3). */
export const START_WITHIN_MS = 20_000;

export const NETWORKS = {
  Office: "172.20.0.0/16",
  Office6: "fd20::/64",
  Vault: "172.21.0.0/16",
  /** The client's own network. */
  Home: "10.30.0.0/24",
} as const;
/** Names behind the gateway, of which web servers and echo may be reached. */
export const WIKI = {
  name: "Wiki",
  type: "dns",
  address: "*.corp.example",
  filters: [{ protocol: "tcp", ports: ["80"] }, { protocol: "icmp" }],
} as const;
/** Parts of the networks, of which filters let measurements and echo pass. */
const MEASURED = [
  { protocol: "tcp", ports: ["5201"] },
  { protocol: "udp", ports: ["5201"] },
  { protocol: "icmp" },
];
const FILTERED = {
  Bench: { type: "cidr", address: "172.21.0.0/24", filters: MEASURED },
  Bench6: { type: "cidr", address: "fd20::/96", filters: MEASURED },
} as const;
/** What is reached by an address or a name, and the rest of the world. */
export type ResourceName = keyof typeof NETWORKS | keyof typeof FILTERED | "Wiki" | "Internet";

export interface Access {
  readonly resource: ResourceName;
  /** Fulfilled until then (PT-82); absent: always. */
  readonly until?: Date;
}

/** A name of the office's site, for all whom the portal knows. */
export interface NameResource {
  readonly name: string;
  /** The pattern (DN-27). */
  readonly address: string;
  readonly filters?: readonly {
    readonly protocol: "tcp" | "udp" | "icmp";
    readonly ports?: readonly string[];
  }[];
}

export interface Configuration {
  readonly hasActor?: boolean;
  /** Resources beside the usual ones; access to them is granted, too. */
  readonly names?: readonly NameResource[];
  readonly searchDomain?: string;
  /** The portal's own name servers; absent: those of the host. */
  readonly upstream?: readonly string[];
  /** A server of DNS over HTTPS that the portal knows; instead of `upstream`. */
  readonly doh?: "google" | "quad9" | "cloudflare" | "opendns";
}

export interface OfficeOptions {
  /** How many relays there are, with `nats` only. */
  readonly relays?: number;
  /** Absent: client and gateway reach each other through one router without NAT. */
  readonly nats?: Nats;
}

export interface Nats {
  readonly client: Nat;
  readonly gateway: Nat | "same LAN";
  readonly families?: OfficeFamilies;
}

export interface OfficeFamilies {
  readonly client?: Families;
  readonly gateway?: Families;
}

export interface Office {
  /** For more machines and links. */
  readonly lab: Lab;
  /** The client's; without `nats` and in one LAN the gateway's too. */
  readonly router: Namespace;
  readonly gatewayRouter: Namespace;
  /** There with `nats` only. */
  readonly internet: Internet | undefined;
  /** Where client and gateway stand, with `nats` only. */
  readonly sites: { readonly client: Site; readonly gateway: Site } | undefined;
  readonly portal: Namespace;
  readonly client: Namespace;
  readonly gateway: Namespace;
  readonly resource: Namespace;
  /** At 203.0.113.101 and up. */
  readonly relays: readonly Namespace[];
  readonly tokens: { readonly client: string; readonly gateway: string; readonly relay: string };
  /** Writes the portal's file, as an editor does. Every network, the names and the internet are resources; `access` are the policies. */
  configure(access: readonly Access[], options?: Configuration): void;
  /** The same file is given to each portal: state and tokens survive its restart. */
  startPortal(): Promise<Child>;
  /** Starts a program and waits until it is ready; `args` come last. */
  startGateway(...args: readonly string[]): Promise<Child>;
  startClient(...args: readonly string[]): Promise<Child>;
  /** Starts a client on a machine of its own, with the same token and another identifier. */
  startClientAt(where: Namespace, id: string, ...args: readonly string[]): Promise<Child>;
  /** Starts the relay in `relays[index]` and waits until it serves. */
  startRelay(index: number, ...args: readonly string[]): Promise<Child>;
  /** Commands of ours that start later on a machine find this name server in their resolv.conf; what runs keeps its own. */
  useNameServer(where: Namespace, address: string): void;
  /** Starts any program on a machine whose names are resolved as `useNameServer` says. */
  program(where: Namespace, command: string, ...args: readonly string[]): Child;
  /** Starts any command of ours without waiting; `main` of a build that is not the usual one. */
  postern(where: Namespace, args: readonly string[], env?: Record<string, string>, main?: string): Child;
  /** Starts `traffic.mjs` on a machine. */
  traffic(where: Namespace, ...args: readonly string[]): Child;
  /** Fetches a page; `seenFrom` is the address that the server saw. */
  fetch(where: Namespace, url: string): Promise<{ readonly sha256: string; readonly seenFrom: string }>;
  /** Cuts the client or the gateway off from the portal only, or joins them again. */
  cutPortal(where: Namespace, isCut: boolean): Promise<void>;
  close(): Promise<void>;
}

export async function createOffice({ nats, relays = 0 }: OfficeOptions = {}): Promise<Office> {
  const lab = createLab();
  const machines = nats === undefined ? await buildReachable(lab) : await buildBehindNats(lab, nats, relays);
  const tokens = createTokens();
  const file = join(machines.portal.runFolder, "portal.yaml");

  const postern: Office["postern"] = (where, args, env = {}, main = MAIN) => {
    const program = posternOf(main, args);
    const etc = existsSync(resolvConf(where)) ? WITH_RESOLV_CONF : inEtcOf(where);
    const [command = "", ...rest] = [...etc, ...program];
    const name = args[0] ?? "postern";
    return where.start({ name, command, args: rest, env: { ...process.env, ...env } });
  };
  const startPeer = (role: PeerRole, where: Namespace, args: readonly string[]): Promise<Child> => {
    const url = nats?.families?.[role] === "ipv6" ? API_URL_6 : API_URL;
    const defaults = role === "client" ? ["--dns-control", "disabled"] : [];
    const token = { POSTERN_TOKEN: tokens[role] };
    return untilReady(postern(where, [role, "--api-url", url, ...defaults, ...args], token));
  };
  return {
    lab,
    ...machines,
    tokens,
    configure(access, options = {}) {
      writeFileSync(`${file}.new`, portalFile(access, tokens, options));
      renameSync(`${file}.new`, file);
    },
    async startPortal() {
      const args = [
        "--listen",
        nats === undefined ? "203.0.113.10:8080" : "[::]:8080",
        "--dev-insecure",
        "--config",
        "/run/portal.yaml",
        "--data",
        "/run/data",
        "--drain",
        "0s",
      ];
      const child = postern(machines.portal, ["portal", ...args]);
      await child.waitForLine(/^ready$/, { withinMs: START_WITHIN_MS, stream: "stdout" });
      return child;
    },
    startGateway: (...args) => startPeer("gateway", machines.gateway, ["--id", "lab-gateway", ...args]),
    startClient: (...args) => startPeer("client", machines.client, ["--id", "lab-client", ...args]),
    startClientAt: (where, id, ...args) => startPeer("client", where, ["--id", id, ...args]),
    startRelay: (index, ...args) => startRelay(postern, machines.relays, tokens.relay, { index, args }),
    useNameServer,
    program: startResolving,
    postern,
    traffic: (where, ...args) =>
      where.start({ name: args[0] ?? "traffic", command: process.execPath, args: [TRAFFIC, ...args] }),
    async fetch(where, url) {
      const said = await where.run(process.execPath, [TRAFFIC, "fetch", url], { withinMs: 20_000 });
      const [, sha256 = "", seenFrom = ""] = said.trim().split(" ");
      return { sha256, seenFrom };
    },
    async cutPortal(where, isCut) {
      const isClient = where === machines.client;
      const own = isClient ? machines.addresses.client : machines.addresses.gateway;
      const change = isCut ? "add" : "del";
      await (isClient ? machines.router : machines.gatewayRouter).ip(
        `rule ${change} from ${own} to 203.0.113.10 pref 50 blackhole`,
        `rule ${change} from 203.0.113.10 to ${own} pref 51 blackhole`,
      );
    },
    close: () => lab.close(),
  };
}

/** Another file: the one from before is mounted over that of programs that run, and they look at it now and then. */
function useNameServer(where: Namespace, address: string): void {
  writeFileSync(`${resolvConf(where)}.new`, `nameserver ${address}\n`);
  renameSync(`${resolvConf(where)}.new`, resolvConf(where));
}

function startResolving(where: Namespace, command: string, ...args: readonly string[]): Child {
  const [first = "", ...rest] = [...WITH_RESOLV_CONF, command, ...args];
  return where.start({ name: command, command: first, args: rest });
}

type PeerRole = "client" | "gateway";

async function untilReady(program: Child): Promise<Child> {
  await program.waitForLine(/INFO postern: ready /, { withinMs: START_WITHIN_MS });
  return program;
}

function createTokens(): Office["tokens"] {
  const of = (kind: "client" | "gateway" | "relay"): string => createToken(kind, systemRandom);
  return { client: of("client"), gateway: of("gateway"), relay: of("relay") };
}

async function startRelay(
  postern: Office["postern"],
  relays: readonly Namespace[],
  token: string,
  { index, args }: { readonly index: number; readonly args: readonly string[] },
): Promise<Child> {
  const relay = relays[index];
  if (relay === undefined) throw new Error(`the office has ${relays.length} relays`);
  const last = FIRST_RELAY + index;
  const addresses = ["--public-ip4", `203.0.113.${last}`, "--public-ip6", `2001:db8:113::${last}`];
  const env = { POSTERN_TOKEN: token };
  return untilReady(postern(relay, ["relay", "--api-url", API_URL, ...addresses, ...args], env));
}

/** As the machine sees it: /run/resolv.conf. */
function resolvConf(where: Namespace): string {
  return join(where.runFolder, "resolv.conf");
}

/**
 * Every process in a machine has a mount namespace of its own. The machine's /etc is a copy: what DNS control
 * writes beside the file must not reach the host. Of two that start at once the second may find the copy whole, or none.
 */
export const OWN_ETC = `if [ ! -d /run/etc ]; then
  cp -a /etc /run/etc.$$ 2>/dev/null
  mv -T /run/etc.$$ /run/etc 2>/dev/null
fi
mount --bind /run/etc /etc && mount --bind /run/resolv.conf /etc/resolv.conf && exec "$@"`;
const WITH_RESOLV_CONF = ["sh", "-c", OWN_ETC, "sh"];

/** YAML is a superset of JSON. */
function portalFile(
  access: readonly Access[],
  tokens: Office["tokens"],
  { hasActor = true, names = [], searchDomain, upstream, doh }: Configuration,
): string {
  const resources = Object.entries(NETWORKS).map(([name, address]) => ({
    name,
    type: "cidr",
    address,
    site: "Berlin",
  }));
  const filtered = Object.entries(FILTERED).map(([name, rest]) => ({ name, ...rest, site: "Berlin" }));
  const internet = { name: "Internet", type: "internet", site: "Berlin" };
  const policies = access.map(({ resource, until }) => ({
    group: "Ops",
    resource,
    conditions: until === undefined ? [] : [timeCondition(until)],
  }));
  const named = names.map((resource) => ({ type: "dns", site: "Berlin", ...resource }));
  const clientToken = { name: "ci", hash: hashOf(tokens.client) };
  return JSON.stringify({
    version: 1,
    account: { slug: "lab" },
    sites: [{ name: "Berlin", gateway_tokens: [{ name: "gw", hash: hashOf(tokens.gateway) }] }],
    relay_tokens: [{ name: "relay", hash: hashOf(tokens.relay) }],
    actors: hasActor ? [{ name: "ci", type: "service_account", tokens: [clientToken] }] : [],
    groups: [{ name: "Ops", members: hasActor ? ["ci"] : [] }],
    resources: [...resources, ...filtered, { ...WIKI, site: "Berlin" }, internet, ...named],
    policies: [...policies, ...names.map(({ name }) => ({ group: "Ops", resource: name }))],
    dns: {
      ...(searchDomain !== undefined && { search_domain: searchDomain }),
      ...(upstream !== undefined && { upstream: "custom", servers: upstream }),
      ...(doh !== undefined && { upstream: "doh", doh }),
    },
  });
}

/** From yesterday's midnight until `until`, in whole seconds of UTC. */
function timeCondition(until: Date) {
  const days = ["U", "M", "T", "W", "R", "F", "S"];
  const today = until.getUTCDay();
  const [end] = until.toISOString().slice(11).split(".");
  return {
    property: "current_utc_datetime",
    operator: "is_in_day_of_week_time_ranges",
    values: [`${days[(today + 6) % 7]}/true/UTC`, `${days[today]}/0:00-${end}/UTC`],
  };
}

function hashOf(text: string): string {
  const token = parseToken(text);
  if (token === undefined) throw new Error("a new token is readable");
  return `sha256:${toHex(hashToken(token))}`;
}

interface Machines extends Pick<Office, "router" | "gatewayRouter" | "internet" | "sites" | "relays" | Role> {
  readonly addresses: { readonly client: string; readonly gateway: string };
}
type Role = "portal" | "client" | "gateway" | "resource";

async function buildReachable(lab: Lab): Promise<Machines> {
  const router = await lab.add("router");
  const [portal, client, gateway] = [
    await lab.add("portal"),
    await lab.add("client"),
    await lab.add("gateway"),
  ];
  await router.sysctl("net/ipv4/ip_forward", "1");
  await router.sysctl("net/ipv6/conf/all/forwarding", "1");
  await lab.connect(
    { namespace: portal, device: "wan", addresses: ["203.0.113.10/24"] },
    { namespace: router, device: "portal", addresses: ["203.0.113.1/24"] },
  );
  await lab.connect(
    { namespace: client, device: "wan", addresses: ["10.30.0.2/24", "fd30::2/64"] },
    { namespace: router, device: "client", addresses: ["10.30.0.1/24", "fd30::1/64"] },
  );
  await lab.connect(
    { namespace: gateway, device: "wan", addresses: ["10.31.0.2/24", "fd31::2/64"] },
    { namespace: router, device: "gateway", addresses: ["10.31.0.1/24", "fd31::1/64"] },
  );
  await portal.ip("route add default via 203.0.113.1");
  await client.ip("route add default via 10.30.0.1", "route add ::/0 via fd30::1");
  await gateway.ip("route add default via 10.31.0.1", "route add ::/0 via fd31::1");
  const resource = await addResource(lab, gateway);
  const addresses = { client: "10.30.0.2", gateway: "10.31.0.2" };
  const routers = { router, gatewayRouter: router, internet: undefined, sites: undefined };
  return { ...routers, relays: [], portal, client, gateway, resource, addresses };
}

async function buildBehindNats(lab: Lab, nats: Nats, relayCount: number): Promise<Machines> {
  const internet = await createInternet(lab);
  const portal = await internet.addPublic("portal", 10);
  const relays: Namespace[] = [];
  for (let i = 0; i < relayCount; i++) {
    relays.push(await internet.addPublic(`relay-${i + 1}`, FIRST_RELAY + i));
  }
  const home = await internet.addSite("client", 30, nats.client);
  const office = nats.gateway === "same LAN" ? home : await internet.addSite("gateway", 31, nats.gateway);
  const isOneLan = office === home;
  const client = await home.addHost("client", 100, { families: nats.families?.client ?? "both" });
  const gateway = await office.addHost("gateway", isOneLan ? 101 : 100, {
    families: nats.families?.gateway ?? "both",
  });
  const resource = await addResource(lab, gateway, nats.families?.gateway);
  const addresses = { client: "172.30.0.100", gateway: isOneLan ? "172.30.0.101" : "172.31.0.100" };
  const routers = { router: home.router, gatewayRouter: office.router };
  return {
    ...routers,
    internet,
    sites: { client: home, gateway: office },
    relays,
    portal,
    client,
    gateway,
    resource,
    addresses,
  };
}

/** A gateway with IPv4 only has no other inside either: it would be an address to reach it by. */
async function addResource(lab: Lab, gateway: Namespace, families: Families = "both"): Promise<Namespace> {
  const resource = await lab.add("resource");
  const inside = ["172.20.0.1/16", "172.21.0.1/16", ...(families === "ipv4" ? [] : ["fd20::1/64"])];
  await lab.connect(
    { namespace: gateway, device: "lan", addresses: inside },
    {
      namespace: resource,
      device: "lan",
      addresses: [`${OFFICE_V4}/16`, `${VAULT}/16`, `${OFFICE_V6}/64`],
    },
  );
  return resource;
}
