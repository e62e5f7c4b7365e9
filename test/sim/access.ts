/**
 * A client and a gateway with their tunnels, connections and planes on two hosts of the simulated world,
 * and a portal stub that authorises what the test tells it to (TS-12).
 */

import { sha256 } from "@noble/hashes/sha2.js";
import {
  concatBytes,
  type Instant,
  type IpAddress,
  ip,
  prefix,
  toHex,
  type UnixMs,
} from "../../src/base/index.ts";
import { type ConnectionTransmit, createConnections } from "../../src/connections/index.ts";
import type { PlaneCommand, Publication } from "../../src/plane/index.ts";
import type {
  Authorization,
  ClientResource,
  FlowFailureReason,
  GatewayResource,
} from "../../src/portal/protocol/index.ts";
import {
  createTunnelClient,
  createTunnelGateway,
  type TunnelClient,
  type TunnelClientEvent,
  type TunnelCommand,
  type TunnelGateway,
  type TunnelGatewayEvent,
} from "../../src/tunnel/index.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { DEFAULT_PLANE, type PlaneKind } from "../twin/driven-plane.ts";
import { createPolledPlane, type PolledPlane } from "../twin/polled-plane.ts";
import type { Host, World } from "./world.ts";

export const CID = "00000000-0000-4000-8000-00000000000c";
export const GID = "00000000-0000-4000-8000-00000000000e";
const SITE = { id: "00000000-0000-4000-8000-000000000051", name: "Berlin" };
const CLIENT_ADDRESSES = { ipv4: ip("100.64.0.2"), ipv6: ip("fd00:2021:1111::2") };
const GATEWAY_ADDRESSES = { ipv4: ip("100.64.0.1"), ipv6: ip("fd00:2021:1111::1") };
const PORTAL_DELAY_MS = 20;

type Machine = {
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollCommand(): TunnelCommand | undefined;
  pollTransmit(): ConnectionTransmit | undefined;
} & Pick<TunnelClient, "handlePunt" | "handlePlaneEvent" | "handleOwnAddresses" | "handleCarriedOut">;

interface End {
  readonly host: Host;
  readonly plane: PolledPlane;
  /** Everything that was written to the TUN device, refusals included. */
  readonly delivered: Uint8Array[];
  /** Kinds of all commands so far, in their order. */
  readonly commands: TunnelCommand["kind"][];
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

/** What the portal stub answers to `create-flow`. */
export type Answer =
  | { readonly kind: "grant"; readonly expiresAt?: UnixMs; readonly filters?: Cidr["filters"] }
  /** The client is told yes, the gateway nothing: what a client that lies about its access looks like. */
  | { readonly kind: "client-only" }
  | { readonly kind: "refuse"; readonly reason: FlowFailureReason };

type Cidr = Extract<GatewayResource, { kind: "cidr" }>;

export interface Access {
  readonly world: World;
  readonly client: ClientEnd;
  readonly gateway: GatewayEnd;
  /** By resource id; what is missing is granted for ever. */
  readonly answers: Map<string, Answer>;
  /** Resource ids of all intents so far. */
  readonly intents: string[];
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
  const listed = new Map<string, ClientResource>();
  const answers = new Map<string, Answer>();
  const intents: string[] = [];
  const waiting = new Map<string, () => void>();
  /** The keys with which the two joined: what the portal knows. */
  const joined = { client: client.publicKey(), gateway: gateway.publicKey() };

  const access: Access = {
    world,
    client,
    gateway,
    answers,
    intents,
    init(networks) {
      joined.client = client.publicKey();
      listed.clear();
      for (const [rid, network] of Object.entries(networks)) {
        listed.set(rid, {
          kind: "cidr",
          rid,
          name: rid,
          address: prefix(network),
          sites: [SITE],
          filters: [],
        });
      }
      const addresses = { ...CLIENT_ADDRESSES, upstreamDo53: [], upstreamDoh: [] };
      access.apply(client, ({ tunnel }) =>
        tunnel.handlePortalMessage(world.now(), {
          kind: "init",
          interface: addresses,
          resources: [...listed.values()],
          relays: [],
        }),
      );
    },
    tellLeft: () => toClient({ kind: "gateway-left", gid: GID }),
    initGateway(authorizations) {
      joined.gateway = gateway.publicKey();
      access.apply(gateway, ({ tunnel }) =>
        tunnel.handlePortalMessage(
          world.now(),
          { kind: "init", interface: GATEWAY_ADDRESSES, relays: [], authorizations },
          world.unixNow(),
        ),
      );
    },
    send(end, packet) {
      end.plane.sendPacket(world.now(), packet);
      world.flush(end.host);
    },
    apply(end, input) {
      input(end);
      world.flush(end.host);
    },
  };

  function onClientEvent(event: TunnelClientEvent): void {
    client.events.push(event);
    if (event.kind !== "request") return;
    const { request } = event;
    if (request.kind === "create-flow") {
      intents.push(request.rid);
      world.at(PORTAL_DELAY_MS, () => answer(request.rid));
    } else if (request.kind === "broadcast-ice-candidates") {
      toGateway({ kind: "ice-candidates", cid: CID, candidates: request.candidates });
    }
  }

  function onGatewayEvent(event: TunnelGatewayEvent): void {
    gateway.events.push(event);
    if (event.kind !== "request") return;
    const { request } = event;
    if (request.kind === "flow-authorized") world.at(PORTAL_DELAY_MS, () => waiting.get(request.ref)?.());
    else if (request.kind === "broadcast-ice-candidates") {
      toClient({ kind: "ice-candidates", gid: GID, candidates: request.candidates });
    }
  }

  function toClient(message: Parameters<TunnelClient["handlePortalMessage"]>[1]): void {
    world.at(2 * PORTAL_DELAY_MS, () =>
      access.apply(client, ({ tunnel }) => tunnel.handlePortalMessage(world.now(), message)),
    );
  }

  function toGateway(message: Parameters<TunnelGateway["handlePortalMessage"]>[1]): void {
    world.at(2 * PORTAL_DELAY_MS, () =>
      access.apply(gateway, ({ tunnel }) =>
        tunnel.handlePortalMessage(world.now(), message, world.unixNow()),
      ),
    );
  }

  function answer(rid: string): void {
    const decision = answers.get(rid) ?? { kind: "grant" };
    const resource = listed.get(rid);
    if (decision.kind === "refuse" || resource?.kind !== "cidr") {
      const reason = decision.kind === "refuse" ? decision.reason : "not_found";
      return toClient({ kind: "flow-creation-failed", rid, reason, violatedProperties: [] });
    }
    const keys = concatBytes(joined.client, joined.gateway);
    const secret = toHex(sha256(keys));
    const clientCredentials = { username: secret.slice(0, 8), password: secret.slice(8, 34) };
    const gatewayCredentials = { username: secret.slice(34, 38), password: secret.slice(38, 64) };
    const presharedKey = sha256(concatBytes(keys, Uint8Array.of(1)));
    const created = (): void =>
      toClient({
        kind: "flow-created",
        rid,
        gid: GID,
        siteId: SITE.id,
        gatewayKey: joined.gateway,
        gatewayIpv4: GATEWAY_ADDRESSES.ipv4,
        gatewayIpv6: GATEWAY_ADDRESSES.ipv6,
        presharedKey,
        clientCredentials,
        gatewayCredentials,
      });
    if (decision.kind === "client-only") return created();
    waiting.set(rid, created);
    toGateway({
      kind: "authorize-flow",
      ref: rid,
      resource: { kind: "cidr", rid, name: rid, address: resource.address, filters: decision.filters ?? [] },
      client: { ...CLIENT_ADDRESSES, cid: CID, publicKey: joined.client, presharedKey, device: {} },
      clientCredentials,
      gatewayCredentials,
      ...(decision.expiresAt !== undefined && { expiresAt: decision.expiresAt }),
      subject: {},
    });
  }

  attach(world, client, () => drainEvents(client.tunnel, onClientEvent));
  attach(world, gateway, () => drainEvents(gateway.tunnel, onGatewayEvent));
  for (const end of [client, gateway]) {
    const own = end.host.addresses.map((address) => ({ address, port: end.host.port }));
    access.apply(end, ({ tunnel }) => tunnel.handleOwnAddresses(world.now(), own));
  }
  access.initGateway([]);
  return access;
}

function createClientEnd(world: World, kind: PlaneKind): ClientEnd {
  const host = world.addHost("client", { addresses: ["192.0.2.10"], link: { latencyMs: 10 } });
  const plane = createPolledPlane(kind, { mode: "client" });
  const connections = createConnections({
    ...nodeOptions(world, "client"),
    role: "client",
    records: plane.records,
  });
  return {
    host,
    plane,
    delivered: [],
    commands: [],
    events: [],
    tunnel: createTunnelClient({ connections }),
    publicKey: () => connections.publicKey(),
  };
}

function createGatewayEnd(world: World, kind: PlaneKind): GatewayEnd {
  const host = world.addHost("gateway", { addresses: ["198.51.100.20"], link: { latencyMs: 10 } });
  const plane = createPolledPlane(kind, { mode: "gateway" });
  const connections = createConnections({
    ...nodeOptions(world, "gateway"),
    role: "gateway",
    records: plane.records,
  });
  return {
    host,
    plane,
    delivered: [],
    commands: [],
    events: [],
    tunnel: createTunnelGateway({ connections, isHostOpen: false }),
    publicKey: () => connections.publicKey(),
  };
}

function nodeOptions(world: World, name: string) {
  return {
    crypto: NOBLE_CRYPTO,
    seed: world.random(`host/${name}/keys`).fill(new Uint8Array(32)),
    now: world.now(),
    unixNow: world.unixNow(),
  };
}

function drainEvents<E>(machine: { pollEvent(): E | undefined }, handle: (event: E) => void): void {
  for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) handle(event);
}

/** Puts the end on its host. Commands go first, then what the plane says, until nothing comes. */
function attach(world: World, end: ClientEnd | GatewayEnd, drain: () => void): void {
  const tunnel: Machine = end.tunnel;
  const { plane } = end;
  const publishing: Publication[] = [];
  let published = 0;

  function settle(): void {
    const now = world.now();
    for (let isQuiet = false; !isQuiet; ) {
      isQuiet = true;
      for (let command = tunnel.pollCommand(); command !== undefined; command = tunnel.pollCommand()) {
        end.commands.push(command.kind);
        if (command.kind === "publish") {
          publishing.push(command);
          plane.publish(command.tables);
        } else if (command.kind === "write-tun") end.delivered.push(command.packet);
        else {
          plane.execute(now, command satisfies PlaneCommand);
          tunnel.handleCarriedOut(now, command);
        }
      }
      for (let event = plane.pollEvent(); event !== undefined; event = plane.pollEvent()) {
        tunnel.handlePlaneEvent(now, event);
        isQuiet = false;
      }
      for (let punt = plane.pollPunt(); punt !== undefined; punt = plane.pollPunt()) {
        tunnel.handlePunt(now, punt);
        isQuiet = false;
      }
      for (; published < plane.published(); published++) {
        const publication = publishing.shift();
        if (publication !== undefined) tunnel.handleCarriedOut(now, publication);
        isQuiet = false;
      }
    }
    for (let next = plane.pollPacket(); next !== undefined; next = plane.pollPacket()) {
      end.delivered.push(next);
    }
  }

  end.host.program = {
    handleDatagram(now, datagram) {
      plane.handleDatagram(now, datagram);
    },
    handleTimeout: (now) => tunnel.handleTimeout(now),
    pollTimeout: () => tunnel.pollTimeout(),
    pollTransmit() {
      settle();
      return tunnel.pollTransmit() ?? plane.pollTransmit();
    },
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
