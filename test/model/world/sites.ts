/** Name servers of the model's world: those of sites, which a gateway asks, and others that stand behind gateways. */
import { formatIp, type Instant, type IpAddress } from "../../../src/base/index.ts";
import {
  checkQuery,
  type DirectQuery,
  type DirectResult,
  DNS_PORT,
  domainOf,
  encodeLocal,
  GATEWAY_DNS_PORT,
  RCODE,
  TYPE,
} from "../../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import type { TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import type { GatewayPeer } from "../../sim/peer.ts";
import type { World } from "../../sim/world.ts";
import { made } from "./packets.ts";
import type { Reference } from "./reference.ts";

/** A question that came out of a gateway, or that it asked for a client. */
export interface Asked {
  readonly at: Instant;
  readonly gateway: string;
  /** The server that was asked; `site`: one of the gateway's host. */
  readonly to: string;
  readonly domain: string;
  readonly type: number;
}

/** What a name server has of every name, by type. */
export const SITE_RECORDS: Readonly<Record<number, Uint8Array>> = {
  [TYPE.TXT]: Uint8Array.of(2, 0x68, 0x69),
  // Both of the root, which is the shortest name.
  [TYPE.MX]: Uint8Array.of(0, 10, 0),
  [TYPE.SRV]: Uint8Array.of(0, 1, 0, 1, 0, 80, 0),
};

export interface Sites {
  readonly asked: Asked[];
  /** Whether a packet out of a gateway is a question, which is answered here. */
  takesPacket(gateway: string, packet: Uint8Array): boolean;
  takeEvent(gateway: string, event: TunnelGatewayEvent): void;
  /** The gateway has been started: it learns of its host's server. */
  begin(gateway: string): void;
}

export interface SiteAccess {
  /** Absent: it does not run. */
  readonly peer: (gateway: string) => GatewayPeer | undefined;
  readonly isOwn: (gateway: string, address: IpAddress) => boolean;
}

type Asker = { readonly address: IpAddress; readonly port: number };

interface State extends SiteAccess {
  readonly world: World;
  readonly reference: Reference;
  readonly asked: Asked[];
  /** Where the answers of name servers go, by the number of the asker. */
  readonly askers: Map<number, { readonly server: Asker; readonly client: Asker }>;
}

const LOOKUP_MS = 20;
/** Of every gateway's host. */
const HOST_SERVER = { address: Uint8Array.of(192, 168, 77, 53) };

export function createSites(world: World, reference: Reference, access: SiteAccess): Sites {
  const state: State = { ...access, world, reference, asked: [], askers: new Map() };
  return {
    asked: state.asked,
    takesPacket: (gateway, packet) => takesPacket(state, gateway, packet),
    takeEvent: (gateway, event) => takeEvent(state, gateway, event),
    begin: (gateway) =>
      inTurn(state, gateway, ({ tunnel }, now) =>
        tunnel.useNameServer(now, (server) => server.handleServers(now, [HOST_SERVER])),
      ),
  };
}

function takesPacket(state: State, gateway: string, packet: Uint8Array): boolean {
  const { source, destination, ports, protocol, transport } = viewPacket(packet);
  if (protocol !== 17 || ports === undefined) return false;
  const ends = {
    server: { address: destination.slice(), port: ports.destination },
    client: { address: source.slice(), port: ports.source },
  };
  const bytes = transport.slice(8);
  const isOwn = state.isOwn(gateway, destination) && ports.destination === GATEWAY_DNS_PORT;
  if (isOwn) {
    const asker = state.askers.size;
    state.askers.set(asker, ends);
    inTurn(state, gateway, ({ tunnel }, now) =>
      tunnel.useNameServer(now, (server) =>
        server.handleQuestion(now, { asker, transport: "udp", client: source.slice(), bytes }),
      ),
    );
    return true;
  }
  if (ports.destination !== DNS_PORT || checkQuery(bytes).kind !== "query") return false;
  const answer = answerTo(state, gateway, formatIp(destination), bytes);
  if (answer !== undefined) later(state, () => send(state, gateway, ends, answer));
  return true;
}

function takeEvent(state: State, gateway: string, event: TunnelGatewayEvent): void {
  if (event.kind !== "dns") return;
  if (event.event.kind === "answer") {
    const ends = state.askers.get(event.event.asker);
    const { bytes } = event.event;
    if (ends !== undefined) state.world.at(0, () => send(state, gateway, ends, bytes));
  }
  if (event.event.kind === "direct-query") lookUp(state, gateway, event.event.query);
}

/** A machine is not told anything while it is being asked. */
function inTurn(
  { world, peer }: State,
  gateway: string,
  act: (peer: GatewayPeer, now: Instant) => void,
): void {
  world.at(0, () => {
    const running = peer(gateway);
    if (running === undefined) return;
    act(running, world.now());
    world.flush(running.host);
  });
}

function later({ world }: State, act: () => void): void {
  world.at(LOOKUP_MS, act);
}

function send(
  { peer }: State,
  gateway: string,
  { server, client }: { readonly server: Asker; readonly client: Asker },
  bytes: Uint8Array,
): void {
  peer(gateway)?.send(made(encodeUdp(server, client, bytes)));
}

/** What a server of the gateway's host says; nothing of names that fail. */
function lookUp(state: State, gateway: string, { token, message }: DirectQuery): void {
  later(state, () => {
    const answer = answerTo(state, gateway, "site", message);
    const result: DirectResult =
      answer === undefined ? { kind: "failed", reason: "no answer" } : { kind: "message", message: answer };
    inTurn(state, gateway, ({ tunnel }, now) =>
      tunnel.useNameServer(now, (server) => server.handleDirectResult(now, token, result)),
    );
  });
}

/** Of a type that there is, a record; else that there is no such name. */
function answerTo(state: State, gateway: string, to: string, bytes: Uint8Array): Uint8Array | undefined {
  const check = checkQuery(bytes);
  if (check.kind !== "query") return undefined;
  const { name, type } = check.query.question;
  const domain = domainOf(name);
  // What gateways ask of their own accord is about the root.
  if (domain !== ".") state.asked.push({ at: state.world.now(), gateway, to, domain, type });
  if (state.reference.failing.has(domain)) return undefined;
  const data = SITE_RECORDS[type];
  if (data === undefined) return encodeLocal(check.query, { rcode: RCODE.nxDomain });
  return encodeLocal(check.query, { rcode: 0, records: [{ type, data, ttlS: 0 }] });
}
