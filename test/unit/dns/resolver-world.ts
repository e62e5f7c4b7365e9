/** A client's resolver in virtual time: queries as packets of the TUN device, servers as the test says. */
import {
  createSeededRandom,
  formatIp,
  type Instant,
  type IpAddress,
  instant,
  ip,
  type SocketAddress,
} from "../../../src/base/index.ts";
import {
  createResolver,
  type DirectQuery,
  type DirectResult,
  domainOf,
  encodeQuery,
  parseMessage,
  type Resolver,
  type ResolverConfig,
  type ResolverEvent,
  TYPE,
} from "../../../src/dns/index.ts";
import { encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import { dueUntil } from "../../lib/bounds.ts";
import { nameOf, octets } from "./octets.ts";

export const OWN = { v4: ip("100.64.0.5"), v6: ip("fd00:2021:1111::5") } as const;
export const SENTINEL = ip("100.100.111.1");
export const SENTINEL_V6 = ip("fd00:2021:1111:8000:100:100:111:1");

export const CONFIG: ResolverConfig = {
  addresses: OWN,
  patterns: [
    { rid: "wiki", pattern: "wiki.corp", ipStack: "dual" },
    { rid: "all", pattern: "*.corp", ipStack: "dual" },
    { rid: "v4", pattern: "four.example", ipStack: "ipv4_only" },
    { rid: "v6", pattern: "six.example", ipStack: "ipv6_only" },
  ],
  upstreamDo53: [],
  upstreamDoh: [],
  tunnelled: [],
};

export interface Ask {
  readonly type?: number;
  readonly to?: IpAddress;
  readonly port?: number;
  readonly id?: number;
  readonly bytes?: Uint8Array;
}

/** An answer as tests read it. */
export interface Told {
  readonly rcode: number;
  readonly isTruncated: boolean;
  readonly data: readonly string[];
  readonly bytes: Uint8Array;
  readonly from: SocketAddress;
}

function packetOf(name: string, { type = TYPE.A, to = SENTINEL, port = 40_000, id = 0x4242, bytes }: Ask) {
  const query = bytes ?? encodeQuery({ id, name: nameOf(name), type });
  const source = to.length === 4 ? OWN.v4 : OWN.v6;
  const packet = encodeUdp({ address: source, port }, { address: to, port: 53 }, query);
  if (!packet.ok) throw new Error(packet.reason);
  return packet.value;
}

const toServer = (address: string) => ({ address: ip(address) });

function packetsOf(resolver: Resolver): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (let one = resolver.pollPacket(); one !== undefined; one = resolver.pollPacket()) packets.push(one);
  return packets;
}

const answersOf = (resolver: Resolver): Told[] => packetsOf(resolver).map(toTold);

function toTold(packet: Uint8Array): Told {
  const view = viewPacket(packet);
  const bytes = view.transport.slice(8);
  const message = parseMessage(bytes);
  if (!message.ok) throw new Error(message.reason);
  const { header, answers: records } = message.value;
  const data = records.map((record) => bytes.slice(record.dataAt, record.dataAt + record.dataBytes));
  return {
    rcode: header.rcode,
    isTruncated: header.isTruncated,
    data: data.map((one) => (one.length === 4 || one.length === 16 ? formatIp(one) : domainOfData(one))),
    bytes,
    from: { address: view.source, port: view.ports?.source ?? 0 },
  };
}

/** Timer by timer until `end`. */
function passTime(resolver: Resolver, end: Instant, tick: (due: Instant) => Instant): Told[] {
  const told: Told[] = [];
  for (;;) {
    const due = dueUntil(resolver, end);
    if (due === undefined) return told;
    const now = tick(due);
    told.push(...answersOf(resolver));
    const next = resolver.pollTimeout();
    if (next !== undefined && next <= now) throw new Error("the poll law: a deadline that is past");
  }
}

type World = ReturnType<typeof createWorld>;

/** The resolver, the time, and what has come out. */
function createCore(given: Partial<ResolverConfig>) {
  const resolver = createResolver({ random: createSeededRandom(7) });
  const events: ResolverEvent[] = [];
  const direct: DirectQuery[] = [];
  const core = {
    ...{ resolver, events, direct, given },
    now: instant(1_000_000),
    drain(): void {
      for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent()) {
        events.push(event);
        if (event.kind === "direct-query") direct.push(event.query);
      }
    },
    tick(at: Instant): Instant {
      core.now = at;
      resolver.handleTimeout(at);
      core.drain();
      return at;
    },
  };
  return core;
}

type Core = ReturnType<typeof createCore>;

/** What the host and the tunnel give. */
function hostOf(core: Core) {
  const { resolver } = core;
  return {
    configure(config: Partial<ResolverConfig> = {}) {
      resolver.configure(core.now, { ...CONFIG, ...core.given, ...config });
      core.drain();
    },
    systemServers(...list: readonly string[]) {
      resolver.handleSystemResolvers(core.now, list.map(toServer));
      core.drain();
    },
    give(packet: Uint8Array): Uint8Array[] {
      if (packet.length > 0) resolver.handlePacket(core.now, packet);
      core.drain();
      return packetsOf(resolver);
    },
  };
}

/** What the servers of the direct path give. */
function serversOf(core: Core) {
  const { resolver, direct } = core;
  function result(query: DirectQuery, of: DirectResult): void {
    resolver.handleDirectResult(core.now, query.token, of);
    core.drain();
  }
  function told(query: DirectQuery, of: DirectResult): Told[] {
    result(query, of);
    return answersOf(resolver);
  }
  return {
    /** Queries that went past the tunnel since the last call. */
    sent: (): DirectQuery[] => direct.splice(0),
    reply: (query: DirectQuery, message: Uint8Array, ageS = 0): Told[] =>
      told(query, { kind: "message", message, ageS }),
    /** The same; what is answered stays in the resolver. */
    replyLater: (query: DirectQuery, message: Uint8Array): void =>
      result(query, { kind: "message", message }),
    break: (query: DirectQuery): Told[] => told(query, { kind: "failed", reason: "refused" }),
  };
}

export function createWorld(given: Partial<ResolverConfig> = {}, servers = ["192.0.2.53"]) {
  const core = createCore(given);
  const { resolver, events, drain } = core;
  const host = hostOf(core);
  const world = {
    ...{ resolver, events, drain, packetOf },
    ...host,
    ...serversOf(core),
    now: (): Instant => core.now,
    /** What comes back at once. */
    ask: (name: string, ask: Ask = {}): Told[] => host.give(packetOf(name, ask)).map(toTold),
    wait(ms: number): Told[] {
      const end = instant(core.now + ms);
      const all = passTime(resolver, end, (due) => core.tick(instant(Math.max(core.now, due))));
      core.now = end;
      return all;
    },
    /** One late tick; the packets that it sends. */
    passTime(ms: number): Uint8Array[] {
      core.tick(instant(core.now + ms));
      return packetsOf(resolver);
    },
    answers: () => answersOf(resolver),
    eventsOf<K extends ResolverEvent["kind"]>(kind: K): Extract<ResolverEvent, { kind: K }>[] {
      return events.filter((event): event is Extract<ResolverEvent, { kind: K }> => event.kind === kind);
    },
  };
  settle(world, servers);
  events.length = 0;
  return world;
}

/** The host's servers are known, and what their discovery caused is over. */
function settle(
  world: Pick<World, "systemServers" | "sent" | "wait" | "configure">,
  servers: readonly string[],
) {
  world.systemServers(...servers);
  // The probes for servers that ask us in turn are another matter.
  world.sent();
  world.wait(6_000);
  world.configure();
  world.sent();
}

function domainOfData(data: Uint8Array): string {
  const message = parseMessage(
    Uint8Array.from([...octets("0000 0000 0001 0000 0000 0000"), ...data, 0, 1, 0, 1]),
  );
  return message.ok && message.value.question ? domainOf(message.value.question.name) : "?";
}

/** The response to a query that was sent on: its question, flags, and records behind a pointer to it. */
export function responseTo(query: DirectQuery | Uint8Array, records = "", flags = "8180"): Uint8Array {
  const bytes = Uint8Array.from("message" in query ? query.message : query);
  const message = parseMessage(bytes);
  if (!message.ok) throw new Error(message.reason);
  const tail = octets(records.replaceAll(";", " "));
  const response = new Uint8Array(message.value.recordsAt + tail.length);
  response.set(bytes.subarray(0, message.value.recordsAt));
  response.set(octets(flags), 2);
  response.set([0, records === "" ? 0 : records.split(";").length, 0, 0, 0, 0], 6);
  response.set(tail, message.value.recordsAt);
  return response;
}
