/**
 * A client and a gateway with their tunnels, connections and planes on two hosts of the simulated world,
 * and a portal stub that authorises what the test tells it to (TS-12).
 */

import { type IpAddress, ip } from "../../src/base/index.ts";
import { createConnections, type PathWay } from "../../src/connections/index.ts";
import { createResolver, type SetupQuery } from "../../src/dns/index.ts";
import type { Authorization } from "../../src/portal/protocol/index.ts";
import {
  createTunnelClient,
  createTunnelGateway,
  type TunnelClient,
  type TunnelClientEvent,
  type TunnelGateway,
  type TunnelGatewayEvent,
} from "../../src/tunnel/index.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { DEFAULT_PLANE, type PlaneKind } from "../twin/driven-plane.ts";
import { createPolledPlane } from "../twin/polled-plane.ts";
import {
  type Answer,
  createPortalStub,
  handleClientRequest,
  handleGatewayRequest,
  initClient,
  initGateway,
  tellGatewayLeft,
} from "./portal-stub.ts";
import { putOnPlane, type TunnelOnPlane } from "./tunnel-on-plane.ts";
import { type Host, pathMtuOf, type World } from "./world.ts";

export { CID } from "./portal-stub.ts";

interface End extends TunnelOnPlane {
  readonly host: Host;
}

export interface ClientEnd extends End {
  readonly tunnel: TunnelClient;
  readonly events: TunnelClientEvent[];
  readonly publicKey: () => Uint8Array;
}

export interface GatewayEnd extends End {
  readonly tunnel: TunnelGateway;
  readonly events: TunnelGatewayEvent[];
  readonly publicKey: () => Uint8Array;
}

export interface Access {
  readonly world: World;
  readonly client: ClientEnd;
  readonly gateway: GatewayEnd;
  /** By resource id; what is missing is granted for ever. */
  readonly answers: Map<string, Answer>;
  /** Resource ids of all intents so far. */
  readonly intents: string[];
  /** What the gateway's resolver finds: addresses by name; what is missing does not exist. */
  readonly records: Map<string, readonly string[]>;
  /** Names that the gateway has looked up so far. */
  readonly lookups: string[];
  init(networks: Readonly<Record<string, string>>): void;
  /** The portal says that it has lost the gateway. */
  tellLeft(): void;
  initGateway(authorizations: readonly Authorization[]): void;
  /** A packet from an application at the client, or from a server behind the gateway. */
  send(end: ClientEnd | GatewayEnd, packet: Uint8Array): void;
  /** Any other input of a tunnel, carried through to plane and world. */
  apply<E extends ClientEnd | GatewayEnd>(end: E, input: (end: E) => void): void;
}

export function createAccess(world: World, kind: PlaneKind = DEFAULT_PLANE): Access {
  const client = createClientEnd(world, kind);
  const gateway = createGatewayEnd(world, kind);
  const stub = createPortalStub(world, {
    clientKey: client.publicKey(),
    gatewayKey: gateway.publicKey(),
    toClient: (message) =>
      access.apply(client, ({ tunnel }) => tunnel.handlePortalMessage(world.now(), message)),
    toGateway: (message) =>
      access.apply(gateway, ({ tunnel }) => tunnel.handlePortalMessage(world.now(), message)),
  });
  const access: Access = {
    world,
    client,
    gateway,
    answers: stub.answers,
    intents: stub.intents,
    records: new Map(),
    lookups: [],
    init: (networks) => initClient(stub, client.publicKey(), networks),
    tellLeft: () => tellGatewayLeft(stub),
    initGateway: (authorizations) => initGateway(stub, gateway.publicKey(), authorizations),
    send(end, packet) {
      end.plane.sendPacket(world.now(), packet);
      world.flush(end.host);
    },
    apply(end, input) {
      input(end);
      world.flush(end.host);
    },
  };
  attach(world, client, () =>
    drainEvents(client, (event) => {
      if (event.kind === "request") handleClientRequest(stub, event.request);
    }),
  );
  attach(world, gateway, () =>
    drainEvents(gateway, (event) => {
      if (event.kind === "request") handleGatewayRequest(stub, event.request);
      if (event.kind === "resolve-setup") lookUp(access, event.query);
    }),
  );
  for (const end of [client, gateway]) {
    const own = end.host.addresses.map((address) => ({ address, port: end.host.port }));
    access.apply(end, ({ tunnel }) => tunnel.handleOwnAddresses(world.now(), own));
  }
  access.initGateway([]);
  return access;
}

const LOOKUP_MS = 20;

function lookUp(access: Access, { token, domain }: SetupQuery): void {
  const { world, gateway, records, lookups } = access;
  lookups.push(domain);
  const addresses = records.get(domain)?.map(ip);
  const result =
    addresses === undefined ? ({ kind: "none" } as const) : ({ kind: "addresses", addresses } as const);
  world.at(LOOKUP_MS, () =>
    access.apply(gateway, ({ tunnel }) => tunnel.handleSetupResult(world.now(), token, result)),
  );
}

function createClientEnd(world: World, kind: PlaneKind): ClientEnd {
  const host = world.addHost("client", { addresses: ["192.0.2.10"], link: { latencyMs: 10 } });
  const plane = createPolledPlane(kind, { mode: "client" });
  const connections = createConnections({
    ...nodeOptions(world, host),
    role: "client",
    records: plane.records,
  });
  const resolver = createResolver({ random: world.random("client/dns") });
  const tunnel = createTunnelClient({ connections, flows: plane.flows, resolver });
  return {
    host,
    ...putOnPlane(tunnel, plane),
    events: [],
    tunnel,
    publicKey: () => connections.publicKey(),
  };
}

function createGatewayEnd(world: World, kind: PlaneKind): GatewayEnd {
  const host = world.addHost("gateway", { addresses: ["198.51.100.20"], link: { latencyMs: 10 } });
  const plane = createPolledPlane(kind, { mode: "gateway" });
  const connections = createConnections({
    ...nodeOptions(world, host),
    role: "gateway",
    records: plane.records,
  });
  const tunnel = createTunnelGateway({
    connections,
    now: world.now(),
    unixNow: world.unixNow(),
    flows: plane.flows,
    isHostOpen: false,
  });
  return {
    host,
    ...putOnPlane(tunnel, plane),
    events: [],
    tunnel,
    publicKey: () => connections.publicKey(),
  };
}

function nodeOptions(world: World, host: Host) {
  return {
    crypto: NOBLE_CRYPTO,
    seed: world.random(`host/${host.name}/keys`).fill(new Uint8Array(32)),
    now: world.now(),
    unixNow: world.unixNow(),
    pathMtu: ({ destination }: PathWay) => pathMtuOf(host, destination),
  };
}

/** Keeps all events of an end's tunnel, and hands them on. */
function drainEvents<E>(
  { tunnel, events }: { readonly tunnel: { pollEvent(): E | undefined }; readonly events: E[] },
  handle: (event: E) => void,
): void {
  for (let event = tunnel.pollEvent(); event !== undefined; event = tunnel.pollEvent()) {
    events.push(event);
    handle(event);
  }
}

/** Puts the end on its host. */
function attach(world: World, end: ClientEnd | GatewayEnd, drain: () => void): void {
  const { tunnel, plane } = end;
  end.host.program = {
    handleDatagram(now, datagram) {
      plane.handleDatagram(now, datagram);
    },
    handleTimeout: (now) => tunnel.handleTimeout(now),
    pollTimeout: () => tunnel.pollTimeout(),
    pollTransmit: () => end.pollTransmit(world.now()),
    drain,
  };
  world.flush(end.host);
}

/** IPv4 with protocol 253 (for experiments) and a number as payload. */
export function testPacket(source: string, destination: string, number: number): Uint8Array {
  const packet = new Uint8Array(24);
  packet.set([0x45, 0, 0, packet.length, 0, 0, 0, 0, 64, 253]);
  packet.set(ip(source), 12);
  packet.set(ip(destination), 16);
  packet[23] = number;
  return packet;
}

/** The numbers of the test packets, and `prohibited` or `unreachable` for refusals. */
export function contents(packets: readonly Uint8Array[]): readonly (number | string)[] {
  return packets.map((packet) => {
    if (packet[9] === 253) return packet[23] ?? -1;
    if (packet[9] === 1 && packet[20] === 3) return packet[21] === 13 ? "prohibited" : "unreachable";
    return "unknown";
  });
}

export function sourceOf(packet: Uint8Array | undefined): IpAddress | undefined {
  return packet?.slice(12, 16);
}
