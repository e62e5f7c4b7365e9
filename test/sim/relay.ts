/**
 * A relay in the simulated world: the machine of `src/relay`, and its data path as a plain object.
 *
 *     client ── 3478: STUN ──▶ machine ── commands ──▶ bindings
 *     client ── 3478: channel data ──▶ binding ──▶ allocation port ──▶ peer
 */
import { sha256 } from "@noble/hashes/sha2.js";
import {
  formatSocketAddress,
  type Instant,
  type IpAddress,
  SILENT,
  type SocketAddress,
  toHex,
} from "../../src/base/index.ts";
import type { RelayEntry } from "../../src/connections/index.ts";
import type { RelayBinding } from "../../src/plane/index.ts";
import { createTurnServer, type TurnServer } from "../../src/relay/index.ts";
import {
  CHANNEL_LAST_ACCEPTED,
  encodeChannelData,
  parseChannelData,
  relayCredentials,
} from "../../src/turn/index.ts";
import type { Host, HostOptions, OutgoingDatagram, World } from "./world.ts";

export const RELAY_LISTEN = 3478;
export const REALM = "firezone";

export interface SimulatedRelay {
  readonly id: string;
  readonly host: Host;
  readonly server: TurnServer;
  /** Bindings that are in force. */
  readonly bindings: ReadonlySet<RelayBinding>;
  /** What it has relayed, in datagrams. */
  relayed: number;
  /** As the portal lists it for a user, with credentials that live for that long. */
  entryFor(user: string, lifeSeconds?: number): RelayEntry;
  /** What it registers with at the portal. */
  stampSecret(): string;
  /** All state is lost: another process at the same address. */
  restart(): void;
}

export function addRelay(world: World, id: string, options: HostOptions): SimulatedRelay {
  const host = world.addHost(id, { ...options, port: RELAY_LISTEN });
  host.takesPort = (port) => port === RELAY_LISTEN || relay.ports.has(port);
  const relay: RelayState = {
    id,
    host,
    world,
    server: createServer(world, id, host, 0),
    restarts: 0,
    bindings: new Set(),
    ports: new Set(),
    out: [],
    relayed: 0,
    entryFor: (user, lifeSeconds = 86_400) => entryFor(relay, user, lifeSeconds),
    stampSecret: () => secretOf(id, relay.restarts),
    restart: () => restart(relay),
  };
  host.program = {
    handleDatagram(now, datagram) {
      if (datagram.local.port !== RELAY_LISTEN) fromPeer(relay, datagram);
      else if ((datagram.bytes[0] ?? 0xff) >= 0x40) fromClient(relay, datagram);
      else relay.server.handleClient(now, { datagram: datagram.bytes, client: datagram.from });
      settle(relay, now);
    },
    handleTimeout(now) {
      relay.server.handleTimeout(now);
      settle(relay, now);
    },
    pollTimeout: () => relay.server.pollTimeout(),
    pollTransmit: () => relay.out.shift(),
    drain: () => {},
  };
  return relay;
}

interface RelayState extends SimulatedRelay {
  readonly world: World;
  server: TurnServer;
  restarts: number;
  readonly bindings: Set<RelayBinding>;
  readonly ports: Set<number>;
  readonly out: OutgoingDatagram[];
}

function createServer(world: World, id: string, { addresses }: Host, restarts: number): TurnServer {
  const [ip4, ip6] = [4, 16].map((bytes) => addresses.find((address) => address.length === bytes));
  return createTurnServer({
    now: world.now(),
    unixMs: world.unixNow(),
    random: world.random(`relay/${id}/${restarts}`),
    log: SILENT,
    ...(ip4 && { publicIp4: ip4 }),
    ...(ip6 && { publicIp6: ip6 }),
    listenPort: RELAY_LISTEN,
    ports: { lowest: 49_152, highest: 65_535 },
    realm: REALM,
    stampSecret: secretOf(id, restarts),
    policy: { privatePeers: "allow", deniedPeers: [], allowLoopbackPeers: false },
    limits: {
      allocationsMax: 1_000,
      allocationsPerUser: 1,
      bindingsMax: 65_536,
      bindingsPerAllocation: 4096,
    },
  });
}

function secretOf(id: string, restarts: number): string {
  return toHex(sha256(new TextEncoder().encode(`secret of ${id}, start ${restarts}`)));
}

function entryFor({ id, host, world, restarts }: RelayState, user: string, lifeSeconds: number): RelayEntry {
  const expiry = Math.floor(world.unixNow() / 1_000) + lifeSeconds;
  const at = (bytes: number) => host.addresses.find((address) => address.length === bytes);
  const [v4, v6] = [at(4), at(16)];
  return {
    id,
    ...(v4 && { v4: { address: v4, port: RELAY_LISTEN } }),
    ...(v6 && { v6: { address: v6, port: RELAY_LISTEN } }),
    realm: REALM,
    ...relayCredentials(secretOf(id, restarts), { expiry, salt: user }),
  };
}

function restart(relay: RelayState): void {
  relay.restarts++;
  relay.bindings.clear();
  relay.ports.clear();
  relay.server = createServer(relay.world, relay.id, relay.host, relay.restarts);
}

/** Bindings are in force before the answer leaves (RL-30). */
function settle(relay: RelayState, now: Instant): void {
  const { server, bindings, ports } = relay;
  for (let next = server.pollCommand(); next !== undefined; next = server.pollCommand()) {
    switch (next.kind) {
      case "bind-port":
        ports.add(next.port);
        server.handlePortBound(now, { token: next.token, result: "ok" });
        break;
      case "free-port":
        ports.delete(next.port);
        break;
      case "add-binding":
        bindings.add(next.binding);
        break;
      case "remove-binding":
        for (const binding of bindings) if (isSameBinding(binding, next.binding)) bindings.delete(binding);
        break;
    }
  }
  for (let sent = server.pollTransmit(); sent !== undefined; sent = server.pollTransmit()) {
    relay.out.push({
      ...(sent.from && { source: sent.from }),
      sourcePort: RELAY_LISTEN,
      destination: sent.to,
      bytes: sent.datagram,
    });
  }
}

function fromClient(relay: RelayState, { from, bytes }: { from: SocketAddress; bytes: Uint8Array }): void {
  const channelData = parseChannelData(bytes, CHANNEL_LAST_ACCEPTED);
  if (!channelData.ok) return;
  const { channel, data } = channelData.value;
  for (const binding of relay.bindings) {
    if (binding.channel !== channel || !isSame(binding.client, from)) continue;
    relay.relayed++;
    const source = ownAddress(relay, binding.peer.address.length);
    if (binding.isHairpin)
      fromPeer(relay, { local: binding.peer, from: { address: source, port: binding.port }, bytes: data });
    else relay.out.push({ source, sourcePort: binding.port, destination: binding.peer, bytes: data });
    return;
  }
}

function fromPeer(
  relay: RelayState,
  { local, from, bytes }: { local: SocketAddress; from: SocketAddress; bytes: Uint8Array },
): void {
  for (const binding of relay.bindings) {
    if (binding.port !== local.port || !isSame(binding.peer, from)) continue;
    const wrapped = new Uint8Array(4 + bytes.length);
    encodeChannelData(wrapped, { channel: binding.channel, data: bytes });
    relay.out.push({ sourcePort: RELAY_LISTEN, destination: binding.client, bytes: wrapped });
    return;
  }
}

function ownAddress({ host }: RelayState, bytes: number): IpAddress {
  return host.addresses.find((address) => address.length === bytes) ?? new Uint8Array(bytes);
}

function isSameBinding(a: RelayBinding, b: RelayBinding): boolean {
  return a.port === b.port && a.channel === b.channel && isSame(a.peer, b.peer) && isSame(a.client, b.client);
}

function isSame(a: SocketAddress, b: SocketAddress): boolean {
  return formatSocketAddress(a) === formatSocketAddress(b);
}
