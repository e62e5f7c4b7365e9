/** Name servers of the model's world: those of sites, which a gateway asks, and others that stand behind gateways. */
import { formatIp, type Instant, type IpAddress, type SocketAddress } from "../../../src/base/index.ts";
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
import { encodeUdp, PROTOCOL, viewPacket } from "../../../src/packet/index.ts";
import type { TunnelGatewayEvent } from "../../../src/tunnel/index.ts";
import type { GatewayPeer } from "../../sim/peer.ts";
import type { World } from "../../sim/world.ts";
import { createUnframer, framed } from "./dns-streams.ts";
import { made } from "./packets.ts";
import type { Reference } from "./reference.ts";
import { addTcpHost, type SimulatedTcp } from "./tcp-host.ts";

/** A question that came out of a gateway, or that it asked for a client. */
export interface Asked {
  readonly at: Instant;
  readonly gateway: string;
  /** The server that was asked; `site`: one of the gateway's host. */
  readonly to: string;
  readonly domain: string;
  readonly type: number;
  readonly transport: "udp" | "tcp";
}

/** What a name server has of every name, by type. */
export const SITE_RECORDS: Readonly<Record<number, Uint8Array>> = {
  [TYPE.TXT]: Uint8Array.of(2, 0x68, 0x69),
  // Both of the root, which is the shortest name.
  [TYPE.MX]: Uint8Array.of(0, 10, 0),
  [TYPE.SRV]: Uint8Array.of(0, 1, 0, 1, 0, 80, 0),
  // More than a question without EDNS takes over UDP, and less than a packet in the tunnel.
  [TYPE.SSHFP]: new Uint8Array(800).fill(1),
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

/** Sends what is answered to whoever asked; none if the connection is gone. */
type Reply = (bytes: Uint8Array) => void;

interface Ends {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

interface State extends SiteAccess {
  readonly world: World;
  readonly reference: Reference;
  readonly asked: Asked[];
  /** Where the answers of gateways' name servers go, by the number of the asker. */
  readonly askers: Map<number, Reply>;
  /** Of gateways' name servers, and of those that stand behind gateways; made when somebody connects. */
  readonly tcps: Map<string, SimulatedTcp>;
}

const LOOKUP_MS = 20;
/** Of every gateway's host. */
const HOST_SERVER = { address: Uint8Array.of(192, 168, 77, 53) };

export function createSites(world: World, reference: Reference, access: SiteAccess): Sites {
  const state: State = { ...access, world, reference, asked: [], askers: new Map(), tcps: new Map() };
  return {
    asked: state.asked,
    takesPacket: (gateway, packet) => takesPacket(state, gateway, packet),
    takeEvent: (gateway, event) => takeEvent(state, gateway, event),
    begin(gateway) {
      // Its sockets have gone with its process.
      state.tcps.get(keyOf(gateway, true))?.vanish();
      state.tcps.delete(keyOf(gateway, true));
      inTurn(state, gateway, ({ tunnel }, now) =>
        tunnel.useNameServer(now, (server) => server.handleServers(now, [HOST_SERVER])),
      );
    },
  };
}

function takesPacket(state: State, gateway: string, packet: Uint8Array): boolean {
  const { source, destination, ports, protocol, transport } = viewPacket(packet);
  const isOwn = ports?.destination === GATEWAY_DNS_PORT && state.isOwn(gateway, destination);
  if (ports === undefined || (ports.destination !== DNS_PORT && !isOwn)) return false;
  if (protocol === PROTOCOL.tcp) {
    tcpOf(state, gateway, isOwn).handlePacket(state.world.now(), packet);
    return true;
  }
  const bytes = transport.slice(8);
  if (protocol !== PROTOCOL.udp || (!isOwn && checkQuery(bytes).kind !== "query")) return false;
  const server = { address: destination.slice(), port: ports.destination };
  const client = { address: source.slice(), port: ports.source };
  const reply: Reply = (answer) => state.peer(gateway)?.send(made(encodeUdp(server, client, answer)));
  takeQuestion(state, { gateway, isOwn, transport: "udp", server: server.address, bytes, reply, client });
  return true;
}

/** At the gateway's own server (DN-84), or at another one behind it. */
interface TakenQuestion {
  readonly gateway: string;
  readonly isOwn: boolean;
  readonly transport: "udp" | "tcp";
  readonly server: IpAddress;
  readonly client: { readonly address: IpAddress };
  readonly bytes: Uint8Array;
  readonly reply: Reply;
}

function takeQuestion(state: State, question: TakenQuestion): void {
  const { gateway, isOwn, transport, bytes, reply } = question;
  if (!isOwn) {
    const answer = answerTo(state, { gateway, transport, to: formatIp(question.server) }, bytes);
    if (answer !== undefined) later(state, () => reply(answer));
    return;
  }
  const asker = state.askers.size;
  state.askers.set(asker, reply);
  const client = question.client.address;
  inTurn(state, gateway, ({ tunnel }, now) =>
    tunnel.useNameServer(now, (server) => server.handleQuestion(now, { asker, transport, client, bytes })),
  );
}

function keyOf(gateway: string, isOwn: boolean): string {
  return isOwn ? gateway : `behind ${gateway}`;
}

/** The name servers' TCP: connections are open for as long as who asks leaves them so. */
function tcpOf(state: State, gateway: string, isOwn: boolean): SimulatedTcp {
  const key = keyOf(gateway, isOwn);
  const open = state.tcps.get(key);
  if (open !== undefined) return open;
  const { world } = state;
  const streams = new Map<
    number,
    { readonly ends: Ends; readonly unframe: ReturnType<typeof createUnframer> }
  >();
  const made = addTcpHost(world, `name servers, ${key}`, {
    admits: ({ port }) => port === (isOwn ? GATEWAY_DNS_PORT : DNS_PORT),
    send: (packet) => state.peer(gateway)?.send(packet),
    takeEvent(tcp, event) {
      if (event.kind === "opened") streams.set(event.id, { ends: event, unframe: createUnframer() });
      if (event.kind === "closed") streams.delete(event.id);
      if (event.kind === "ended") tcp.end(world.now(), event.id);
      const stream = streams.get(event.id);
      if (event.kind !== "data" || stream === undefined) return;
      tcp.take(world.now(), event.id, event.bytes.length);
      const reply: Reply = (answer) => {
        if (streams.has(event.id)) tcp.send(world.now(), event.id, framed(answer));
        made.drain();
      };
      const [server, client] = [stream.ends.local.address, stream.ends.remote];
      for (const bytes of stream.unframe(event.bytes))
        takeQuestion(state, { gateway, isOwn, transport: "tcp", server, client, bytes, reply });
    },
  });
  state.tcps.set(key, made);
  return made;
}

function takeEvent(state: State, gateway: string, event: TunnelGatewayEvent): void {
  if (event.kind !== "dns") return;
  if (event.event.kind === "answer") {
    const { asker, bytes } = event.event;
    state.world.at(0, () => state.askers.get(asker)?.(bytes));
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

/** What a server of the gateway's host says; nothing of names that fail. */
function lookUp(state: State, gateway: string, { token, message, transport }: DirectQuery): void {
  const by = transport === "tcp" ? "tcp" : "udp";
  later(state, () => {
    const answer = answerTo(state, { gateway, to: "site", transport: by }, message);
    const result: DirectResult =
      answer === undefined ? { kind: "failed", reason: "no answer" } : { kind: "message", message: answer };
    inTurn(state, gateway, ({ tunnel }, now) =>
      tunnel.useNameServer(now, (server) => server.handleDirectResult(now, token, result)),
    );
  });
}

/** Of a type that there is, a record; else that there is no such name. */
function answerTo(
  state: State,
  by: Pick<Asked, "gateway" | "to" | "transport">,
  bytes: Uint8Array,
): Uint8Array | undefined {
  const check = checkQuery(bytes);
  if (check.kind !== "query") return undefined;
  const { name, type } = check.query.question;
  const domain = domainOf(name);
  // What gateways ask of their own accord is about the root.
  if (domain !== ".") state.asked.push({ at: state.world.now(), ...by, domain, type });
  if (state.reference.failing.has(domain)) return undefined;
  const data = SITE_RECORDS[type];
  if (data === undefined) return encodeLocal(check.query, { rcode: RCODE.nxDomain });
  return encodeLocal(check.query, { rcode: 0, records: [{ type, data, ttlS: 0 }] });
}
