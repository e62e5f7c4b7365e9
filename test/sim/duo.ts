/**
 * Two stand-alone nodes in the simulated world and a portal between them that carries upserts and
 * candidates with its own delay. Tests say what the portal does to each message.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import {
  concatBytes,
  type Instant,
  type IpAddress,
  ip,
  type Log,
  type LogFields,
  prefix,
  toHex,
} from "../../src/base/index.ts";
import type {
  ConnectionEvent,
  ConnectionRequest,
  ConnectionRole,
  ConnectionStats,
  IceCredentials,
  UpsertOutcome,
} from "../../src/connections/index.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { DEFAULT_PLANE, type PlaneKind } from "../twin/driven-plane.ts";
import { type ConnectionsOnPlane, createConnectionsOnPlane } from "./connections-on-plane.ts";
import {
  type Host,
  type HostOptions,
  hearTooBig,
  type LinkConditions,
  type OutgoingDatagram,
  pathMtuOf,
  type World,
} from "./world.ts";

/** The connections of one host, and what they said. */
export interface End {
  readonly role: ConnectionRole;
  readonly host: Host;
  readonly machine: ConnectionsOnPlane;
  readonly events: { readonly at: Instant; readonly event: ConnectionEvent }[];
  /** Sequence numbers of the test packets that arrived, in order. */
  readonly received: number[];
  readonly sent: OutgoingDatagram[];
  /** What it logged from INFO up, as `level event` with the fields. */
  readonly lines: { readonly line: string; readonly fields: LogFields }[];
}

export interface PortalRules {
  /** One way; twice this between the two ends. */
  readonly delayMs: number;
  /** What becomes of one batch of candidates: extra delays, one per copy; none: it is lost. */
  readonly candidates: (candidates: readonly string[], from: ConnectionRole) => readonly Delivery[];
}

export interface Delivery {
  readonly afterMs: number;
  readonly candidates: readonly string[];
}

export interface DuoOptions {
  readonly client?: Partial<HostOptions> & { readonly link?: Partial<LinkConditions> };
  readonly gateway?: Partial<HostOptions> & { readonly link?: Partial<LinkConditions> };
  readonly portal?: Partial<PortalRules>;
  readonly plane?: PlaneKind;
  /** Which streams to relays the ends may open. */
  readonly streams?: "tls";
  /** Their kernels learn nothing from an ICMP error of the TUN device (SN-152). */
  readonly areKernelsDeaf?: boolean;
}

export interface Duo {
  readonly world: World;
  readonly client: End;
  readonly gateway: End;
  /** Both upserts, as the portal orders them: gateway first, the client when it has answered. */
  connect(): void;
  request(end: End): ConnectionRequest;
  upsert(end: End, change?: Partial<ConnectionRequest>): UpsertOutcome;
  /** Sends one test packet from the TUN side. */
  send(end: End, sequence: number): void;
  packet(end: End, sequence: number): Uint8Array;
  /** Runs until both ends have a session; the bound is a failure with the last steps. */
  establish(withinMs?: number): Instant;
  portal: PortalRules;
}

const CLIENT_ID = "client-1";
const GATEWAY_ID = "gateway-1";
const TUNNEL: Readonly<Record<ConnectionRole, IpAddress>> = {
  client: ip("100.64.0.1"),
  gateway: ip("100.64.0.2"),
};
const EVERYWHERE = [prefix("0.0.0.0/0"), prefix("::/0")];

const DIRECTLY: PortalRules = {
  delayMs: 20,
  candidates: (candidates) => [{ afterMs: 0, candidates }],
};

export function createDuo(world: World, options: DuoOptions = {}): Duo {
  const { plane: kind = DEFAULT_PLANE, streams, areKernelsDeaf = false } = options;
  const client = createEnd(
    { world, role: "client", kind, streams, areKernelsDeaf },
    {
      addresses: ["192.0.2.10"],
      ...options.client,
      link: { latencyMs: 10, ...options.client?.link },
    },
  );
  const gateway = createEnd(
    { world, role: "gateway", kind, streams, areKernelsDeaf },
    {
      addresses: ["198.51.100.20"],
      ...options.gateway,
      link: { latencyMs: 10, ...options.gateway?.link },
    },
  );

  const duo: Duo = {
    world,
    client,
    gateway,
    portal: { ...DIRECTLY, ...options.portal },
    connect() {
      const { delayMs } = duo.portal;
      world.at(delayMs, () => {
        // The gateway's answer leaves before its candidates, and the portal keeps that order (PT-60).
        world.at(2 * delayMs, () => duo.upsert(client));
        duo.upsert(gateway);
      });
    },
    request: (end) => requestOf(end, client, gateway),
    upsert(end, change = {}) {
      const request = { ...requestOf(end, client, gateway), ...change };
      const outcome = end.machine.apply(world.now(), (connections) =>
        connections.upsertConnection(world.now(), request),
      );
      publish(end, request.id);
      world.flush(end.host);
      return outcome;
    },
    send(end, sequence) {
      end.machine.sendPacket(world.now(), duo.packet(end, sequence));
      world.flush(end.host);
    },
    packet(end, sequence) {
      const [from, to] =
        end.role === "client" ? [TUNNEL.client, TUNNEL.gateway] : [TUNNEL.gateway, TUNNEL.client];
      return testPacket(from, to, sequence);
    },
    establish(withinMs = 3_000) {
      duo.connect();
      const at = world.runUntil(() => isEstablished(client) && isEstablished(gateway), withinMs);
      if (at === undefined) throw new Error(`seed ${world.seed}: not established\n${world.recentTrace()}`);
      return at;
    },
  };
  attach(duo, client);
  attach(duo, gateway);
  return duo;
}

/** Whether the connection has had its first session. */
export function isEstablished(end: End): boolean {
  return end.events.some(({ event }) => event.kind === "connection-established");
}

/** What the end shows of its only connection. */
export function shown(end: End): ConnectionStats | undefined {
  return end.machine.connections.stats().connections[0];
}

/** The first event of a kind, and when it came. */
export function firstEvent<K extends ConnectionEvent["kind"]>(
  end: End,
  kind: K,
): { readonly at: Instant; readonly event: Extract<ConnectionEvent, { kind: K }> } | undefined {
  for (const { at, event } of end.events) {
    if (isKind(event, kind)) return { at, event };
  }
  return undefined;
}

function isKind<K extends ConnectionEvent["kind"]>(
  event: ConnectionEvent,
  kind: K,
): event is Extract<ConnectionEvent, { kind: K }> {
  return event.kind === kind;
}

/** How many WireGuard messages of a type the end has sent. */
export function sentMessages(end: End, type: 1 | 2 | 3 | 4): number {
  return end.sent.filter(({ bytes }) => bytes[0] === type && bytes[1] === 0 && bytes[4] !== 0x21).length;
}

/** How many connectivity checks the end has sent. */
export function sentChecks(end: End): number {
  return end.sent.filter(({ bytes }) => bytes[0] === 0 && bytes[1] === 1).length;
}

export function idAt(end: End): string {
  return end.role === "client" ? GATEWAY_ID : CLIENT_ID;
}

function createEnd(
  {
    world,
    role,
    kind,
    streams,
    areKernelsDeaf,
  }: {
    readonly world: World;
    readonly role: ConnectionRole;
    readonly kind: PlaneKind;
    readonly streams: DuoOptions["streams"];
    readonly areKernelsDeaf: boolean;
  },
  options: HostOptions,
): End {
  const host = world.addHost(role, options);
  const lines: End["lines"] = [];
  const machine = createConnectionsOnPlane(
    {
      role,
      crypto: NOBLE_CRYPTO,
      seed: world.random(`host/${role}/keys`).fill(new Uint8Array(32)),
      now: world.now(),
      unixNow: world.unixNow(),
      pathMtu: ({ destination }) => pathMtuOf(host, destination),
      isKernelDeaf: areKernelsDeaf,
      ...(streams && { streams }),
      log: recorder(lines),
    },
    kind,
    (packet) => hearTooBig(host, packet),
  );
  const end: End = { role, host, machine, events: [], received: [], sent: [], lines };
  announceAddresses(world, end);
  return end;
}

function recorder(lines: End["lines"]): Log {
  const at = (level: string) => (event: string, fields?: LogFields) =>
    void lines.push({ line: `${level} ${event}`, fields: fields ?? {} });
  const log: Log = { error: at("error"), warn: at("warn"), info: at("info"), scope: () => log };
  return log;
}

/** What the shell does with the list of rtnetlink (SN-137). */
export function announceAddresses(world: World, { host, machine }: End): void {
  const addresses = host.addresses.map((address) => ({ address, port: host.port }));
  machine.apply(world.now(), (connections) => connections.updateHostAddresses(world.now(), addresses));
  world.flush(host);
}

function attach(duo: Duo, end: End): void {
  const { machine, host } = end;
  host.program = {
    handleDatagram: (now, datagram) => machine.handleDatagram(now, datagram),
    handleTimeout: (now) => machine.handleTimeout(now),
    pollTimeout: () => machine.pollTimeout(),
    pollTransmit() {
      const sent = machine.pollTransmit();
      if (sent !== undefined) end.sent.push(sent);
      return sent;
    },
    drain(now) {
      const added: string[] = [];
      const removed: string[] = [];
      for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
        end.events.push({ at: now, event });
        if (event.kind === "candidate-added") added.push(event.candidate);
        if (event.kind === "candidate-removed") removed.push(event.candidate);
      }
      for (let next = machine.pollPacket(); next !== undefined; next = machine.pollPacket()) {
        end.received.push(sequenceOf(next));
      }
      if (added.length > 0) carry(duo, end, "addRemoteCandidates", added);
      if (removed.length > 0) carry(duo, end, "removeRemoteCandidates", removed);
    },
  };
  duo.world.flush(host);
}

/** The portal brings candidates to the other end. */
function carry(
  duo: Duo,
  from: End,
  change: "addRemoteCandidates" | "removeRemoteCandidates",
  candidates: readonly string[],
): void {
  const to = from.role === "client" ? duo.gateway : duo.client;
  for (const delivery of duo.portal.candidates(candidates, from.role)) {
    duo.world.at(2 * duo.portal.delayMs + delivery.afterMs, () => {
      const now = duo.world.now();
      to.machine.apply(now, (connections) => connections[change](now, idAt(to), delivery.candidates));
      duo.world.flush(to.host);
    });
  }
}

/** Everything is allowed between the two, and the other's tunnel address leads to it. */
function publish({ machine, role }: End, id: string): void {
  const slot = machine.connections.slotOf(id);
  if (slot === undefined) return;
  const other = role === "client" ? TUNNEL.gateway : TUNNEL.client;
  machine.publish({
    routes: [{ prefix: { address: other, bits: 32 }, target: { kind: "peer", slot } }],
    permits: [{ slot, sources: EVERYWHERE, refuseDestination: false }],
  });
}

/** As from the portal: the same at both ends as long as no key changes (PT-100, PT-101). */
function requestOf(end: End, client: End, gateway: End): ConnectionRequest {
  const keys = concatBytes(client.machine.connections.publicKey(), gateway.machine.connections.publicKey());
  const text = toHex(sha256(keys));
  const clientCredentials: IceCredentials = { username: text.slice(0, 8), password: text.slice(8, 34) };
  const gatewayCredentials: IceCredentials = { username: text.slice(34, 38), password: text.slice(38, 64) };
  const isClient = end.role === "client";
  return {
    id: idAt(end),
    remoteKey: (isClient ? gateway : client).machine.connections.publicKey(),
    presharedKey: sha256(concatBytes(keys, Uint8Array.of(1))),
    localCredentials: isClient ? clientCredentials : gatewayCredentials,
    remoteCredentials: isClient ? gatewayCredentials : clientCredentials,
  };
}

/** IPv4, protocol 253 (for experiments), a sequence number as payload. */
function testPacket(source: IpAddress, destination: IpAddress, sequence: number): Uint8Array {
  const packet = new Uint8Array(24);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, packet.length);
  view.setUint8(8, 64);
  view.setUint8(9, 253);
  packet.set(source, 12);
  packet.set(destination, 16);
  view.setUint32(20, sequence);
  return packet;
}

function sequenceOf(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getUint32(20);
}
