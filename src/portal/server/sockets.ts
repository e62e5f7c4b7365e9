/**
 * Who is connected: sockets, what was pushed to them, pings and silence (PT-74, PT-75).
 */
import {
  after,
  createQueue,
  earliest,
  type Instant,
  type IpAddress,
  type Queue,
  type SocketAddress,
} from "../../base/index.ts";
import type { ChannelEvent, Topic } from "../protocol/index.ts";
import { toFrameText } from "../protocol/index.ts";
import type { TokenRecord } from "./model.ts";

/** What the shell carries out. */
export type ServerTransmit =
  | { readonly kind: "text"; readonly socket: number; readonly text: string }
  | { readonly kind: "ping"; readonly socket: number }
  /** A close frame; what was pushed before it goes first. */
  | { readonly kind: "close"; readonly socket: number; readonly code: number; readonly reason: string };

/**
 * `open`: no join yet. `joined`: present, but `init` waits until the peer is on disk (PT-115).
 * `ready`: `init` went out, and every change follows it.
 */
export type SocketStage = "open" | "joined" | "ready";

/** A resource as it was last shown to a client: what a change means depends on what changed (PT-90). */
export interface ShownResource {
  /** Kind, address, stack and sites: another of these is another resource. */
  readonly identity: string;
  /** All of it. */
  readonly text: string;
}

export interface PeerSocket {
  readonly id: number;
  readonly kind: Topic;
  /** Id of the device or gateway; for a relay that of the socket. */
  readonly peerId: string;
  readonly token: TokenRecord;
  readonly remote: IpAddress;
  /** Of a relay: where it is asked. */
  readonly relayAddresses?: readonly SocketAddress[];
  /** `init` waits for this revision of the store. */
  readonly needsRevision: number;
  readonly openedAt: Instant;
  stage: SocketStage;
  lastHeardAt: Instant;
  pingAt: Instant;
  faultyFrames: number;
  /** What came between the join and `init`; it is read afterwards. */
  early: string[];
  /** Clients: the resources of `init` and of all changes since. */
  shown: Map<string, ShownResource>;
}

export interface SocketTable {
  open(
    now: Instant,
    of: Pick<PeerSocket, "kind" | "peerId" | "token" | "remote" | "relayAddresses" | "needsRevision">,
  ): PeerSocket;
  get(id: number): PeerSocket | undefined;
  /** The present socket of a peer, in whatever stage. */
  ofPeer(kind: Topic, peerId: string): PeerSocket | undefined;
  /** The socket of a client or gateway, if it is past its `init`. */
  readyPeer(kind: Topic, peerId: string): PeerSocket | undefined;
  all(): Iterable<PeerSocket>;
  gateways(): Iterable<PeerSocket>;
  countOfToken(hash: string): number;
  /** Removes a socket that has ended; returns it if it was there. */
  remove(id: number): PeerSocket | undefined;
  push(socket: PeerSocket, event: ChannelEvent): void;
  send(socket: PeerSocket, text: string): void;
  /** Closes a socket and forgets it at once: nothing is pushed to it any more. */
  close(socket: PeerSocket, code: number, reason: string): void;
  /** Pings who is due and returns who was silent for too long or never joined. */
  handleTimeout(now: Instant): readonly PeerSocket[];
  pollTimeout(): Instant | undefined;
  pollTransmit(): ServerTransmit | undefined;
  /** How often each event was pushed. */
  readonly pushes: ReadonlyMap<string, number>;
}

/** How often each kind is pinged, and how long it may be silent (PT-75). */
const PATIENCE: Readonly<Record<Topic, { readonly pingMs: number; readonly silenceMs: number }>> = {
  client: { pingMs: 30_000, silenceMs: 90_000 },
  gateway: { pingMs: 10_000, silenceMs: 25_000 },
  relay: { pingMs: 10_000, silenceMs: 25_000 },
};

/** A peer joins at once; a socket that does not is holding a place for nothing. */
const JOIN_WITHIN_MS = 15_000;

/** Checks fall on whole seconds, so that many sockets share one wake-up. */
const CHECK_GRID_MS = 1_000;

/** What the table holds. */
interface Tables {
  readonly byId: Map<number, PeerSocket>;
  readonly byPeer: Map<string, PeerSocket>;
  /** A flow looks at all gateways, and there may be many clients. */
  readonly gateways: Set<PeerSocket>;
  readonly countByToken: Map<string, number>;
  readonly transmits: Queue<ServerTransmit>;
  lastId: number;
  checkAt: Instant | undefined;
}

export function createSocketTable(): SocketTable {
  const tables: Tables = {
    byId: new Map(),
    byPeer: new Map(),
    gateways: new Set(),
    countByToken: new Map(),
    transmits: createQueue(),
    lastId: 0,
    checkAt: undefined,
  };
  const { byId, byPeer, gateways, countByToken, transmits } = tables;
  const pushes = new Map<string, number>();
  const send = (socket: PeerSocket, text: string): void => {
    transmits.push({ kind: "text", socket: socket.id, text });
  };
  return {
    open: (now, of) => open(tables, now, of),
    get: (id) => byId.get(id),
    ofPeer: (kind, peerId) => byPeer.get(peerKey(kind, peerId)),
    readyPeer(kind, peerId) {
      const socket = byPeer.get(peerKey(kind, peerId));
      return socket?.stage === "ready" ? socket : undefined;
    },
    all: () => byId.values(),
    gateways: () => gateways,
    countOfToken: (hash) => countByToken.get(hash) ?? 0,
    remove: (id) => remove(tables, id),
    pushes,
    push(socket, { event, payload }) {
      pushes.set(event, (pushes.get(event) ?? 0) + 1);
      send(socket, toFrameText({ topic: socket.kind, event, payload }));
    },
    send,
    close(socket, code, reason) {
      if (remove(tables, socket.id) === undefined) return;
      transmits.push({ kind: "close", socket: socket.id, code, reason });
    },
    handleTimeout: (now) => checkAll(tables, now),
    pollTimeout: () => tables.checkAt,
    pollTransmit: () => transmits.shift(),
  };
}

function open(tables: Tables, now: Instant, of: Parameters<SocketTable["open"]>[1]): PeerSocket {
  const socket: PeerSocket = {
    ...of,
    id: ++tables.lastId,
    openedAt: now,
    stage: "open",
    lastHeardAt: now,
    pingAt: onGrid(after(now, PATIENCE[of.kind].pingMs)),
    faultyFrames: 0,
    early: [],
    shown: new Map(),
  };
  const { byId, byPeer, gateways, countByToken } = tables;
  byId.set(socket.id, socket);
  byPeer.set(peerKey(socket.kind, socket.peerId), socket);
  if (socket.kind === "gateway") gateways.add(socket);
  countByToken.set(of.token.hash, (countByToken.get(of.token.hash) ?? 0) + 1);
  tables.checkAt = earliest(tables.checkAt, dueAt(socket));
  return socket;
}

function remove({ byId, byPeer, gateways, countByToken }: Tables, id: number): PeerSocket | undefined {
  const socket = byId.get(id);
  if (socket === undefined) return undefined;
  byId.delete(id);
  gateways.delete(socket);
  const key = peerKey(socket.kind, socket.peerId);
  if (byPeer.get(key) === socket) byPeer.delete(key);
  const left = (countByToken.get(socket.token.hash) ?? 1) - 1;
  if (left > 0) countByToken.set(socket.token.hash, left);
  else countByToken.delete(socket.token.hash);
  return socket;
}

function checkAll(tables: Tables, now: Instant): readonly PeerSocket[] {
  if (tables.checkAt === undefined || now < tables.checkAt) return [];
  const dead: PeerSocket[] = [];
  tables.checkAt = undefined;
  for (const socket of tables.byId.values()) {
    if (isDead(socket, now)) {
      dead.push(socket);
      continue;
    }
    if (now >= socket.pingAt) {
      tables.transmits.push({ kind: "ping", socket: socket.id });
      socket.pingAt = onGrid(after(now, PATIENCE[socket.kind].pingMs));
    }
    tables.checkAt = earliest(tables.checkAt, dueAt(socket));
  }
  return dead;
}

function isDead(socket: PeerSocket, now: Instant): boolean {
  return now >= silentAt(socket) || (socket.stage === "open" && now >= joinBy(socket));
}

function dueAt(socket: PeerSocket): Instant {
  const due = earliest(socket.pingAt, silentAt(socket));
  return socket.stage === "open" ? (earliest(due, joinBy(socket)) ?? socket.pingAt) : (due ?? socket.pingAt);
}

function silentAt(socket: PeerSocket): Instant {
  return onGrid(after(socket.lastHeardAt, PATIENCE[socket.kind].silenceMs));
}

function joinBy(socket: PeerSocket): Instant {
  return onGrid(after(socket.openedAt, JOIN_WITHIN_MS));
}

function onGrid(at: Instant): Instant {
  return (Math.ceil(at / CHECK_GRID_MS) * CHECK_GRID_MS) as Instant;
}

function peerKey(kind: Topic, peerId: string): string {
  return `${kind}|${peerId}`;
}

/** The ids of a socket for the log. */
export function idOf(socket: PeerSocket): { readonly cid?: string; readonly gid?: string } {
  if (socket.kind === "relay") return {};
  return socket.kind === "client" ? { cid: socket.peerId } : { gid: socket.peerId };
}
