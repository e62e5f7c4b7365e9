/** What stands behind a gateway: hosts that echo, hosts that answer with errors, TCP servers, and the site's DNS. */
import { formatIp, type Instant, type IpAddress, ip } from "../../../src/base/index.ts";
import { isSentinelRange, type SetupQuery } from "../../../src/dns/index.ts";
import { viewPacket } from "../../../src/packet/index.ts";
import type { TcpHost } from "../../../src/tcp/index.ts";
import type { World } from "../../sim/world.ts";
import { encodeAnswer, encodeError, readPacket, type Sight } from "./packets.ts";
import { addressesOf, type Reference } from "./reference.ts";
import { TCP_PORT } from "./setup.ts";
import { addTcpHost } from "./tcp-host.ts";

/** Something that came out of a gateway. */
export interface Arrival {
  readonly at: Instant;
  readonly gateway: string;
  readonly sight: Sight;
}

/** What a gateway has heard of a name. */
export interface Resolution {
  readonly at: Instant;
  readonly gateway: string;
  readonly domain: string;
  /** Addresses as text; absent: it could not be found out. */
  readonly addresses?: readonly string[];
}

export interface Servers {
  readonly arrivals: Arrival[];
  readonly resolutions: Resolution[];
  /** Ids of TCP connections by gateway. */
  tcpOf(gateway: string): TcpHost;
  /** The gateway's own tunnel address, of a family by its octets. */
  addressOf(gateway: string, octets: number): IpAddress | undefined;
  /** The gateway's interface is this now. */
  noteOwn(gateway: string, addresses: readonly IpAddress[]): void;
  /** A packet that came out of the gateway's TUN device. */
  take(gateway: string, packet: Uint8Array): void;
  /** A gateway's question to its site's DNS. */
  resolve(gateway: string, query: SetupQuery): void;
}

export interface GatewayAccess {
  /** Whether a name server takes the packet. */
  isQuestion(gateway: string, packet: Uint8Array): boolean;
  send(gateway: string, packet: Uint8Array): void;
  answer(gateway: string, token: number, addresses: ReturnType<typeof addressesOf>): void;
}

/** Of the site's DNS. */
const LOOKUP_MS = 20;

export function createServers(world: World, reference: Reference, access: GatewayAccess): Servers {
  const hosts = new Map<string, TcpHost>();
  const arrivals: Arrival[] = [];
  const resolutions: Resolution[] = [];
  const own = new Map<string, readonly IpAddress[]>();
  const { errorHosts } = reference.setup;
  for (const { gateways } of reference.setup.sites) {
    for (const { name } of gateways) {
      hosts.set(
        name,
        addEchoServer(world, `servers behind ${name}`, (packet) => access.send(name, packet)),
      );
    }
  }
  const tcpOf = (gateway: string): TcpHost => {
    const host = hosts.get(gateway);
    if (host === undefined) throw new Error(`no servers behind ${gateway}`);
    return host;
  };
  return {
    arrivals,
    resolutions,
    tcpOf,
    addressOf: (gateway, octets) => own.get(gateway)?.find(({ length }) => length === octets),
    noteOwn: (gateway, addresses) => void own.set(gateway, addresses),
    take(gateway, packet) {
      if (access.isQuestion(gateway, packet)) return;
      const sight = readPacket(packet);
      // Only the client serves what the host asks of it (dns.md §17).
      const isStray = isSentinelRange(viewPacket(packet).destination);
      if (sight.kind === "tcp" && !isStray) return tcpOf(gateway).handlePacket(world.now(), packet);
      arrivals.push({ at: world.now(), gateway, sight });
      if (sight.kind !== "request") return;
      const hop = hopFor(packet, own.get(gateway) ?? []);
      if (hop !== undefined) return access.send(gateway, encodeError(packet, "time-exceeded", hop));
      const error = errorHosts[formatIp(viewPacket(packet).destination)];
      access.send(gateway, error === undefined ? encodeAnswer(packet) : encodeError(packet, error));
    },
    resolve(gateway, { token, domain }) {
      world.at(LOOKUP_MS, () => {
        const addresses = addressesOf(reference, domain);
        resolutions.push({
          ...{ at: world.now(), gateway, domain },
          ...(addresses && { addresses: addresses.map(formatIp) }),
        });
        access.answer(gateway, token, addresses);
      });
    },
  };
}

/** The first router behind a gateway. */
const ROUTERS = [ip("198.18.255.1"), ip("2001:db8:ffff::1")];

/** Who throws a packet away because its hop limit ends there: the gateway, or the router behind it. */
function hopFor(packet: Uint8Array, own: readonly IpAddress[]): IpAddress | undefined {
  const { family, source } = viewPacket(packet);
  const left = packet[family === 4 ? 8 : 7] ?? 0;
  const hops = left === 1 ? own : left === 2 ? ROUTERS : [];
  return hops.find(({ length }) => length === source.length);
}

/** Echoes what it is sent. */
function addEchoServer(world: World, name: string, send: (packet: Uint8Array) => void): TcpHost {
  return addTcpHost(world, name, {
    admits: ({ port }) => port === TCP_PORT,
    send,
    takeEvent(tcp, event) {
      if (event.kind !== "data") return;
      tcp.take(world.now(), event.id, event.bytes.length);
      tcp.send(world.now(), event.id, event.bytes);
    },
  });
}
