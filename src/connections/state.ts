/** What the parts of the machine share: its connections, its queues, and its books. */
import {
  type DeadlineQueue,
  formatSocketAddress,
  type Histogram,
  type Instant,
  type Log,
  type Queue,
  type QueueEntry,
  type Random,
  type SocketAddress,
} from "../base/index.ts";
import type { IceAgent } from "../ice/index.ts";
import type { PlaneCommand, PlaneRecords, Publication } from "../plane/index.ts";
import type { RelayClient, RelayState } from "../turn/index.ts";
import type { PeerRef, WgDevice } from "../wireguard/index.ts";
import { RECENTLY_CLOSED_MAX, RECENTLY_CLOSED_MS } from "./constants.ts";
import type {
  ConnectionChange,
  ConnectionCommand,
  ConnectionCounter,
  ConnectionEvent,
  ConnectionRequest,
  ConnectionsOptions,
  ConnectionTimeout,
  ConnectionTransmit,
  Explanation,
  FailReason,
  PathKind,
  RelayChange,
  RelayEntry,
  StreamPlace,
  StreamRequest,
} from "./face.ts";

/** A relay and what is spoken with it (SN-109). */
export interface Relay {
  readonly id: string;
  entry: RelayEntry;
  readonly client: RelayClient;
  readonly log: Log;
  /** Removed, replaced or given up: nothing goes through it any more. */
  isGone: boolean;
  hasAnswered: boolean;
  /** Its state, as those who watch were told last (`changes.ts`). */
  noted?: RelayState;
  /** Asked again after it had given up by UDP. */
  readonly isProbe: boolean;
  /** Reached by a stream, whose bridge is its socket (RL-210). */
  readonly stream?: RelayStream;
}

export interface RelayStream {
  /** The id by which the portal lists the relay. */
  readonly relay: string;
  readonly transport: "tls" | "tcp";
  readonly name?: string;
}

/** A stream that the shell opens, or has opened. */
export interface StreamAttempt {
  readonly entry: RelayEntry;
  readonly place: StreamPlace;
  /** `undefined`: not open yet. */
  relay: Relay | undefined;
}

/** What is known of streams to relays (`streams.ts`). */
export interface StreamsState {
  /** What the portal listed last, whatever has become of it by UDP. */
  readonly listed: Map<string, RelayEntry>;
  /** By the id of the listed relay. */
  readonly attempts: Map<string, StreamAttempt>;
  readonly requests: StreamRequest[];
  /** Since when no relay has answered by UDP; `undefined`: one has, or there is none. */
  silentSince: Instant | undefined;
  /** Streams are tried again, not before. */
  retryAt: Instant | undefined;
  pauseMs: number;
  /** Relays that gave up by UDP are asked again. */
  probeAt: Instant | undefined;
  /** The stream is of no use any more. */
  leaveAt: Instant | undefined;
  /** At the latest, even if something still goes through it. */
  leaveBy: Instant | undefined;
  lastFailure: string | undefined;
  hasWarned: boolean;
}

/**
 * How datagrams travel (SN-84): from an address of ours, or as channel data through the relay that has lent
 * us `source`. The channel is the relay client's to know: it may be another one tomorrow.
 */
export interface Way {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  /** Absent: directly. */
  readonly relay: Relay | undefined;
}

/** The nominated way to the peer (SN-83). */
export interface Path extends Way {
  readonly kind: PathKind;
  readonly mtu: PathMtu;
}

/** What the path carries whole (`path-mtu.ts`). */
export interface PathMtu {
  /** The largest IP packet outside, in bytes, as far as anybody needs to know. */
  bytes: number;
  /** Who said so. */
  by: "kernel" | "check";
  check: MtuCheck;
  /** Nobody cuts up outside what is longer: it is cut up inside (TN-121). */
  isCutInside: boolean;
  /** The kernel was told what checks have shown, and remembers it until then (SN-152). */
  kernelForgetsAt?: Instant;
  /** A narrow path is worth one line. */
  hasWarned: boolean;
}

/** SN-150. `dueAt`: the next try, or what follows the last. */
export type MtuCheck =
  | {
      readonly kind: "confirming" | "searching";
      /** The largest size that is tried. */
      readonly top: number;
      /** That were sent. */
      readonly tries: number;
      /** The largest size that was answered. */
      readonly best: number | undefined;
      readonly dueAt: Instant;
    }
  | { readonly kind: "resting"; readonly dueAt: Instant };

/** SN §5.3. A failed connection is removed in the same call and therefore has no phase. */
export type Phase =
  | {
      readonly kind: "connecting";
      /** IP packets of a client that wait for the first path (SN-96). */
      readonly ipBuffer: Uint8Array[];
      /** Answers to handshakes that came before it (SN-97). */
      readonly wgBuffer: Uint8Array[];
    }
  | {
      readonly kind: "connected";
      readonly path: Path;
      /** Both directions and all triggers; the plane's stamps may be later (SN-76, SN-129). */
      readonly lastActivity: Instant;
    }
  | {
      readonly kind: "idle";
      readonly path: Path;
      /** The plane's last data stamp when idling began: a later one means it began too early. */
      readonly stampAtStart: number;
    };

export interface Connection extends QueueEntry {
  readonly id: string;
  readonly request: ConnectionRequest;
  readonly createdAt: Instant;
  readonly agent: IceAgent;
  readonly peer: PeerRef;
  readonly log: Log;
  phase: Phase;
  /** Set while ICE has nothing left to try (SN-90). */
  disconnectedAt: Instant | undefined;
  lastRolloverAt: Instant | undefined;
  hasBeenEstablished: boolean;
  isSuspect: boolean;
  /** The relay whose addresses this connection offers; none until one is known (SN-110, SN-138). */
  relay: Relay | undefined;
  /** Whether the plane has a path by which nothing can be sent (SN-89). */
  isBroken: boolean;
  /** The channel in the plane's record of a relayed path. */
  publishedChannel: number | undefined;
  /** Whether the plane knows the slot: only then may other commands name it. */
  isAnnounced: boolean;
  /** STUN, directly and through relays, their headers included (SN-136). */
  stunBytesSent: number;
  stunBytesRelayed: number;
  /** What was dropped of it or for it; all connections together are `counters` of the state. */
  readonly drops: Partial<Record<ConnectionCounter, number>>;
  dueReason: ConnectionTimeout;
}

/** A route whose hold word stays set until its tables are carried out (`commands.ts`). */
export interface Opening {
  readonly publication: Publication;
  /** The device's last release, which waits. */
  readonly release: Extract<PlaneCommand, { readonly kind: "release" }> | undefined;
}

export interface Closed {
  readonly id: string;
  readonly peerId: number;
  readonly at: Instant;
}

/** A closed peer that the plane keeps until its goodbye has left (SN-106). */
export interface Farewell {
  readonly peer: PeerRef;
  readonly dueAt: Instant;
}

export interface ConnectionsState {
  readonly options: ConnectionsOptions;
  readonly log: Log;
  readonly random: Random;
  readonly records: PlaneRecords;
  readonly device: WgDevice;
  readonly byId: Map<string, Connection>;
  readonly bySlot: Map<number, Connection>;
  /** Several connections may share a pair of fragments (SN-14). */
  readonly byFragments: Map<string, readonly Connection[]>;
  readonly byTransaction: Map<string, Connection>;
  readonly queue: DeadlineQueue<Connection>;
  /** In the order in which they must be carried out (`commands.ts`). */
  readonly commands: Queue<ConnectionCommand>;
  /** Routes that are opening, by slot. */
  readonly openings: Map<number, Opening>;
  readonly transmits: Queue<ConnectionTransmit>;
  readonly events: Queue<ConnectionEvent>;
  /** Connections whose path record must be published. */
  readonly unpublished: Set<Connection>;
  readonly farewells: Queue<Farewell>;
  readonly closed: Closed[];
  readonly counters: Record<ConnectionCounter, number>;
  readonly failures: Record<FailReason, number>;
  readonly handshakes: Record<"established" | "expired" | "undecryptable", number>;
  /** How long ours took. */
  readonly handshakeMs: Histogram;
  /** The last words of connections that failed, until there is a path to the peer again. */
  readonly failed: Map<string, Explanation>;
  /** For those who watch (`changes.ts`). */
  readonly changes: ConnectionChange[];
  readonly relayChanges: RelayChange[];
  /** Where datagrams that await a cookie reply arrived, by their source. */
  readonly cookieLocals: Map<string, SocketAddress>;
  hostAddresses: readonly SocketAddress[];
  readonly relays: Map<string, Relay>;
  /** The same by each of their sockets. */
  readonly relayAt: Map<string, Relay>;
  /** Relays by stream (RL-208). */
  readonly streams: StreamsState;
  /** IP addresses of relays that were left, the oldest first (SN-99). */
  readonly formerRelays: string[];
  /** When the relays are told that we leave: behind the last goodbye (RL-113). */
  leaveRelaysAt: Instant | undefined;
  relayBytesSent: number;
  /** Wall clock minus monotonic clock: credentials of relays expire by it. */
  unixOffsetMs: number;
  now: Instant;
  pathGeneration: number;
  strangers: { readonly since: Instant; readonly count: number } | undefined;
}

/** Starts an input: time never runs backwards (SN-119). */
export function enter(state: ConnectionsState, now: Instant): Instant {
  if (now > state.now) state.now = now;
  return state.now;
}

/** @param connection whose it was, as far as that is known */
export function count(
  state: ConnectionsState,
  counter: ConnectionCounter,
  connection?: Pick<Connection, "drops">,
): void {
  state.counters[counter]++;
  if (connection !== undefined) connection.drops[counter] = (connection.drops[counter] ?? 0) + 1;
}

/** `cid` at a gateway, `gid` at a client (SN-131). */
export function idField(state: ConnectionsState, id: string): Readonly<Record<string, string>> {
  return state.options.role === "gateway" ? { cid: id } : { gid: id };
}

export function fragmentsOf({ localCredentials, remoteCredentials }: ConnectionRequest): string {
  return fragmentsKey(localCredentials.username, remoteCredentials.username);
}

export function fragmentsKey(local: string, remote: string): string {
  return `${local}:${remote}`;
}

export function rememberClosed(state: ConnectionsState, connection: Connection): void {
  state.closed.push({ id: connection.id, peerId: connection.peer.peerId, at: state.now });
  if (state.closed.length > RECENTLY_CLOSED_MAX) state.closed.shift();
}

/** SN-103: looked up, not timed. */
export function wasRecentlyClosed(state: ConnectionsState, isMeant: (closed: Closed) => boolean): boolean {
  while (state.closed[0] !== undefined && state.now - state.closed[0].at >= RECENTLY_CLOSED_MS)
    state.closed.shift();
  return state.closed.some(isMeant);
}

/** The time of the last data packet, either direction, as the plane stamped it (SN-129). */
export function planeActivity(state: ConnectionsState, connection: Connection): number {
  const { sentData, recvData } = state.records.activity(connection.peer.slot);
  return Math.max(sentData, recvData);
}

export function pathOf(connection: Connection | undefined): Path | undefined {
  const phase = connection?.phase;
  return phase === undefined || phase.kind === "connecting" ? undefined : phase.path;
}

export function formatPath(path: Path): string {
  return `${path.kind} ${formatSocketAddress(path.source)} ${formatSocketAddress(path.destination)}`;
}
