/** What the parts of the resolver share. */
import {
  createDeadlineQueue,
  type DeadlineQueue,
  type Instant,
  type IpAddress,
  type Log,
  type LogEmit,
  type QueueEntry,
  type Random,
  type SocketAddress,
} from "../base/index.ts";
import type { TcpHost } from "../tcp/index.ts";
import { type Assignments, createAssignments } from "./assignments.ts";
import { type Cache, createCache } from "./cache.ts";
import { addressKey } from "./pools.ts";
import type { Query, QueryFault } from "./query.ts";
import type {
  DirectTransport,
  Do53Server,
  QueryDecision,
  ResolverConfig,
  ResolverEvent,
  ResolverOptions,
  SentinelMapping,
  TransportFlow,
  Upstream,
} from "./resolver-face.ts";
import { listResourceNames, type NamedResource, type ResourceNames } from "./resource-names.ts";
import type { ChosenUpstreams } from "./upstreams.ts";

/** Who has asked, and gets the answer. */
export type Asker =
  | { readonly kind: "udp"; readonly sentinel: SocketAddress; readonly peer: SocketAddress }
  | { readonly kind: "tcp"; readonly stream: number }
  | { readonly kind: "lookup"; readonly token: number }
  /** A question of our own, to see whether it comes back to us (DN-26). */
  | { readonly kind: "loop-probe"; readonly upstream: string };

/** Where a query is asked next. */
export type Route =
  | {
      readonly kind: "direct";
      readonly upstream: Exclude<Upstream, { readonly kind: "none" }>;
      readonly transport: DirectTransport;
    }
  /** Attempts go round the servers: a gateway may have one family only (DN-66). */
  | {
      readonly kind: "tunnel";
      readonly servers: readonly SocketAddress[];
      readonly transport: "udp" | "tcp";
    }
  /** For the connection to the site (DN-66). */
  | { readonly kind: "waiting"; readonly rid: string; readonly isV6First: boolean };

export type Attempt = { readonly id: number; readonly server: string } & (
  | { readonly kind: "direct"; readonly token: number }
  | { readonly kind: "tunnel"; readonly port: number }
  | { readonly kind: "stream"; readonly stream: number }
);

/** Somebody who waits for an answer: with an ID, a time and a way of its own. */
export interface Waiter {
  readonly asker: Asker;
  readonly query: Query;
  readonly decision: QueryDecision;
  readonly repeatKey: string | undefined;
  readonly deadlineAt: Instant;
}

/** A query that somebody else must answer, for all who ask the same meanwhile (DN-70). */
export interface Flight extends QueueEntry {
  /** The first one's: what is sent. */
  readonly query: Query;
  readonly asker: Asker;
  /** In the order in which they asked, which is that of their deadlines. */
  waiters: readonly Waiter[];
  readonly startedAt: Instant;
  /** What others who may join it have in common with it; absent: nobody may. */
  readonly joinKey: string | undefined;
  route: Route;
  attempts: readonly Attempt[];
  retransmitAt: Instant | undefined;
  /** When it was last sent, so that repetitions do not multiply it (DN-70). */
  sentAt: Instant;
}

/** A local port of the tunnel path, while answers to it may come. */
export interface TunnelPort {
  readonly flow: TransportFlow;
  /** Of UDP, which has a port for each attempt. Absent: over, and late answers are dropped. */
  flight: Flight | undefined;
}

/** A connection to a name server through the tunnel, shared by its queries (DN-69). */
export interface TunnelStream {
  readonly id: number;
  readonly server: string;
  readonly port: number;
  /** What has come and is no whole answer yet. */
  unread: Uint8Array<ArrayBuffer>;
  /** By the ID that they have there. */
  readonly inFlight: Map<number, Flight>;
  /** Until others are answered. */
  readonly waiting: Set<Flight>;
  /** IDs of queries that were given up: their answers may still come. */
  readonly expired: Set<number>;
  /** When it is closed, if nobody asks until then. */
  idleAt: Instant | undefined;
}

/** A connection of the TCP front end, as framing sees it. */
export interface TcpStream extends QueueEntry {
  readonly id: number;
  readonly sentinel: IpAddress;
  /** What has come and is no whole query yet, or may not be one now. */
  unread: Uint8Array<ArrayBuffer>;
  /** How many octets of it the window has been opened for already. */
  taken: number;
  unanswered: number;
  /** The asker has no more to ask. */
  isEnded: boolean;
}

export type ResolverCounter =
  | QueryFault
  | "dns_queries_udp"
  | "dns_queries_tcp"
  | "dns_queries_llmnr"
  | "dns_queries_lookup"
  | "dns_drop_unmapped"
  | "dns_drop_source"
  | "dns_drop_other"
  | "dns_local"
  | "dns_cached"
  | "dns_cache_miss"
  | `dns_row_${number}`
  | `dns_rcode_${number}`
  | "dns_forwarded_direct"
  | "dns_forwarded_tunnel"
  | "dns_site"
  | "dns_servfail"
  | "dns_deadline"
  | "dns_retransmit"
  | "dns_stray"
  | "dns_truncated"
  | "dns_joined"
  | "dns_overload"
  | "dns_site_overflow"
  | "dns_loop";

export interface ResolverState {
  readonly random: Random;
  readonly log: Log;
  readonly wire: LogEmit | undefined;
  config: ResolverConfig;
  /** Before that nobody is told of sentinels: nothing leads to them yet (DN-96). */
  isConfigured: boolean;
  system: readonly Do53Server[];
  names: ResourceNames;
  chosen: ChosenUpstreams;
  mapping: readonly SentinelMapping[];
  /** Sentinels of the mapping before, which the host may still ask (DN-22). */
  retired: { readonly sentinels: ReadonlySet<string>; readonly until: Instant } | undefined;
  readonly assignments: Assignments;
  readonly cache: Cache;
  readonly flights: DeadlineQueue<Flight>;
  readonly active: { readonly direct: Set<Flight>; readonly tunnel: Set<Flight> };
  readonly byToken: Map<number, Flight>;
  readonly byRepeat: Map<string, Flight>;
  /** The youngest of those that may be joined. */
  readonly byJoin: Map<string, Flight>;
  readonly waiting: Map<string, Set<Flight>>;
  /** IDs of queries in flight, by server (DN-61). */
  readonly ids: Map<string, Set<number>>;
  readonly ports: Map<number, TunnelPort>;
  readonly tunnelTcp: TcpHost;
  readonly tunnelStreams: Map<number, TunnelStream>;
  /** Ports that are over, the oldest first, and when they are forgotten. */
  readonly lingering: Map<number, Instant>;
  readonly probes: Map<string, { readonly upstream: string; readonly until: Instant }>;
  readonly looping: Set<string>;
  nextToken: number;
  readonly tcp: TcpHost;
  readonly streams: Map<number, TcpStream>;
  /** Connections without a query for a while (DN-90). */
  readonly idle: DeadlineQueue<TcpStream>;
  readonly tcpAnswers: { readonly stream: number; readonly bytes: Uint8Array }[];
  readonly packets: Uint8Array<ArrayBuffer>[];
  readonly tunnelPackets: Uint8Array<ArrayBuffer>[];
  readonly events: ResolverEvent[];
  readonly counters: Map<ResolverCounter, number>;
  readonly said: Map<string, Instant>;
}

const SAY_AGAIN_MS = 60_000;

/** The TCP of the sentinels, and that of the tunnel path. */
export interface TcpHosts {
  readonly front: TcpHost;
  readonly tunnel: TcpHost;
}

export function createResolverState(
  { random, log, wire }: Required<ResolverOptions>,
  tcp: TcpHosts,
): ResolverState {
  return {
    random,
    log,
    wire,
    config: { addresses: {}, patterns: [], upstreamDo53: [], upstreamDoh: [], tunnelled: [] },
    isConfigured: false,
    system: [],
    names: listResourceNames([], log),
    chosen: { upstreams: [], isCustom: false },
    mapping: [],
    retired: undefined,
    assignments: createAssignments(),
    cache: createCache(),
    flights: createDeadlineQueue(),
    active: { direct: new Set(), tunnel: new Set() },
    byToken: new Map(),
    byRepeat: new Map(),
    byJoin: new Map(),
    waiting: new Map(),
    ids: new Map(),
    ports: new Map(),
    tunnelTcp: tcp.tunnel,
    tunnelStreams: new Map(),
    lingering: new Map(),
    probes: new Map(),
    looping: new Set(),
    nextToken: 1,
    tcp: tcp.front,
    streams: new Map(),
    idle: createDeadlineQueue(),
    tcpAnswers: [],
    packets: [],
    tunnelPackets: [],
    events: [],
    counters: new Map(),
    said: new Map(),
  };
}

export function count({ counters }: ResolverState, name: ResolverCounter): void {
  counters.set(name, (counters.get(name) ?? 0) + 1);
}

/** Whether something is worth a line: each kind once a minute (DN-112). */
export function maySay({ said }: ResolverState, now: Instant, kind: string): boolean {
  const last = said.get(kind);
  if (last !== undefined && now - last < SAY_AGAIN_MS) return false;
  said.set(kind, now);
  return true;
}

/** Our tunnel address of the same family. */
export function ownAddress({ config }: ResolverState, like: IpAddress): IpAddress | undefined {
  return like.length === 4 ? config.addresses.v4 : config.addresses.v6;
}

/** Whom a sentinel asks; that of the mapping before asks the first one for a while (DN-22). */
export function upstreamOf(state: ResolverState, now: Instant, sentinel: IpAddress): Upstream | undefined {
  const key = addressKey(sentinel);
  const mapped = state.mapping.find((one) => addressKey(one.sentinel) === key);
  if (mapped !== undefined) return mapped.upstream;
  const { retired } = state;
  const isServed = retired !== undefined && now < retired.until && retired.sentinels.has(key);
  return isServed ? state.mapping[0]?.upstream : undefined;
}

/** Whether both the resource and the device have addresses of a family. */
export function hasFamily({ config }: ResolverState, { ipStack }: NamedResource, family: 4 | 6): boolean {
  if (family === 4) return ipStack !== "ipv6_only" && config.addresses.v4 !== undefined;
  return ipStack !== "ipv4_only" && config.addresses.v6 !== undefined;
}
