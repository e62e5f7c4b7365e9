/**
 * The TCP of a host without a kernel: connections by their four numbers, packets in and out (PG-126, DN-90 to
 * DN-94). A pure machine; after every input the caller drains `pollPacket` and `pollEvent`.
 */
import { blake2s } from "@noble/hashes/blake2.js";
import {
  after,
  createDeadlineQueue,
  type DeadlineQueue,
  earliest,
  type Instant,
  type IpAddress,
  type QueueEntry,
  type Random,
  randomBytes,
  type SocketAddress,
} from "../base/index.ts";
import {
  createTokenBucket,
  MAX_IP_SIZE,
  type PacketView,
  type TokenBucket,
  viewPacket,
} from "../packet/index.ts";
import {
  type Connection,
  createConnection,
  handleProbe,
  handleRetransmission,
  isSynchronized,
  queue,
  sendAck,
  sendMore,
  sendSyn,
  windowOf,
} from "./connection.ts";
import { CHALLENGE_ACKS_PER_SECOND, HEADERS_BYTES, MSS_DEFAULT, SYN_RECEIVED_MS } from "./constants.ts";
import { type ReceiveContext, receive, setMss } from "./receiving.ts";
import { encodeSegment, readSegment, resetFor, type Segment } from "./segment.ts";
import { plus } from "./sequence.ts";

export type TcpEvent =
  | {
      readonly kind: "opened";
      readonly id: number;
      readonly local: SocketAddress;
      readonly remote: SocketAddress;
    }
  | { readonly kind: "data"; readonly id: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The peer has no more to say. */
  | { readonly kind: "ended"; readonly id: number }
  | { readonly kind: "closed"; readonly id: number; readonly reason: "done" | "reset" | "timeout" };

/** What becomes of a SYN: `ignore` says nothing, so that the peer tries again. */
export type Admission = "accept" | "refuse" | "ignore";

export interface TcpHostOptions {
  readonly random: Random;
  readonly mtu?: number;
  readonly admit: (local: SocketAddress, remote: SocketAddress) => Admission;
}

export interface TcpHost {
  /** A validated TCP packet (TN-3). */
  handlePacket(now: Instant, packet: Uint8Array): void;
  connect(now: Instant, local: SocketAddress, remote: SocketAddress): number;
  send(now: Instant, id: number, bytes: Uint8Array): void;
  /** The application has taken so many octets: the window opens again. */
  take(now: Instant, id: number, octets: number): void;
  /** No more is sent; what is queued still is. */
  end(now: Instant, id: number): void;
  abort(now: Instant, id: number): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollPacket(): Uint8Array<ArrayBuffer> | undefined;
  pollEvent(): TcpEvent | undefined;
  /** How many there are to a local address, opening ones included. */
  countAt(local: IpAddress): number;
  count(): number;
}

interface Entry extends QueueEntry {
  readonly connection: Connection;
  readonly key: string;
}

interface HostState {
  readonly options: Required<TcpHostOptions>;
  /** Makes first sequence numbers that nobody can guess (RFC 6528). */
  readonly secret: Uint8Array;
  readonly challenges: TokenBucket;
  readonly byKey: Map<string, Entry>;
  readonly byId: Map<number, Entry>;
  readonly timers: DeadlineQueue<Entry>;
  readonly packets: Uint8Array<ArrayBuffer>[];
  readonly events: TcpEvent[];
  nextId: number;
}

export function createTcpHost(options: TcpHostOptions): TcpHost {
  const state: HostState = {
    options: { mtu: MAX_IP_SIZE, ...options },
    secret: randomBytes(options.random, 32),
    challenges: createTokenBucket({
      ratePerSecond: CHALLENGE_ACKS_PER_SECOND,
      burst: CHALLENGE_ACKS_PER_SECOND,
    }),
    ...{
      byKey: new Map(),
      byId: new Map(),
      timers: createDeadlineQueue<Entry>(),
      packets: [],
      events: [],
      nextId: 1,
    },
  };
  const withEntry = (id: number, use: (entry: Entry) => void): void => {
    const entry = state.byId.get(id);
    if (entry === undefined) return;
    use(entry);
    schedule(state, entry);
  };
  return {
    handlePacket: (now, packet) => handlePacket(state, now, viewPacket(packet)),
    connect: (now, local, remote) => connect(state, now, local, remote),
    send: (now, id, bytes) =>
      withEntry(id, ({ connection }) => {
        if (connection.isEnding) return;
        queue(connection, bytes);
        sendMore(connection, now, emitter(state));
      }),
    take: (_now, id, octets) => withEntry(id, ({ connection }) => take(state, connection, octets)),
    end: (now, id) => withEntry(id, ({ connection }) => end(state, now, connection)),
    abort: (_now, id) => withEntry(id, (entry) => abort(state, entry, "done")),
    handleTimeout: (now) => handleTimeout(state, now),
    pollTimeout: () => state.timers.first()?.dueAt,
    pollPacket: () => state.packets.shift(),
    pollEvent: () => state.events.shift(),
    countAt: (local) => [...state.byId.values()].filter(({ connection }) => isAt(connection, local)).length,
    count: () => state.byId.size,
  };
}

function isAt({ local }: Connection, address: IpAddress): boolean {
  return local.address.length === address.length && local.address.every((byte, i) => byte === address[i]);
}

function handlePacket(state: HostState, now: Instant, view: PacketView): void {
  if (view.ports === undefined) return;
  const local = { address: view.destination.slice(), port: view.ports.destination };
  const remote = { address: view.source.slice(), port: view.ports.source };
  const segment = readSegment(view);
  const entry = state.byKey.get(keyOf(local, remote));
  if (entry === undefined) return handleStranger(state, now, { local, remote, segment });
  receive(entry.connection, segment, contextOf(state, now));
  schedule(state, entry);
}

function handleStranger(
  state: HostState,
  now: Instant,
  { local, remote, segment }: { local: SocketAddress; remote: SocketAddress; segment: Segment },
): void {
  if (segment.isRst) return;
  const isOpening = segment.isSyn && !segment.isAck;
  const admission = isOpening ? state.options.admit(local, remote) : "refuse";
  if (admission === "ignore") return;
  if (admission === "refuse") {
    state.packets.push(encodeSegment(local, remote, resetFor(segment)));
    return;
  }
  const entry = open(state, now, { local, remote, state: "syn-received", rcvNxt: plus(segment.seq, 1) });
  setMss(entry.connection, segment.mss);
  entry.connection.sndWindow = segment.window;
  entry.connection.limitAt = after(now, SYN_RECEIVED_MS);
  sendSyn(entry.connection, now, emitter(state));
  schedule(state, entry);
}

function connect(state: HostState, now: Instant, local: SocketAddress, remote: SocketAddress): number {
  const entry = open(state, now, { local, remote, state: "syn-sent", rcvNxt: 0 });
  sendSyn(entry.connection, now, emitter(state));
  schedule(state, entry);
  return entry.connection.id;
}

function open(
  state: HostState,
  now: Instant,
  of: Pick<Connection, "local" | "remote" | "state" | "rcvNxt">,
): Entry {
  const family = of.local.address.length === 4 ? 4 : 6;
  const key = keyOf(of.local, of.remote);
  const connection = createConnection({
    ...of,
    id: state.nextId++,
    iss: firstSequence(state, now, key),
    ownMss: state.options.mtu - HEADERS_BYTES[family],
    mss: MSS_DEFAULT[family],
  });
  const entry = { connection, key, dueAt: undefined, place: -1 };
  state.byKey.set(key, entry);
  state.byId.set(connection.id, entry);
  return entry;
}

/** A clock of 4 µs and a keyed hash of who speaks with whom (RFC 6528 §3). */
function firstSequence({ secret }: HostState, now: Instant, key: string): number {
  const hash = blake2s(new TextEncoder().encode(key), { key: secret, dkLen: 4 });
  return (new DataView(hash.buffer, hash.byteOffset).getUint32(0) + now * 250) >>> 0;
}

function take(state: HostState, connection: Connection, octets: number): void {
  connection.unread = Math.max(0, connection.unread - octets);
  // Silly little openings are not worth a packet (RFC 9293 §3.8.6.2.2).
  const isWorth = windowOf(connection) - connection.announced >= 2 * connection.mss;
  if (isWorth && isSynchronized(connection)) sendAck(connection, emitter(state));
}

function end(state: HostState, now: Instant, connection: Connection): void {
  if (connection.isEnding) return;
  connection.isEnding = true;
  if (connection.state === "established") connection.state = "fin-wait-1";
  else if (connection.state === "close-wait") connection.state = "last-ack";
  sendMore(connection, now, emitter(state));
}

/** Says so to the peer, who would wait otherwise. */
function abort(state: HostState, entry: Entry, reason: "done" | "timeout"): void {
  const { local, remote, sndNxt, rcvNxt } = entry.connection;
  const flags = { isSyn: false, isAck: true, isFin: false, isRst: true };
  const reset = { seq: sndNxt, ack: rcvNxt, ...flags, window: 0, payload: new Uint8Array(0) };
  state.packets.push(encodeSegment(local, remote, reset));
  close(state, entry, reason);
}

function close(state: HostState, entry: Entry, reason: "done" | "reset" | "timeout"): void {
  const { id } = entry.connection;
  if (!state.byId.delete(id)) return;
  state.byKey.delete(entry.key);
  state.timers.set(entry, undefined);
  state.events.push({ kind: "closed", id, reason });
}

function handleTimeout(state: HostState, now: Instant): void {
  for (;;) {
    const entry = state.timers.first();
    if (entry?.dueAt === undefined || entry.dueAt > now) return;
    handleDeadline(state, now, entry);
    schedule(state, entry);
  }
}

function handleDeadline(state: HostState, now: Instant, entry: Entry): void {
  const { connection } = entry;
  const isDue = (at: Instant | undefined): boolean => at !== undefined && at <= now;
  if (isDue(connection.limitAt)) {
    if (connection.state === "time-wait") close(state, entry, "done");
    else abort(state, entry, "timeout");
    return;
  }
  const emit = emitter(state);
  const isProbe = isDue(connection.probeAt);
  const verdict = isProbe ? handleProbe(connection, now, emit) : handleRetransmission(connection, now, emit);
  if (verdict === "give-up") abort(state, entry, "timeout");
}

function schedule(state: HostState, entry: Entry): void {
  const { connection } = entry;
  if (!state.byId.has(connection.id)) return;
  state.timers.set(entry, earliest(connection.rtoAt, connection.probeAt, connection.limitAt));
}

function emitter(state: HostState): (connection: Connection, segment: Segment) => void {
  return ({ local, remote }, segment) => state.packets.push(encodeSegment(local, remote, segment));
}

function contextOf(state: HostState, now: Instant): ReceiveContext {
  const emit = emitter(state);
  return {
    now,
    emit,
    challenge(connection) {
      if (state.challenges.take(now)) sendAck(connection, emit);
    },
    opened: ({ id, local, remote }) => state.events.push({ kind: "opened", id, local, remote }),
    data: ({ id }, bytes) => state.events.push({ kind: "data", id, bytes: bytes.slice() }),
    ended: ({ id }) => state.events.push({ kind: "ended", id }),
    closed(connection, reason) {
      const entry = state.byId.get(connection.id);
      if (entry !== undefined) close(state, entry, reason);
    },
  };
}

function keyOf(local: SocketAddress, remote: SocketAddress): string {
  return `${local.address.join(".")} ${local.port} ${remote.address.join(".")} ${remote.port}`;
}
