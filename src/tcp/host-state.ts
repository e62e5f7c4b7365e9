/** What a host holds, and what its parts do to it: entries, events, answers, counters. */
import {
  createDeadlineQueue,
  createQueue,
  type DeadlineQueue,
  type Instant,
  instant,
  type Queue,
  type QueueEntry,
  randomBytes,
} from "../base/index.ts";
import { MAX_IP_SIZE } from "../packet/index.ts";
import { type Connection, nextDeadline } from "./connection.ts";
import { WAITING_REPLIES_MAX } from "./constants.ts";
import type { CloseReason, TcpCounter, TcpEvent, TcpHostOptions } from "./face.ts";
import { FULL_PROFILE } from "./profile.ts";
import type { Hooks, SegmentDrop } from "./receiving.ts";
import type { Segment } from "./segment.ts";
import { type ConnectionTable, createConnectionTable, type Ends } from "./table.ts";
import { repeatAck, type TimeWait, toTimeWait } from "./time-wait.ts";

export interface LiveEntry extends QueueEntry, Ends {
  readonly kind: "live";
  readonly connection: Connection;
  /** It stands in the queue of those who may have something to send. */
  isReady: boolean;
  /** Under which listener it counts as half open. */
  halfOpenAt: string | undefined;
}

export interface WaitingEntry extends Ends {
  readonly kind: "waiting";
  readonly waiting: TimeWait;
}

export type Entry = LiveEntry | WaitingEntry;

export interface HostState {
  readonly options: Required<TcpHostOptions>;
  /** Makes first sequence numbers that nobody can guess (RFC 6528). */
  readonly secret: Uint8Array;
  readonly table: ConnectionTable<Entry>;
  readonly byId: Map<number, LiveEntry>;
  readonly waiting: Set<WaitingEntry>;
  readonly halfOpen: Map<string, number>;
  readonly timers: DeadlineQueue<LiveEntry>;
  readonly ready: Queue<LiveEntry>;
  readonly replies: Queue<{ readonly way: Ends; readonly segment: Segment }>;
  readonly events: Queue<TcpEvent>;
  readonly counters: Record<TcpCounter, number>;
  readonly hooks: Hooks;
  nextId: number;
  /** Of the last input: polls belong to it. */
  now: Instant;
}

export function createHostState(options: TcpHostOptions): HostState {
  const state: HostState = {
    options: { mtu: MAX_IP_SIZE, profile: FULL_PROFILE, ...options },
    secret: randomBytes(options.random, 32),
    table: createConnectionTable<Entry>(options.random),
    byId: new Map(),
    waiting: new Set(),
    halfOpen: new Map(),
    timers: createDeadlineQueue<LiveEntry>(),
    ready: createQueue(),
    replies: createQueue(),
    events: createQueue(),
    counters: createCounters(),
    hooks: {
      opened(connection) {
        const { id, local, remote } = connection;
        noteOpened(state, id);
        state.events.push({ kind: "opened", id, local, remote });
      },
      data: ({ id }, bytes) => state.events.push({ kind: "data", id, bytes }),
      ended: ({ id }) => state.events.push({ kind: "ended", id }),
      closed(connection, reason) {
        const entry = state.byId.get(connection.id);
        if (entry !== undefined) close(state, entry, reason);
      },
      waits: (connection) => linger(state, connection),
      reply: (connection, segment) => reply(state, connection, segment),
      dropped: (reason) => count(state, DROPS[reason]),
    },
    nextId: 1,
    now: instant(0),
  };
  return state;
}

const DROPS: Readonly<Record<SegmentDrop, TcpCounter>> = {
  "challenge-limit": "challenge_limit",
  "old-timestamp": "old_timestamp",
  "no-timestamp": "no_timestamp",
  "out-of-order-full": "out_of_order_full",
};

function createCounters(): Record<TcpCounter, number> {
  return {
    not_tcp: 0,
    tcp_header: 0,
    tcp_option: 0,
    tcp_checksum: 0,
    challenge_limit: 0,
    old_timestamp: 0,
    no_timestamp: 0,
    out_of_order_full: 0,
    half_open_limit: 0,
    connection_limit: 0,
    reply_limit: 0,
    time_wait_reused: 0,
    segments_in: 0,
    segments_out: 0,
    retransmitted: 0,
  };
}

export function count(state: HostState, counter: TcpCounter): void {
  state.counters[counter]++;
}

/** The connection may have something to send, and its deadlines may be others. */
export function wake(state: HostState, entry: LiveEntry): void {
  if (!state.byId.has(entry.connection.id)) return;
  state.timers.set(entry, nextDeadline(entry.connection));
  if (entry.isReady) return;
  entry.isReady = true;
  state.ready.push(entry);
}

/** Answers a segment that is no part of a connection. */
export function reply(state: HostState, ends: Ends, segment: Segment): void {
  if (state.replies.length >= WAITING_REPLIES_MAX) return count(state, "reply_limit");
  sendLast(state, ends, segment);
}

/**
 * The last segment of a connection. There are never more of them than connections were open, and a peer that misses a
 * reset keeps its end.
 */
export function sendLast(state: HostState, { local, remote }: Ends, segment: Segment): void {
  state.replies.push({ way: { local, remote }, segment });
}

export function close(state: HostState, entry: LiveEntry, reason: CloseReason): void {
  if (!forget(state, entry)) return;
  state.events.push({ kind: "closed", id: entry.connection.id, reason });
}

function forget(state: HostState, entry: LiveEntry): boolean {
  if (!state.byId.delete(entry.connection.id)) return false;
  leaveHalfOpen(state, entry);
  state.table.remove(entry);
  state.timers.set(entry, undefined);
  return true;
}

/** Both have ended: the application is done with it, the network may not be (RFC 9293 §3.6). */
function linger(state: HostState, connection: Connection): void {
  const entry = state.byId.get(connection.id);
  if (entry === undefined) return;
  close(state, entry, "done");
  const waiting = toTimeWait(connection, state.now);
  const { local, remote } = connection;
  const late: WaitingEntry = { kind: "waiting", waiting, local, remote };
  state.table.add(late);
  state.waiting.add(late);
  // What the connection still had to acknowledge.
  sendLast(state, late, repeatAck(waiting, state.now));
  if (state.waiting.size <= state.options.profile.timeWaitsMax) return;
  for (const oldest of state.waiting) {
    state.table.remove(oldest);
    state.waiting.delete(oldest);
    return;
  }
}

function noteOpened(state: HostState, id: number): void {
  const entry = state.byId.get(id);
  if (entry !== undefined) leaveHalfOpen(state, entry);
}

function leaveHalfOpen({ halfOpen }: HostState, entry: LiveEntry): void {
  const { halfOpenAt } = entry;
  if (halfOpenAt === undefined) return;
  entry.halfOpenAt = undefined;
  const left = (halfOpen.get(halfOpenAt) ?? 1) - 1;
  if (left === 0) halfOpen.delete(halfOpenAt);
  else halfOpen.set(halfOpenAt, left);
}
