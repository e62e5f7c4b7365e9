/** What runs on a client's host: programs that ask for names, send packets, and hold TCP connections. */
import type { IpAddress } from "../../../src/base/index.ts";
import {
  checkQuery,
  type DirectQuery,
  type DnsMessage,
  domainOf,
  encodeQuery,
  isSentinelRange,
  parseMessage,
  parseResponse,
  type SentinelMapping,
  TYPE,
  toName,
} from "../../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import { createTcpHost, type TcpEvent, type TcpHost } from "../../../src/tcp/index.ts";
import type { TunnelClientEvent } from "../../../src/tunnel/index.ts";
import type { World } from "../../sim/world.ts";
import { made, readPacket, type Sight } from "./packets.ts";

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
  /** Asks one of the servers that the host knows, for records of any type. */
  query(to: IpAddress, domain: string, type: number, withinMs: number): DnsMessage | undefined;
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
  readonly upstream: DirectQuery["upstream"];
}

export interface ClientAccess {
  send(packet: Uint8Array): void;
  /** Answers what the resolver asked a server outside. */
  answer(query: DirectQuery): void;
}

type Question = Parameters<typeof encodeQuery>[0];

const DNS_PORT = 53;
/** Of the resolver's client; no probe has it. */
const FIRST_QUERY_PORT = 5_000;
const ANSWER_MS = 2_000;

export function createApplication(world: World, client: string, access: ClientAccess): Application {
  const tcp = createTcpHost({ random: world.random(`tcp/${client}`), admit: () => "refuse" });
  const answers = new Map<number, Uint8Array>();
  const self: Application = {
    client,
    own: [],
    sights: [],
    tcp,
    tcpEvents: [],
    dns: { mapping: [], searchDomain: undefined },
    direct: [],
    takePacket(packet) {
      const { source, ports, transport } = viewPacket(packet);
      if (ports?.source === DNS_PORT && isSentinelRange(source)) {
        answers.set(ports.destination, transport.slice(8));
        return;
      }
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
      const { message, upstream } = event.event.query;
      const asked = checkQuery(message);
      if (asked.kind === "query") self.direct.push({ domain: domainOf(asked.query.question.name), upstream });
      access.answer(event.event.query);
    },
    flush() {
      for (let event = tcp.pollEvent(); event !== undefined; event = tcp.pollEvent()) {
        self.tcpEvents.push(event);
        if (event.kind === "data") tcp.take(world.now(), event.id, event.bytes.length);
      }
      for (let packet = tcp.pollPacket(); packet !== undefined; packet = tcp.pollPacket())
        access.send(packet);
    },
    ...asking(world, access, answers, () => self),
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

/** The part of the host that asks for names; its answers lie in `answers`, by the port that asked. */
function asking(
  world: World,
  access: ClientAccess,
  answers: Map<number, Uint8Array>,
  host: () => Pick<Application, "own" | "dns">,
): Pick<Application, "ask" | "query"> {
  let queries = 0;
  const send = (to: IpAddress, question: Question, withinMs: number): Uint8Array | undefined => {
    const from = host().own.find(({ length }) => length === to.length);
    if (from === undefined) return undefined;
    const { id } = question;
    answers.delete(id);
    const query = encodeQuery(question);
    access.send(made(encodeUdp({ address: from, port: id }, { address: to, port: DNS_PORT }, query)));
    world.runUntil(() => answers.has(id), withinMs);
    return answers.get(id);
  };
  const questionOf = (domain: string, type: number): Question | undefined => {
    const name = toName(domain);
    return name && { id: FIRST_QUERY_PORT + (queries++ % 1_000), name, type };
  };
  return {
    ask(domain, family) {
      const question = questionOf(domain, family === 4 ? TYPE.A : TYPE.AAAA);
      const to = host().dns.mapping[0]?.sentinel;
      if (question === undefined || to === undefined) return undefined;
      const response = parseResponse(send(to, question, ANSWER_MS) ?? new Uint8Array(0), question);
      return response.ok ? response.value.addresses : undefined;
    },
    query(to, domain, type, withinMs) {
      const question = questionOf(domain, type);
      const message = parseMessage((question && send(to, question, withinMs)) ?? new Uint8Array(0));
      return message.ok ? message.value : undefined;
    },
  };
}
