/**
 * Clients and gateways of the simulated network: the tunnel, the connections, the plane and the connection to
 * the portal as the programs tie them together. Behind every gateway is a server that echoes.
 */
import {
  earliest,
  type Instant,
  type IpAddress,
  ip,
  type Log,
  type LogFields,
  type Random,
  randomBytes,
  type UnixMs,
  unixMs,
} from "../../src/base/index.ts";
import { type Connections, createConnections } from "../../src/connections/index.ts";
import { createNameServer, createResolver, type Resolver } from "../../src/dns/index.ts";
import { clientChannel, gatewayChannel } from "../../src/portal/protocol/index.ts";
import { createNodeCrypto } from "../../src/program/crypto-node.ts";
import {
  createTunnelClient,
  createTunnelGateway,
  type TunnelClient,
  type TunnelClientEvent,
  type TunnelGateway,
  type TunnelGatewayEvent,
} from "../../src/tunnel/index.ts";
import { finite, nextTurn } from "../lib/bounds.ts";
import { DEFAULT_PLANE, type PlaneKind } from "../twin/driven-plane.ts";
import { createPolledPlane, type PolledPlane } from "../twin/polled-plane.ts";
import { dial, type PortalLine, type SimulatedPortal } from "./portal.ts";
import { putOnPlane, type TunnelOnPlane } from "./tunnel-on-plane.ts";
import { type Host, type OutgoingDatagram, pathMtuOf, type World } from "./world.ts";

/** Within the resource that the portal lists. */
export const SERVER = ip("172.20.0.9");
const PROTOCOL_EXPERIMENT = 253;
const PACKET_BYTES = 24;

export interface Peer {
  readonly name: string;
  readonly host: Host;
  readonly connections: Connections;
  readonly plane: PolledPlane;
  /** Its way to the portal. */
  readonly line: Pick<PortalLine<never>, "connect" | "vanish" | "events">;
  /** All datagrams that it has sent. */
  readonly sent: OutgoingDatagram[];
  /** What it logged from WARN up, as `level event` with the fields. */
  readonly complaints: { readonly line: string; readonly fields: LogFields }[];
  /** A packet from its TUN device. */
  send(packet: Uint8Array): void;
  /** It has another address, or the same at another place; connections begin anew (TN-35). */
  roam(): void;
  /** Other addresses beside those that it keeps: nothing begins anew (SN-137). */
  tellAddresses(): void;
}

export interface ClientPeer extends Peer {
  readonly tunnel: TunnelClient;
  readonly resolver: Resolver | undefined;
  /** When each packet's echo came, by its number. */
  readonly echoes: ReadonlyMap<number, Instant>;
  /** A packet to the server behind the gateway. @returns its number */
  ping(): number;
  /** Pings until one is answered; how long that took, in milliseconds. `undefined`: longer than the bound. */
  reach(withinMs: number): number | undefined;
  /** Pings steadily; the longest time without an echo, in milliseconds. */
  longestGap(forMs: number): number;
}

export interface GatewayPeer extends Peer {
  readonly tunnel: TunnelGateway;
}

/** What runs on a peer's host beside the tunnel, and how it is started. */
export interface PeerOptions {
  /** Default: the one of its role. */
  readonly token?: string;
  /** How often it has been started before: each process makes keys of its own. */
  readonly starts?: number;
  /** Default: the one of the environment. */
  readonly planeKind?: PlaneKind;
  /** What comes out of its TUN device; default: a server that echoes, or the echoes. */
  readonly takePacket?: (packet: Uint8Array) => void;
}

export interface ClientOptions extends PeerOptions {
  readonly hasResolver?: boolean;
  readonly isInternetOn?: boolean;
  readonly takeEvent?: (event: TunnelClientEvent) => void;
}

export interface GatewayOptions extends PeerOptions {
  /** Whether clients may ask it for names (DN-84). */
  readonly hasNameServer?: boolean;
  readonly takeEvent?: (event: TunnelGatewayEvent) => void;
}

const KEY_BYTES = 32;
/** Fast, and from the world's randomness alone, so that a seed tells all (TS-7). */
const NODE_CRYPTO = createNodeCrypto();
const CRYPTO = {
  ...NODE_CRYPTO,
  ephemeral: (random: Random) => NODE_CRYPTO.keyPair(randomBytes(random, KEY_BYTES)),
};

const REACH_EVERY_MS = 100;
const PING_EVERY_MS = 50;

export function addClient(portal: SimulatedPortal, host: Host, options: ClientOptions = {}): ClientPeer {
  const { world } = portal;
  const { starts = 0, hasResolver = false, isInternetOn = false, takeEvent } = options;
  const machines = createMachines(world, host, "client", options);
  const { connections, plane, log } = machines;
  const resolver = hasResolver
    ? createResolver({ random: world.random(`host/${host.name}/dns/${starts}`), log })
    : undefined;
  const tunnel = createTunnelClient({
    ...{ connections, flows: plane.flows, isInternetOn, log },
    ...(resolver && { resolver }),
  });
  const echoes = new Map<number, Instant>();
  let own: IpAddress | undefined;
  let count = 0;
  const line = dial(portal, {
    ...loginOf(host, "client", connections, options),
    channel: clientChannel,
    handleMessage: (message) => tunnel.handlePortalMessage(world.now(), message),
  });
  const takePacket = (packet: Uint8Array): void => {
    if (packet[9] === PROTOCOL_EXPERIMENT) echoes.set(numberOf(packet), world.now());
  };
  const peer = createPeer({ ...machines, world, host, tunnel, line, takePacket, ...options }, () => {
    for (let event = tunnel.pollEvent(); event !== undefined; event = tunnel.pollEvent()) {
      if (event.kind === "request") line.send(event.request);
      else if (event.kind === "relays-wanted") line.connect();
      else if (event.kind === "interface") own = ip4Of(event.interface.addresses);
      takeEvent?.(event);
    }
  });
  const client: ClientPeer = {
    ...peer,
    tunnel,
    resolver,
    echoes,
    ping() {
      count++;
      if (own !== undefined) peer.send(packetOf(own, SERVER, count));
      return count;
    },
    reach: (withinMs) => reach(world, client, withinMs),
    longestGap: (forMs) => longestGap(world, client, forMs),
  };
  return client;
}

export function addGateway(portal: SimulatedPortal, host: Host, options: GatewayOptions = {}): GatewayPeer {
  const { world } = portal;
  const { takeEvent, hasNameServer = false, starts = 0 } = options;
  const machines = createMachines(world, host, "gateway", options);
  const { connections, plane, log } = machines;
  const clocks = { now: world.now(), unixNow: wallOf(world, host) };
  const { flows } = plane;
  const random = world.random(`host/${host.name}/names/${starts}`);
  const tunnel = createTunnelGateway({
    ...{ connections, flows, ...clocks, isHostOpen: false, log },
    ...(hasNameServer && { openNameServer: (permit) => createNameServer({ random, permit, log }) }),
  });
  const line = dial(portal, {
    ...loginOf(host, "gateway", connections, options),
    channel: gatewayChannel,
    handleMessage: (message) => tunnel.handlePortalMessage(world.now(), message),
  });
  const takePacket = (packet: Uint8Array): void => echo(world, plane, packet);
  const peer = createPeer({ ...machines, world, host, tunnel, line, takePacket, ...options }, () => {
    for (let event = tunnel.pollEvent(); event !== undefined; event = tunnel.pollEvent()) {
      if (event.kind === "request") line.send(event.request);
      else if (event.kind === "relays-wanted") line.connect();
      takeEvent?.(event);
    }
  });
  return { ...peer, tunnel };
}

/** The time of day by the host's clock. */
function wallOf(world: World, { clockSkewMs }: Host): UnixMs {
  return unixMs(world.unixNow() + clockSkewMs);
}

type Machines = Pick<Parts, "connections" | "complaints" | "plane"> & { readonly log: Log };

function createMachines(
  world: World,
  host: Host,
  role: "client" | "gateway",
  { starts = 0, planeKind = DEFAULT_PLANE }: PeerOptions,
): Machines {
  const complaints: Peer["complaints"] = [];
  const log = recorder(complaints);
  const plane = createPolledPlane(planeKind, { mode: role });
  const keys = `host/${host.name}/keys${starts === 0 ? "" : `/${starts}`}`;
  const connections = createConnections({
    role,
    records: plane.records,
    crypto: CRYPTO,
    seed: world.random(keys).fill(new Uint8Array(32)),
    now: world.now(),
    unixNow: wallOf(world, host),
    pathMtu: ({ destination }) => pathMtuOf(host, destination),
    log,
  });
  return { connections, plane, complaints, log };
}

function loginOf<Role extends "client" | "gateway">(
  host: Host,
  role: Role,
  connections: Connections,
  { token }: PeerOptions,
) {
  const { name } = host;
  // Each attempt says the present key (PT-12).
  const params = () => ({ externalId: name, name, publicKey: connections.publicKey() });
  return { host, role, params, ...(token !== undefined && { token }) };
}

interface Parts {
  readonly world: World;
  readonly host: Host;
  readonly connections: Connections;
  readonly plane: PolledPlane;
  readonly tunnel: TunnelClient | TunnelGateway;
  readonly line: PortalLine<never>;
  readonly complaints: Peer["complaints"];
  readonly takePacket: (packet: Uint8Array) => void;
}

/** Puts the machines on the host. `drain` takes what the tunnel says. */
function createPeer(parts: Parts, drain: () => void): Peer {
  const { world, host, connections, plane, tunnel, line, complaints, takePacket } = parts;
  const onPlane = putOnPlane(tunnel, plane);
  const sent: OutgoingDatagram[] = [];
  const tellAddresses = (): void => {
    const own = host.addresses.map((address) => ({ address, port: host.port }));
    tunnel.handleOwnAddresses(world.now(), own);
    world.flush(host);
  };
  const tellTime = (now: Instant): void => tunnel.handleWallClock(now, wallOf(world, host));
  host.program = {
    handleDatagram(now, datagram) {
      tellTime(now);
      plane.handleDatagram(now, datagram);
    },
    handleTimeout(now) {
      tellTime(now);
      tunnel.handleTimeout(now);
      line.handleTimeout();
    },
    pollTimeout: () => earliest(tunnel.pollTimeout(), line.pollTimeout()),
    pollTransmit() {
      const next = nextTransmit(world, onPlane, takePacket);
      if (next !== undefined) sent.push(next);
      return next;
    },
    drain,
  };
  tellAddresses();
  return {
    name: host.name,
    host,
    connections,
    plane,
    line,
    sent,
    complaints,
    send(packet) {
      plane.sendPacket(world.now(), packet);
      world.flush(host);
    },
    tellAddresses,
    roam() {
      tunnel.reset(world.now());
      host.pathMtus.clear();
      tellAddresses();
      line.connect();
    },
  };
}

/** The next datagram; what the host's programs answer to what the tunnel brings leaves at once. */
function nextTransmit(
  world: World,
  onPlane: TunnelOnPlane,
  takePacket: (packet: Uint8Array) => void,
): OutgoingDatagram | undefined {
  for (let turns = 0; ; turns = nextTurn(turns, "a peer and its applications")) {
    const next = onPlane.pollTransmit(world.now());
    if (next !== undefined || onPlane.delivered.length === 0) return next;
    for (const packet of onPlane.delivered.splice(0)) takePacket(packet);
  }
}

function recorder(lines: Peer["complaints"]): Log {
  const at = (level: string) => (event: string, fields?: LogFields) =>
    void lines.push({ line: `${level} ${event}`, fields: fields ?? {} });
  const log: Log = { error: at("error"), warn: at("warn"), scope: () => log };
  return log;
}

/** The server behind a gateway. */
function echo(world: World, plane: PolledPlane, packet: Uint8Array): void {
  if (packet[9] !== PROTOCOL_EXPERIMENT) return;
  const answer = packetOf(packet.slice(16, 20), packet.slice(12, 16), numberOf(packet));
  plane.sendPacket(world.now(), answer);
}

function reach(world: World, client: ClientPeer, withinMs: number): number | undefined {
  const since = world.now();
  const first = client.ping();
  const isAnswered = (): boolean => [...client.echoes.keys()].some((number) => number >= first);
  while (world.now() - since < finite(withinMs, "the bound")) {
    const at = world.runUntil(isAnswered, Math.min(REACH_EVERY_MS, withinMs - (world.now() - since)));
    if (at !== undefined) return at - since;
    client.ping();
  }
  return undefined;
}

function longestGap(world: World, client: ClientPeer, forMs: number): number {
  let longest = 0;
  let since = world.now();
  let seen = client.echoes.size;
  for (let ms = 0; ms < forMs; ms += PING_EVERY_MS) {
    client.ping();
    world.run(PING_EVERY_MS);
    if (client.echoes.size === seen) continue;
    seen = client.echoes.size;
    longest = Math.max(longest, world.now() - since);
    since = world.now();
  }
  return Math.max(longest, world.now() - since);
}

function ip4Of(addresses: readonly IpAddress[]): IpAddress | undefined {
  return addresses.find(({ length }) => length === 4);
}

function packetOf(source: IpAddress, destination: IpAddress, number: number): Uint8Array {
  const packet = new Uint8Array(PACKET_BYTES);
  packet.set([0x45, 0, 0, PACKET_BYTES, 0, 0, 0, 0, 64, PROTOCOL_EXPERIMENT]);
  packet.set(source, 12);
  packet.set(destination, 16);
  new DataView(packet.buffer).setUint32(20, number);
  return packet;
}

function numberOf(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getUint32(20);
}
