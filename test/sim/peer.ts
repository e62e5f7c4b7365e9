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
} from "../../src/base/index.ts";
import { type Connections, createConnections } from "../../src/connections/index.ts";
import { clientChannel, gatewayChannel } from "../../src/portal/protocol/index.ts";
import {
  createTunnelClient,
  createTunnelGateway,
  type TunnelClient,
  type TunnelGateway,
} from "../../src/tunnel/index.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { DEFAULT_PLANE } from "../twin/driven-plane.ts";
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
  /** Its way to the portal. */
  readonly line: Pick<PortalLine<never>, "connect" | "vanish" | "events">;
  /** All datagrams that it has sent. */
  readonly sent: OutgoingDatagram[];
  /** What it logged from WARN up, as `level event` with the fields. */
  readonly complaints: { readonly line: string; readonly fields: LogFields }[];
  /** It has another address, or the same at another place; connections begin anew (TN-35). */
  roam(): void;
  /** Other addresses beside those that it keeps: nothing begins anew (SN-137). */
  tellAddresses(): void;
}

export interface ClientPeer extends Peer {
  readonly tunnel: TunnelClient;
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

const REACH_EVERY_MS = 100;
const PING_EVERY_MS = 50;

export function addClient(portal: SimulatedPortal, host: Host): ClientPeer {
  const { world } = portal;
  const { connections, plane, complaints, log } = createMachines(world, host, "client");
  const tunnel = createTunnelClient({ connections, flows: plane.flows, log });
  const onPlane = putOnPlane(tunnel, plane);
  const echoes = new Map<number, Instant>();
  let own: IpAddress | undefined;
  let count = 0;
  const line = dial(portal, {
    ...loginOf(host, "client", connections),
    channel: clientChannel,
    handleMessage: (message) => tunnel.handlePortalMessage(world.now(), message),
  });
  const client: ClientPeer = {
    ...createPeer({ world, host, connections, tunnel, line, onPlane, complaints }, () => {
      for (let event = tunnel.pollEvent(); event !== undefined; event = tunnel.pollEvent()) {
        if (event.kind === "request") line.send(event.request);
        else if (event.kind === "relays-wanted") line.connect();
        else if (event.kind === "interface") own = ip4Of(event.interface.addresses);
      }
      for (const packet of onPlane.delivered.splice(0)) {
        if (packet[9] === PROTOCOL_EXPERIMENT) echoes.set(numberOf(packet), world.now());
      }
    }),
    tunnel,
    echoes,
    ping() {
      count++;
      if (own === undefined) return count;
      onPlane.plane.sendPacket(world.now(), packetOf(own, SERVER, count));
      world.flush(host);
      return count;
    },
    reach: (withinMs) => reach(world, client, withinMs),
    longestGap: (forMs) => longestGap(world, client, forMs),
  };
  return client;
}

export function addGateway(portal: SimulatedPortal, host: Host): GatewayPeer {
  const { world } = portal;
  const { connections, plane, complaints, log } = createMachines(world, host, "gateway");
  const clocks = { now: world.now(), unixNow: world.unixNow() };
  const { flows } = plane;
  const tunnel = createTunnelGateway({ connections, flows, ...clocks, isHostOpen: false, log });
  const onPlane = putOnPlane(tunnel, plane);
  const line = dial(portal, {
    ...loginOf(host, "gateway", connections),
    channel: gatewayChannel,
    handleMessage: (message) => tunnel.handlePortalMessage(world.now(), message),
  });
  const peer = createPeer({ world, host, connections, tunnel, line, onPlane, complaints }, () => {
    for (let event = tunnel.pollEvent(); event !== undefined; event = tunnel.pollEvent()) {
      if (event.kind === "request") line.send(event.request);
      else if (event.kind === "relays-wanted") line.connect();
    }
  });
  return { ...peer, tunnel };
}

function createMachines(
  world: World,
  host: Host,
  role: "client" | "gateway",
): Pick<Parts, "connections" | "complaints"> & { readonly plane: PolledPlane; readonly log: Log } {
  const complaints: Peer["complaints"] = [];
  const log = recorder(complaints);
  const plane = createPolledPlane(DEFAULT_PLANE, { mode: role });
  const connections = createConnections({
    role,
    records: plane.records,
    crypto: NOBLE_CRYPTO,
    seed: world.random(`host/${host.name}/keys`).fill(new Uint8Array(32)),
    now: world.now(),
    unixNow: world.unixNow(),
    pathMtu: ({ destination }) => pathMtuOf(host, destination),
    log,
  });
  return { connections, plane, complaints, log };
}

function loginOf<Role extends "client" | "gateway">(host: Host, role: Role, connections: Connections) {
  const { name } = host;
  // Each attempt says the present key (PT-12).
  const params = () => ({ externalId: name, name, publicKey: connections.publicKey() });
  return { host, role, params };
}

interface Parts {
  readonly world: World;
  readonly host: Host;
  readonly connections: Connections;
  readonly tunnel: TunnelClient | TunnelGateway;
  readonly line: PortalLine<never>;
  readonly onPlane: TunnelOnPlane;
  readonly complaints: Peer["complaints"];
}

/** Puts the machines on the host. `drain` takes what the tunnel says and delivers. */
function createPeer(
  { world, host, connections, tunnel, line, onPlane, complaints }: Parts,
  drain: () => void,
): Peer {
  const sent: OutgoingDatagram[] = [];
  const isGateway = "grantsOf" in tunnel;
  const tellAddresses = (): void => {
    const own = host.addresses.map((address) => ({ address, port: host.port }));
    tunnel.handleOwnAddresses(world.now(), own);
    world.flush(host);
  };
  host.program = {
    handleDatagram: (now, datagram) => onPlane.plane.handleDatagram(now, datagram),
    handleTimeout(now) {
      tunnel.handleTimeout(now);
      line.handleTimeout();
    },
    pollTimeout: () => earliest(tunnel.pollTimeout(), line.pollTimeout()),
    pollTransmit() {
      let next = onPlane.pollTransmit(world.now());
      if (next === undefined && isGateway && echo(world, onPlane)) next = onPlane.pollTransmit(world.now());
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
    line,
    sent,
    complaints,
    tellAddresses,
    roam() {
      tunnel.reset(world.now());
      host.pathMtus.clear();
      tellAddresses();
      line.connect();
    },
  };
}

function recorder(lines: Peer["complaints"]): Log {
  const at = (level: string) => (event: string, fields?: LogFields) =>
    void lines.push({ line: `${level} ${event}`, fields: fields ?? {} });
  const log: Log = { error: at("error"), warn: at("warn"), scope: () => log };
  return log;
}

/** The server behind a gateway. @returns whether it has said anything */
function echo(world: World, { delivered, plane }: TunnelOnPlane): boolean {
  const packets = delivered.splice(0).filter((packet) => packet[9] === PROTOCOL_EXPERIMENT);
  for (const packet of packets) {
    const answer = packetOf(packet.slice(16, 20), packet.slice(12, 16), numberOf(packet));
    plane.sendPacket(world.now(), answer);
  }
  return packets.length > 0;
}

function reach(world: World, client: ClientPeer, withinMs: number): number | undefined {
  const since = world.now();
  const first = client.ping();
  const isAnswered = (): boolean => [...client.echoes.keys()].some((number) => number >= first);
  while (world.now() - since < withinMs) {
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
