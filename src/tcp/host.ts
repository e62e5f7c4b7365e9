/** The TCP of a host without a kernel: connections by their four numbers, packets in and out (PG-126, DN-90 to DN-94). */
import { earliest, equalIp, type Instant, type IpAddress, type SocketAddress } from "../base/index.ts";
import { PROTOCOL, parsePacket } from "../packet/index.ts";
import { noteTaken } from "./buffers.ts";
import { type Connection, firstReceived, firstSent, isSynchronized, nextDeadline } from "./connection.ts";
import {
  FRAME_BYTES_MAX,
  isChecksumRight,
  SUPER_PAYLOAD_BYTES,
  VNET,
  VNET_FLAG,
  VNET_HEADER_BYTES,
  writeFrame,
  writePacket,
} from "./encode.ts";
import type { CloseReason, TcpHost, TcpHostOptions } from "./face.ts";
import {
  close,
  count,
  createHostState,
  type Entry,
  type HostState,
  type LiveEntry,
  reply,
  sendLast,
  wake,
} from "./host-state.ts";
import { isUnderWay, lowerMtu, readIcmpError } from "./icmp.ts";
import { accept, connect } from "./opening.ts";
import { receive } from "./receiving.ts";
import { parseSegment, resetFor, type Segment } from "./segment.ts";
import { append, copyTo } from "./send-queue.ts";
import { type Emission, nextEmission, settle, windowEdge } from "./sending.ts";
import { plus } from "./sequence.ts";
import { isNewer, repeatAck } from "./time-wait.ts";
import { handleDeadline, noteAlive } from "./timers.ts";

/** IPv6 may say 40 octets more than IPv4. */
const PACKET_BYTES_MAX = 65_575;

export function createTcpHost(options: TcpHostOptions): TcpHost {
  return faceOf(createHostState(options));
}

/** The face of a state that a test can look into. */
export function faceOf(state: HostState): TcpHost {
  const withEntry = (now: Instant, id: number, use: (entry: LiveEntry) => void): void => {
    state.now = now;
    const entry = state.byId.get(id);
    if (entry === undefined) return;
    use(entry);
    if (state.byId.has(id)) wake(state, entry);
  };
  return {
    handleFrame: (now, frame) => handleFrame(state, now, frame),
    handlePacket: (now, packet) => handlePacket(state, now, { packet, gsoBytes: 0, isTrusted: true }),
    handleIcmp: (now, packet) => handleIcmp(state, now, packet),
    pollFrame: (into) => pollFrame(state, into),
    pollPacket: () => pollPacket(state),
    connect: (now, local, remote, how = {}) => {
      state.now = now;
      return connect(state, local, remote, how);
    },
    send(now, id, bytes) {
      let taken = 0;
      withEntry(now, id, ({ connection }) => {
        taken = queue(connection, bytes);
      });
      return taken;
    },
    take: (now, id, octets) => withEntry(now, id, ({ connection }) => take(connection, now, octets)),
    end: (now, id) => withEntry(now, id, ({ connection }) => end(connection)),
    abort: (now, id) => withEntry(now, id, (entry) => abort(state, entry, "done")),
    keepAlive: (now, id, idleMs) =>
      withEntry(now, id, ({ connection }) => {
        connection.keepAliveMs = idleMs;
        noteAlive(connection, now);
      }),
    handleTimeout: (now) => handleTimeout(state, now),
    pollTimeout: () => earliest(state.timers.first()?.dueAt, firstWaiting(state)?.waiting.endsAt),
    pollEvent: () => state.events.shift(),
    countAt: (local) => countAt(state, local),
    count: () => state.byId.size + state.waiting.size,
    counters: () => ({ ...state.counters }),
  };
}

function handleFrame(state: HostState, now: Instant, frame: Uint8Array): void {
  const flags = frame[VNET.flags] ?? 0;
  const isSuper = (frame[VNET.gsoType] ?? 0) !== 0;
  handlePacket(state, now, {
    packet: frame.subarray(VNET_HEADER_BYTES),
    gsoBytes: isSuper ? (frame[VNET.gsoBytes] ?? 0) | ((frame[VNET.gsoBytes + 1] ?? 0) << 8) : 0,
    isTrusted: (flags & (VNET_FLAG.needsChecksum | VNET_FLAG.isValid)) !== 0,
  });
}

interface Arriving {
  readonly packet: Uint8Array;
  readonly gsoBytes: number;
  readonly isTrusted: boolean;
}

function handlePacket(state: HostState, now: Instant, { packet, gsoBytes, isTrusted }: Arriving): void {
  state.now = now;
  count(state, "segments_in");
  const found = parsePacket(packet, { limitBytes: PACKET_BYTES_MAX, mode: "plain" });
  if (!found.ok) return count(state, "not_tcp");
  const { family, protocol, transportOffset, totalBytes, isFragment, ports } = found.value;
  if (protocol !== PROTOCOL.tcp || isFragment || ports === undefined) return count(state, "not_tcp");
  const transport = packet.subarray(transportOffset, totalBytes);
  const [source, destination] =
    family === 4
      ? [packet.subarray(12, 16), packet.subarray(16, 20)]
      : [packet.subarray(8, 24), packet.subarray(24, 40)];
  if (!isTrusted && !isChecksumRight(source, destination, transport)) return count(state, "tcp_checksum");
  const segment = parseSegment({ transport });
  if (!segment.ok) return count(state, segment.reason === "tcp-option" ? "tcp_option" : "tcp_header");
  const local = { address: destination, port: ports.destination };
  const remote = { address: source, port: ports.source };
  const entry = state.table.get(local, remote);
  if (entry === undefined) return handleStranger(state, { local, remote }, segment.value);
  if (entry.kind === "waiting") return handleLate(state, entry, segment.value);
  receive(entry.connection, segment.value, { now, gsoBytes }, state.hooks);
  noteRoom(state, entry);
  wake(state, entry);
}

/** A segment that belongs to no connection: perhaps the first of one (RFC 9293 §3.10.7.1, §3.10.7.2). */
function handleStranger(
  state: HostState,
  between: { readonly local: SocketAddress; readonly remote: SocketAddress },
  segment: Segment,
): void {
  if (segment.isRst) return;
  // They would hold the whole packet.
  const local = { address: between.local.address.slice(), port: between.local.port };
  const remote = { address: between.remote.address.slice(), port: between.remote.port };
  if (segment.isSyn && !segment.isAck) {
    const admission = state.options.admit(local, remote);
    if (admission === "accept") return accept(state, { local, remote }, segment);
    if (admission === "ignore") return;
  }
  reply(state, { local, remote }, resetFor(segment));
}

/** For a connection that is over: its last acknowledgement again, or a new beginning. */
function handleLate(state: HostState, entry: Extract<Entry, { kind: "waiting" }>, segment: Segment): void {
  const { waiting, local, remote } = entry;
  if (segment.isRst) return;
  if (isNewer(waiting, segment)) {
    state.table.remove(entry);
    state.waiting.delete(entry);
    count(state, "time_wait_reused");
    return handleStranger(state, { local, remote }, segment);
  }
  if (segment.isFin) {
    waiting.endsAt = (state.now + state.options.profile.timeWaitMs) as Instant;
    // Behind all others again, which end earlier.
    state.waiting.delete(entry);
    state.waiting.add(entry);
  }
  reply(state, entry, repeatAck(waiting, state.now));
}

function firstWaiting({ waiting }: HostState): Extract<Entry, { kind: "waiting" }> | undefined {
  for (const entry of waiting) return entry;
  return undefined;
}

/** An application that had to wait may go on, once it is worth it. */
function noteRoom(state: HostState, { connection }: LiveEntry): void {
  const { sender, id } = connection;
  if (!sender.isRoomWanted || roomOf(connection) * 4 < sender.bufferBytes) return;
  sender.isRoomWanted = false;
  state.events.push({ kind: "writable", id });
}

function roomOf({ sender }: Connection): number {
  return Math.max(0, sender.bufferBytes - (sender.queue.end - sender.queue.start));
}

/** @returns how many octets were taken */
function queue(connection: Connection, bytes: Uint8Array): number {
  const { sender } = connection;
  if (sender.isEnding) return 0;
  const taken = Math.min(bytes.length, roomOf(connection));
  append(sender.queue, taken === bytes.length ? bytes : bytes.subarray(0, taken));
  if (taken < bytes.length) sender.isRoomWanted = true;
  return taken;
}

/** An opening is told of if it is wide, or the window was nearly closed. */
function take(connection: Connection, now: Instant, octets: number): void {
  const { receiver, ownMss } = connection;
  receiver.unread = Math.max(0, receiver.unread - octets);
  noteTaken(connection, now, octets);
  if (!isSynchronized(connection)) return;
  const opening = windowEdge(connection) - receiver.edge;
  const isNarrow = (receiver.edge - receiver.nxt) * 8 <= receiver.bufferBytes;
  const isWide = opening * 4 >= receiver.bufferBytes;
  if (opening >= 2 * ownMss && (isNarrow || isWide)) receiver.acksDue = Math.max(1, receiver.acksDue);
}

function end(connection: Connection): void {
  if (connection.sender.isEnding) return;
  connection.sender.isEnding = true;
  if (connection.state === "established") connection.state = "fin-wait-1";
  else if (connection.state === "close-wait") connection.state = "last-ack";
}

/** Says so to the peer, who would wait otherwise; one that has never answered knows nothing of us. */
function abort(state: HostState, entry: LiveEntry, reason: CloseReason): void {
  const { connection } = entry;
  if (connection.state !== "syn-sent") {
    const reset = { isSyn: false, isAck: true, isFin: false, isRst: true, window: 0 };
    sendLast(state, entry, {
      ...reset,
      seq: plus(firstSent(connection), connection.sender.nxt),
      ack: plus(firstReceived(connection), connection.receiver.nxt),
      payload: new Uint8Array(0),
    });
  }
  close(state, entry, reason);
}

/** Ends attempts at once; open connections are only told (PG-124, RFC 5461). */
function handleIcmp(state: HostState, now: Instant, packet: Uint8Array): boolean {
  state.now = now;
  const error = readIcmpError(packet);
  if (error === undefined) return false;
  const entry = state.table.get(error.local, error.remote);
  if (entry?.kind !== "live" || !isUnderWay(entry.connection, error)) return false;
  const { connection } = entry;
  if (error.trouble === "too-big") {
    if (isSynchronized(connection)) lowerMtu(connection, error);
    wake(state, entry);
  } else if (isSynchronized(connection)) {
    state.events.push({ kind: "soft-error", id: connection.id, error: error.trouble });
  } else close(state, entry, error.trouble);
  return true;
}

function handleTimeout(state: HostState, now: Instant): void {
  state.now = now;
  for (let entry = state.timers.first(); entry !== undefined; entry = state.timers.first()) {
    if (entry.dueAt === undefined || entry.dueAt > now) break;
    handleDeadlines(state, now, entry);
  }
  for (let entry = firstWaiting(state); entry !== undefined; entry = firstWaiting(state)) {
    if (entry.waiting.endsAt > now) break;
    state.table.remove(entry);
    state.waiting.delete(entry);
  }
}

/** In this order: a probe puts off the RTO that it takes the place of. */
const DEADLINES = ["limit", "probe", "rto", "reorder", "persist", "delayedAck", "keepAlive"] as const;

function handleDeadlines(state: HostState, now: Instant, entry: LiveEntry): void {
  const { connection } = entry;
  for (const which of DEADLINES) {
    const at = connection.deadlines[which];
    if (at === undefined || at > now) continue;
    if (handleDeadline(connection, now, which) === "give-up") return abort(state, entry, "timeout");
  }
  wake(state, entry);
}

function pollFrame(state: HostState, into: Uint8Array): number {
  if (into.length < FRAME_BYTES_MAX) throw new RangeError(`a frame needs room for ${FRAME_BYTES_MAX} octets`);
  const answer = state.replies.shift();
  if (answer !== undefined) {
    const { way, segment } = answer;
    count(state, "segments_out");
    return writeFrame(into, way, { segment, payloadBytes: 0, gsoBytes: 0 }, () => {});
  }
  const next = nextOut(state, true);
  if (next === undefined) return 0;
  const { connection, emission } = next;
  return writeFrame(into, connection, emission, writerOf(connection, emission));
}

function pollPacket(state: HostState): Uint8Array<ArrayBuffer> | undefined {
  const answer = state.replies.shift();
  if (answer !== undefined) {
    const { way, segment } = answer;
    count(state, "segments_out");
    return writePacket(way, { segment, payloadBytes: 0, gsoBytes: 0 }, () => {});
  }
  const next = nextOut(state, false);
  if (next === undefined) return undefined;
  return writePacket(next.connection, next.emission, writerOf(next.connection, next.emission));
}

function writerOf({ sender }: Connection, { from, payloadBytes }: Emission) {
  return (into: Uint8Array, at: number): void => copyTo(sender.queue, from, payloadBytes, into, at);
}

/** The next segment of the connections that may have one, each in its turn. */
function nextOut(
  state: HostState,
  isSuper: boolean,
): { readonly connection: Connection; readonly emission: Emission } | undefined {
  for (let entry = state.ready.shift(); entry !== undefined; entry = state.ready.shift()) {
    entry.isReady = false;
    const { connection } = entry;
    if (!state.byId.has(connection.id)) continue;
    const emission = nextEmission(connection, state.now, isSuper ? SUPER_PAYLOAD_BYTES : 0);
    if (emission !== undefined) {
      count(state, "segments_out");
      if (emission.isAgain) count(state, "retransmitted");
      wake(state, entry);
      return { connection, emission };
    }
    settle(connection, state.now);
    state.timers.set(entry, nextDeadline(connection));
  }
  return undefined;
}

function countAt({ byId, waiting }: HostState, local: IpAddress): number {
  let sum = 0;
  for (const entry of byId.values()) if (equalIp(entry.local.address, local)) sum++;
  for (const entry of waiting) if (equalIp(entry.local.address, local)) sum++;
  return sum;
}
