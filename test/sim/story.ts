/**
 * A network of parts, in a few lines:
 *
 *     const { client } = story(1)
 *       .network("home", { nat: "symmetric" }).client()
 *       .network("office", { nat: "port-restricted" }).gateway()
 *       .internet().relay()
 *       .begin();
 *     expect(client().reach(5_000)).toBeDefined();
 *
 * `network` and `internet` say where the parts that follow stand. Names are those of the parts, by default what
 * they are; addresses are given in the order in which the parts come.
 */
import { earliest, ip } from "../../src/base/index.ts";
import type { Explanation } from "../../src/connections/index.ts";
import { relayChannel } from "../../src/portal/protocol/index.ts";
import type { NatKind } from "../lib/nat.ts";
import { type LinkConditions, type LinkProfile, PROFILES } from "./link.ts";
import { type NatOptions, natOptions } from "./nat.ts";
import type { Network, RoutedNetwork, Router } from "./network.ts";
import {
  addClient,
  addGateway,
  type ClientOptions,
  type ClientPeer,
  type GatewayOptions,
  type GatewayPeer,
} from "./peer.ts";
import { addPortal, dial, type PortalLine, type SimulatedPortal } from "./portal.ts";
import { addRelay, RELAY_LISTEN, type SimulatedRelay } from "./relay.ts";
import { createWorld, type Host, type World } from "./world.ts";

export type Families = "ipv4" | "ipv6" | "both";

export interface NetworkPart {
  /** The network above; default: the Internet. */
  readonly in?: string;
  /** Absent: IPv4 is not translated. */
  readonly nat?: NatKind | (Partial<NatOptions> & { readonly kind: NatKind });
  /** Whether what is not translated comes in as an answer alone; default: with a NAT. */
  readonly isGuarded?: boolean;
  readonly blocks?: Router["blocks"];
  readonly link?: LinkProfile | Partial<LinkConditions>;
  /** The first three numbers of its IPv4 addresses; default: one of its own. */
  readonly inside?: string;
}

export interface HostPart {
  /** Default: that of the story. */
  readonly families?: Families;
  readonly link?: LinkProfile | Partial<LinkConditions>;
  /** The router of its network sends its port on to it. */
  readonly isForwarded?: boolean;
}

/** Of a client or a gateway; what runs on its host is made anew at each of its starts. */
export type EndPart<Options> = HostPart & { readonly setUp?: (starts: number) => Options };

export interface StoryOptions {
  /** The portal's file. */
  readonly model?: string;
  /** Default: IPv4 alone, so that NATs matter. */
  readonly families?: Families;
  /** Of the portal, one way. */
  readonly portalDelayMs?: number;
}

export interface Story {
  readonly world: World;
  network(name: string, part?: NetworkPart): Story;
  internet(): Story;
  client(name?: string, part?: EndPart<ClientOptions>): Story;
  gateway(name?: string, part?: EndPart<GatewayOptions>): Story;
  relay(name?: string, part?: HostPart): Story;
  /** All of them start, and have joined the portal. */
  begin(): Play;
}

export interface RelayPart {
  readonly relay: SimulatedRelay;
  readonly line: PortalLine<never>;
  kill(): void;
  /** Started again as another process (RL-70). */
  start(): void;
  /** SIGTERM (RL-73). */
  drain(): void;
}

/** Parts by their names; without one the only of its kind. */
export interface Play {
  readonly world: World;
  readonly portal: SimulatedPortal;
  client(name?: string): ClientPeer;
  gateway(name?: string): GatewayPeer;
  relay(name?: string): RelayPart;
  /** Of a client or gateway. */
  hostOf(name: string): Host;
  /** Ends a client or gateway, at once or with a farewell (TN-37); the portal sees the end of TCP. */
  stop(name: string, how: "kill" | "shutdown"): void;
  /** Starts one that was stopped as another process, with other keys. */
  start(name: string): void;
  router(network: string): Router;
  /** From now on the router of its network sends the peer's port on to it. */
  forward(peer: ClientPeer | GatewayPeer): void;
  /** Moves a peer's host into a network, and tells it (SN-115). */
  roam(peer: ClientPeer | GatewayPeer, network: string): void;
  /** Of a client's only connection. */
  path(client?: ClientPeer): Explanation["path"];
  why(peer: ClientPeer | GatewayPeer): Explanation | undefined;
}

/** A latency for those parts that say none: between continents nobody is nearer than this. */
const NEAR: Partial<LinkConditions> = { latencyMs: 5 };
const REGISTERED_MS = 1_500;
const JOINED_MS = 500;
/** What a program gives itself to say goodbye (TN-37). */
const FAREWELL_MS = 1_000;

interface State {
  readonly world: World;
  readonly portal: SimulatedPortal;
  readonly families: Families;
  readonly networks: Map<string, RoutedNetwork>;
  readonly parts: Map<string, NetworkPart>;
  readonly clients: Map<string, ClientPeer>;
  readonly gateways: Map<string, GatewayPeer>;
  readonly relays: Map<string, RelayPart>;
  /** How clients and gateways are started, by name. */
  readonly starters: Map<string, () => ClientPeer | GatewayPeer>;
  /** Where the next part stands; the Internet has no name. */
  at: string | undefined;
  hosts: number;
}

export function story(seed: number, options: StoryOptions = {}): Story {
  const { families = "ipv4", portalDelayMs = 20, model } = options;
  const world = createWorld(seed);
  const state: State = {
    world,
    portal: addPortal(world, { delayMs: portalDelayMs, ...(model !== undefined && { model }) }),
    families,
    networks: new Map(),
    parts: new Map(),
    clients: new Map(),
    gateways: new Map(),
    relays: new Map(),
    starters: new Map(),
    at: undefined,
    hosts: 0,
  };
  const self: Story = {
    world,
    network(name, part = {}) {
      if (!state.networks.has(name)) addNetwork(state, name, part);
      state.at = name;
      return self;
    },
    internet() {
      state.at = undefined;
      return self;
    },
    client(name = "client", part = {}) {
      addStarter(state, state.clients, name, part, addClient);
      return self;
    },
    gateway(name = "gateway", part = {}) {
      addStarter(state, state.gateways, name, part, addGateway);
      return self;
    },
    relay(name = "relay", part = {}) {
      state.relays.set(name, addRelayPart(state, name, part));
      return self;
    },
    begin: () => begin(state),
  };
  return self;
}

/** Adds an end, and keeps how it is started anew. */
function addStarter<Options, P extends ClientPeer | GatewayPeer>(
  state: State,
  peers: Map<string, P>,
  name: string,
  part: EndPart<Options>,
  add: (portal: SimulatedPortal, host: Host, options: Options & { readonly starts: number }) => P,
): void {
  const host = addHost(state, name, part);
  let starts = 0;
  const start = (): P => {
    const peer = add(state.portal, host, { ...(part.setUp?.(starts) ?? ({} as Options)), starts });
    starts++;
    peers.set(name, peer);
    return peer;
  };
  start();
  state.starters.set(name, start);
}

function stop({ world }: State, peer: ClientPeer | GatewayPeer, how: "kill" | "shutdown"): void {
  if (how === "shutdown") {
    peer.tunnel.shutdown(world.now());
    world.flush(peer.host);
    world.run(FAREWELL_MS);
  }
  peer.line.vanish(true);
  peer.host.program = undefined;
}

function begin(state: State): Play {
  const { world, portal, clients, gateways, relays, networks } = state;
  for (const { line } of relays.values()) line.connect();
  world.run(REGISTERED_MS);
  for (const { line } of gateways.values()) line.connect();
  world.run(JOINED_MS);
  for (const { line } of clients.values()) line.connect();
  world.run(JOINED_MS);
  return {
    world,
    portal,
    client: (name) => named(clients, name),
    gateway: (name) => named(gateways, name),
    relay: (name) => named(relays, name),
    hostOf: (name) => (clients.get(name) ?? named(gateways, name)).host,
    stop: (name, how) => stop(state, clients.get(name) ?? named(gateways, name), how),
    start: (name) => named(state.starters, name)().line.connect(),
    router: (name) => named(networks, name).router,
    forward: ({ host }) => forward(host.network, host),
    roam(peer, network) {
      const addresses = addressesIn(
        state,
        network,
        peer.host.addresses.some(({ length }) => length === 16),
      );
      world.move(peer.host, { addresses, network: named(networks, network) });
      peer.roam();
    },
    path: (client = named(clients)) => client.connections.explanations()[0]?.path ?? "none",
    why: (peer) => peer.connections.explanations()[0],
  };
}

function named<Part>(parts: ReadonlyMap<string, Part>, name?: string): Part {
  const found = name === undefined ? [...parts.values()][0] : parts.get(name);
  if (found === undefined) throw new Error(`no ${name ?? "part of this kind"} in this story`);
  return found;
}

function addNetwork(state: State, name: string, part: NetworkPart): void {
  const { world, networks, parts } = state;
  const above = part.in === undefined ? undefined : named(networks, part.in);
  const number = networks.size + 1;
  const nat = part.nat === undefined || typeof part.nat !== "string" ? part.nat : { kind: part.nat };
  const network = world.addNetwork(name, {
    outside: [above === undefined ? `203.0.113.${number}` : `100.64.${networks.size}.${number}`],
    ...(above && { above }),
    ...(nat && { nat: natOptions(nat.kind, nat) }),
    ...(part.isGuarded !== undefined && { isGuarded: part.isGuarded }),
    ...(part.blocks && { blocks: part.blocks }),
    link: conditionsOf(part.link ?? NEAR),
  });
  networks.set(name, network);
  parts.set(name, { inside: insideOf(number, nat !== undefined), ...part });
}

/** Private behind a NAT, else addresses that the Internet knows. */
function insideOf(number: number, isTranslated: boolean): string {
  return isTranslated ? `192.168.${number}` : `203.0.${number}`;
}

function addHost(state: State, name: string, part: HostPart): Host {
  const { world, networks, at } = state;
  const network = at === undefined ? undefined : named(networks, at);
  const families = part.families ?? state.families;
  const host = world.addHost(name, {
    addresses: addressesIn(state, at, families !== "ipv4", families !== "ipv6"),
    ...(network && { network }),
    link: conditionsOf(part.link ?? NEAR),
  });
  if (part.isForwarded) forward(network, host);
  return host;
}

function addressesIn(state: State, at: string | undefined, withIpv6: boolean, withIpv4 = true): string[] {
  const last = 10 + state.hosts++;
  const inside = at === undefined ? "198.51.100" : (state.parts.get(at)?.inside ?? "192.168.1");
  const number = at === undefined ? 0 : [...state.networks.keys()].indexOf(at) + 1;
  return [
    ...(withIpv4 ? [`${inside}.${last}`] : []),
    ...(withIpv6 ? [`2001:db8:${number.toString(16)}::${last.toString(16)}`] : []),
  ];
}

function forward(network: Network | undefined, { addresses, port, name }: Host): void {
  const nat = network?.router?.nat;
  const address = addresses.find(({ length }) => length === 4);
  if (nat === undefined || address === undefined) throw new Error(`nothing forwards to ${name}`);
  nat.options = { ...nat.options, forward: { port, to: { address, port } } };
}

function addRelayPart(state: State, name: string, part: HostPart): RelayPart {
  const { world, portal } = state;
  const withIpv6 = part.families !== "ipv4";
  const addresses = addressesIn(state, undefined, withIpv6, part.families !== "ipv6");
  const relay = addRelay(world, name, { addresses, link: conditionsOf(part.link ?? NEAR) });
  const { host } = relay;
  const { program } = host;
  const line = dial(portal, {
    host,
    role: "relay",
    channel: relayChannel,
    params: () => ({
      ...Object.fromEntries(addresses.map((text) => [text.includes(":") ? "ipv6" : "ipv4", ip(text)])),
      port: RELAY_LISTEN,
      stampSecret: relay.stampSecret(),
    }),
    handleMessage: () => {},
  });
  if (program === undefined) throw new Error("a relay runs");
  const withLine = {
    ...program,
    handleTimeout(now: Parameters<typeof program.handleTimeout>[0]) {
      program.handleTimeout(now);
      line.handleTimeout();
    },
    pollTimeout: () => earliest(program.pollTimeout(), line.pollTimeout()),
  };
  host.program = withLine;
  return {
    relay,
    line,
    kill() {
      host.program = undefined;
      line.vanish(true);
    },
    drain() {
      relay.server.startDrain(world.now());
      world.flush(host);
      line.vanish(true);
    },
    start() {
      relay.restart();
      host.program = withLine;
      line.connect();
    },
  };
}

function conditionsOf(link: LinkProfile | Partial<LinkConditions>): Partial<LinkConditions> {
  return typeof link === "string" ? PROFILES[link] : link;
}
