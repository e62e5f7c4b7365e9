/** What runs on a client's host: programs that ask for names, send packets, and hold TCP connections. */
import type { IpAddress } from "../../../src/base/index.ts";
import {
  checkQuery,
  type DirectQuery,
  type DnsMessage,
  domainOf,
  type SentinelMapping,
  TYPE,
} from "../../../src/dns/index.ts";
import { createTcpHost, type TcpEvent, type TcpHost } from "../../../src/tcp/index.ts";
import type { TunnelClientEvent } from "../../../src/tunnel/index.ts";
import type { World } from "../../sim/world.ts";
import { type Asking, createAsking } from "./asking.ts";
import { readPacket, type Sight } from "./packets.ts";

export interface Application {
  readonly client: string;
  /** Its tunnel addresses. */
  own: readonly IpAddress[];
  /** What came back, in order. */
  readonly sights: Sight[];
  readonly tcp: TcpHost;
  /** What its TCP has said, in order. */
  readonly tcpEvents: TcpEvent[];
  takePacket(packet: Uint8Array): void;
  takeEvent(event: TunnelClientEvent): void;
  /** Sends what its TCP has ready. */
  flush(): void;
  /** Asks the resolver; `undefined`: no answer within two seconds. */
  ask(domain: string, family: 4 | 6): readonly IpAddress[] | undefined;
  /** Asks servers that the host knows, for records of any type, by either transport. */
  readonly askAll: Asking["askAll"];
  readonly mayLinger: Asking["mayLinger"];
  /** What the host has been told of names (DN-24). */
  dns: HostDns;
  /** What the resolver has asked servers outside, in order. */
  readonly direct: DirectlyAsked[];
}

export interface HostDns {
  readonly mapping: readonly SentinelMapping[];
  readonly searchDomain: string | undefined;
}

export interface DirectlyAsked {
  readonly domain: string;
  readonly type: number;
  readonly upstream: DirectQuery["upstream"];
  readonly transport: DirectQuery["transport"];
}

export interface ClientAccess {
  send(packet: Uint8Array): void;
  /** Answers what the resolver asked a server outside. */
  answer(query: DirectQuery): void;
}

const ANSWER_MS = 2_000;

export function createApplication(world: World, client: string, access: ClientAccess): Application {
  const tcp = createTcpHost({ random: world.random(`tcp/${client}`), admit: () => "refuse" });
  const asking = createAsking(world, {
    tcp,
    send: access.send,
    flush: () => self.flush(),
    own: (octets) => self.own.find(({ length }) => length === octets),
  });
  const self: Application = {
    client,
    own: [],
    sights: [],
    tcp,
    tcpEvents: [],
    dns: { mapping: [], searchDomain: undefined },
    direct: [],
    takePacket(packet) {
      const wrong = asking.takePacket(packet);
      if (wrong === "") return;
      if (wrong !== undefined) return void self.sights.push({ kind: "other", why: wrong });
      const sight = readPacket(packet);
      if (sight.kind !== "tcp") return void self.sights.push(sight);
      tcp.handlePacket(world.now(), packet);
      world.at(0, self.flush);
    },
    takeEvent(event) {
      if (event.kind === "interface") self.own = event.interface.addresses;
      if (event.kind !== "dns") return;
      if (event.event.kind === "mapping-changed") self.dns = event.event;
      if (event.event.kind !== "direct-query") return;
      const { message, upstream, transport } = event.event.query;
      const asked = checkQuery(message);
      if (asked.kind === "query") {
        const { name, type } = asked.query.question;
        self.direct.push({ domain: domainOf(name), type, upstream, transport });
      }
      access.answer(event.event.query);
    },
    flush() {
      for (let event = tcp.pollEvent(); event !== undefined; event = tcp.pollEvent()) {
        if (asking.takeEvent(event)) continue;
        self.tcpEvents.push(event);
        if (event.kind === "data") tcp.take(world.now(), event.id, event.bytes.length);
      }
      for (let packet = tcp.pollPacket(); packet !== undefined; packet = tcp.pollPacket())
        access.send(packet);
    },
    ask: (domain, family) => ask(asking, self.dns.mapping[0]?.sentinel, domain, family),
    askAll: asking.askAll,
    mayLinger: asking.mayLinger,
  };
  const host = world.addHost(`programs of ${client}`, { addresses: [] });
  host.program = {
    handleDatagram: () => {},
    handleTimeout: (now) => tcp.handleTimeout(now),
    pollTimeout: () => tcp.pollTimeout(),
    pollTransmit: () => undefined,
    drain: self.flush,
  };
  return self;
}

/** Addresses of a name, as most programs ask for them. */
function ask(
  asking: Asking,
  to: IpAddress | undefined,
  domain: string,
  family: 4 | 6,
): readonly IpAddress[] | undefined {
  if (to === undefined) return undefined;
  const type = family === 4 ? TYPE.A : TYPE.AAAA;
  const [answers] = asking.askAll([{ to, domain, type, transport: "udp" }], { withinMs: ANSWER_MS });
  const message = answers?.[0];
  return message && recordsIn(message, type);
}

/** The data of an answer's records of a type, in order. */
export function recordsIn({ bytes, answers }: DnsMessage, type: number): readonly Uint8Array[] {
  return answers
    .filter((record) => record.type === type)
    .map(({ dataAt, dataBytes }) => bytes.slice(dataAt, dataAt + dataBytes));
}
