/** Programs of a client's host that ask for names: over UDP and over TCP, one thing or several at once (TN-98). */
import { equalIp, type Instant, type IpAddress } from "../../../src/base/index.ts";
import {
  DNS_PORT,
  type DnsMessage,
  encodeQuery,
  isSentinelRange,
  type Name,
  parseMessage,
  toName,
} from "../../../src/dns/index.ts";
import { encodeUdp, PROTOCOL, viewPacket } from "../../../src/packet/index.ts";
import type { TcpEvent, TcpHost } from "../../../src/tcp/index.ts";
import type { World } from "../../sim/world.ts";
import { createUnframer, framed } from "./dns-streams.ts";
import { made, readPacket } from "./packets.ts";

export interface Ask {
  /** A sentinel. */
  readonly to: IpAddress;
  readonly domain: string;
  readonly type: number;
  readonly transport: "udp" | "tcp";
  /** Absent: that of its port. */
  readonly id?: number;
}

export interface AskOptions {
  readonly withinMs: number;
  /** Those to the same server over TCP go by one connection. */
  readonly isPipelined?: boolean;
}

export interface Asking {
  /** All at once. @returns for each what was answered, in order; it is to be one message */
  askAll(asks: readonly Ask[], options: AskOptions): readonly (readonly DnsMessage[])[];
  /**
   * Whether a server may hear of this at `since` or later though nobody asks it any more: nobody waited for the answer,
   * or its second transmission was under way when the answer came (DN-66).
   */
  mayLinger(asked: Pick<Ask, "domain" | "type"> & { readonly transport: string }, since: Instant): boolean;
  /** `undefined`: it is no answer of a sentinel; else what is wrong with it, or nothing. */
  takePacket(packet: Uint8Array): string | undefined;
  /** Whether it is about a connection of these programs. */
  takeEvent(event: TcpEvent): boolean;
}

export interface AskingAccess {
  send(packet: Uint8Array): void;
  /** The host's, whose packets to programs that ask come here by `takeEvent` only. */
  readonly tcp: TcpHost;
  /** Sends what its TCP has ready. */
  flush(): void;
  /** The host's address of a family, by its octets. */
  own(octets: number): IpAddress | undefined;
}

interface Pending {
  readonly ask: Ask;
  readonly id: number;
  readonly name: Name;
  /** Of UDP. */
  readonly port: number;
  readonly answers: DnsMessage[];
}

interface Connection {
  readonly server: string;
  readonly id: number;
  readonly unframe: (bytes: Uint8Array) => readonly Uint8Array[];
  readonly pending: Pending[];
}

interface State extends AskingAccess {
  readonly world: World;
  asked: number;
  pending: readonly Pending[];
  connections: Connection[];
  /** UDP ports that have their answer. */
  readonly answered: Set<number>;
  /** `domain type` */
  readonly givenUp: Set<string>;
  /** Until when servers may hear of it a second time, over UDP, by `domain type`. */
  readonly repeated: Map<string, number>;
}

/** No probe has them. */
const FIRST_PORT = 5_000;
const PORTS = 1_000;

export function createAsking(world: World, access: AskingAccess): Asking {
  const state: State = {
    ...{ ...access, world, asked: 0 },
    ...{ pending: [], connections: [], answered: new Set(), givenUp: new Set(), repeated: new Map() },
  };
  return {
    askAll: (asks, options) => askAll(state, asks, options),
    mayLinger({ domain, type, transport }, since) {
      const key = `${domain} ${type}`;
      return state.givenUp.has(key) || (transport === "udp" && (state.repeated.get(key) ?? 0) >= since);
    },
    takePacket: (packet) => takePacket(state, packet),
    takeEvent: (event) => takeEvent(state, event),
  };
}

function askAll(state: State, asks: readonly Ask[], options: AskOptions): readonly (readonly DnsMessage[])[] {
  const { world, tcp } = state;
  state.pending = asks.map((ask) => toPending(state, ask));
  for (const pending of state.pending) {
    if (pending.ask.transport === "udp") sendUdp(state, pending);
    else sendTcp(state, pending, options.isPipelined ?? false);
  }
  state.flush();
  const { pending } = state;
  world.runUntil(() => pending.every(({ answers }) => answers.length > 0), options.withinMs);
  for (const { id } of state.connections) tcp.end(world.now(), id);
  state.connections = [];
  state.pending = [];
  state.flush();
  for (const { ask, answers } of pending) {
    const key = `${ask.domain} ${ask.type}`;
    if (answers.length === 0) state.givenUp.add(key);
    else if (ask.transport === "udp") state.repeated.set(key, world.now() + options.withinMs);
  }
  return pending.map(({ answers }) => answers);
}

function toPending(state: State, ask: Ask): Pending {
  const port = FIRST_PORT + (state.asked++ % PORTS);
  const name = toName(ask.domain);
  if (name === undefined) throw new Error(`not a name: ${ask.domain}`);
  state.answered.delete(port);
  return { ask, name, port, id: ask.id ?? port, answers: [] };
}

function sendUdp({ own, send }: State, { ask, id, name, port }: Pending): void {
  const address = own(ask.to.length);
  if (address === undefined) return;
  const query = encodeQuery({ id, name, type: ask.type });
  send(made(encodeUdp({ address, port }, { address: ask.to, port: DNS_PORT }, query)));
}

function sendTcp(state: State, pending: Pending, isPipelined: boolean): void {
  const { ask, id, name } = pending;
  const server = ask.to.join();
  const open = isPipelined ? state.connections.find((one) => one.server === server) : undefined;
  const connection = open ?? connect(state, ask.to);
  if (connection === undefined) return;
  connection.pending.push(pending);
  // TCP keeps it until the connection is there.
  state.tcp.send(state.world.now(), connection.id, framed(encodeQuery({ id, name, type: ask.type })));
}

function connect(state: State, to: IpAddress): Connection | undefined {
  const address = state.own(to.length);
  if (address === undefined) return undefined;
  const remote = { address: to, port: DNS_PORT };
  const id = state.tcp.connect(state.world.now(), { address, port: 0 }, remote);
  if (id === undefined) return undefined;
  const connection = { server: to.join(), id, unframe: createUnframer(), pending: [] };
  state.connections.push(connection);
  return connection;
}

function takePacket(state: State, packet: Uint8Array): string | undefined {
  const { source, ports, transport, protocol } = viewPacket(packet);
  if (protocol !== PROTOCOL.udp || ports?.source !== DNS_PORT || !isSentinelRange(source)) return undefined;
  const sight = readPacket(packet);
  if (sight.kind === "other") return sight.why;
  const port = ports.destination;
  if (state.answered.has(port)) return `a second answer at port ${port}`;
  const pending = state.pending.find((one) => one.port === port && one.ask.transport === "udp");
  // Whoever asked has given up.
  if (pending === undefined) return "";
  if (!equalIp(pending.ask.to, source)) return `an answer of another server at port ${port}`;
  state.answered.add(port);
  return takeAnswer([pending], transport.slice(8));
}

/** @returns what is wrong with it; empty if nothing is */
function takeAnswer(asked: readonly Pending[], bytes: Uint8Array): string {
  const message = parseMessage(bytes);
  if (!message.ok) return `a malformed answer: ${message.reason}`;
  const { header, question } = message.value;
  const its = asked.filter(
    ({ id, name, ask }) => id === header.id && name.key === question?.name.key && ask.type === question.type,
  );
  // Of equal ones by one connection, whose IDs are equal too, either may be meant.
  const pending = its.find(({ answers }) => answers.length === 0) ?? its[0];
  if (pending === undefined || !header.isResponse) return `an answer to nothing that was asked: ${bytes}`;
  pending.answers.push(message.value);
  return "";
}

function takeEvent(state: State, event: TcpEvent): boolean {
  const connection = state.connections.find(({ id }) => id === event.id);
  if (connection === undefined) return false;
  if (event.kind !== "data") return true;
  state.tcp.take(state.world.now(), event.id, event.bytes.length);
  for (const bytes of connection.unframe(event.bytes)) {
    const wrong = takeAnswer(connection.pending, bytes);
    if (wrong !== "") throw new Error(wrong);
  }
  return true;
}
