/** What runs on a client's host: programs that ask for names, send packets, and hold TCP connections. */
import type { IpAddress } from "../../../src/base/index.ts";
import { type DirectQuery, encodeQuery, parseResponse, TYPE, toName } from "../../../src/dns/index.ts";
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
}

export interface ClientAccess {
  send(packet: Uint8Array): void;
  /** Answers what the resolver asked a server outside. */
  answer(query: DirectQuery): void;
}

const DNS_PORT = 53;
/** Of the resolver's client; no probe has it. */
const FIRST_QUERY_PORT = 5_000;
const ANSWER_MS = 2_000;

export function createApplication(world: World, client: string, access: ClientAccess): Application {
  const tcp = createTcpHost({ random: world.random(`tcp/${client}`), admit: () => "refuse" });
  const answers = new Map<number, Uint8Array>();
  let queries = 0;
  /** Where the host's programs ask for names: the mapping says (DN-24). */
  let sentinel: IpAddress | undefined;
  const self: Application = {
    client,
    own: [],
    sights: [],
    tcp,
    tcpEvents: [],
    takePacket(packet) {
      const { source, ports, transport } = viewPacket(packet);
      if (ports?.source === DNS_PORT && source.join() === sentinel?.join()) {
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
      if (event.event.kind === "direct-query") access.answer(event.event.query);
      if (event.event.kind === "mapping-changed") sentinel = event.event.mapping[0]?.sentinel;
    },
    flush() {
      for (let event = tcp.pollEvent(); event !== undefined; event = tcp.pollEvent()) {
        self.tcpEvents.push(event);
        if (event.kind === "data") tcp.take(world.now(), event.id, event.bytes.length);
      }
      for (let packet = tcp.pollPacket(); packet !== undefined; packet = tcp.pollPacket())
        access.send(packet);
    },
    ask(domain, family) {
      const name = toName(domain);
      const from = self.own.find(({ length }) => length === 4);
      if (name === undefined || from === undefined || sentinel === undefined) return undefined;
      const port = FIRST_QUERY_PORT + (queries++ % 1_000);
      const question = { id: port, name, type: family === 4 ? TYPE.A : TYPE.AAAA };
      answers.delete(port);
      const to = { address: sentinel, port: DNS_PORT };
      access.send(made(encodeUdp({ address: from, port }, to, encodeQuery(question))));
      world.runUntil(() => answers.has(port), ANSWER_MS);
      const response = parseResponse(answers.get(port) ?? new Uint8Array(0), question);
      return response.ok ? response.value.addresses : undefined;
    },
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
