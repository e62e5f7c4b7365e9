/**
 * Queries over TCP at the sentinels (DN-90, DN-91): a length before each message, several at a time, answers as
 * they come.
 */
import { after, concatBytes, type Instant, type QueueEntry, type SocketAddress } from "../base/index.ts";
import { type Admission, createTcpHost, DNS_PROFILE, type TcpEvent } from "../tcp/index.ts";
import { handleQuery } from "./answering.ts";
import { DNS_PORT, TCP_LENGTH_BYTES } from "./constants.ts";
import { HEADER_BYTES } from "./name.ts";
import { count, type ResolverState, type TcpStream, upstreamOf } from "./resolver-state.ts";

export const TCP_CONNS_PER_SENTINEL = 256;
export const TCP_CONNS_MAX = 512;
export const TCP_IDLE_MS = 10_000;
export const UNANSWERED_MAX = 32;

/** The TCP of the sentinels; packets reach it only for those that are mapped. */
export function openTcpFront(state: Pick<ResolverState, "random">): ResolverState["tcp"] {
  const host = createTcpHost({ random: state.random, admit: (local) => admit(local), profile: DNS_PROFILE });
  const admit = ({ address, port }: SocketAddress): Admission => {
    if (port !== DNS_PORT) return "refuse";
    // Its repetition may find room.
    const isFull = host.count() >= TCP_CONNS_MAX || host.countAt(address) >= TCP_CONNS_PER_SENTINEL;
    return isFull ? "ignore" : "accept";
  };
  return host;
}

export function handleTcpPacket(state: ResolverState, now: Instant, packet: Uint8Array): void {
  state.tcp.handlePacket(now, packet.slice());
  drainTcp(state, now);
}

export function handleTcpTimeouts(state: ResolverState, now: Instant): void {
  state.tcp.handleTimeout(now);
  for (let stream = state.idle.first(); stream !== undefined; stream = state.idle.first()) {
    if (stream.dueAt === undefined || stream.dueAt > now) break;
    // Who waits for an answer is not idle.
    if (stream.unanswered > 0) state.idle.set(stream, after(now, TCP_IDLE_MS));
    else finish(state, now, stream);
  }
  drainTcp(state, now);
}

/** Hands on what has come, and sends what was answered; again, until nothing comes of it. */
export function drainTcp(state: ResolverState, now: Instant): void {
  for (;;) {
    const event = state.tcp.pollEvent();
    if (event !== undefined) handleEvent(state, now, event);
    const answer = state.tcpAnswers.shift();
    if (answer !== undefined) sendAnswer(state, now, answer.stream, answer.bytes);
    if (event === undefined && answer === undefined) break;
  }
  for (let packet = state.tcp.pollPacket(); packet !== undefined; packet = state.tcp.pollPacket()) {
    state.packets.push(packet);
  }
}

function handleEvent(state: ResolverState, now: Instant, event: TcpEvent): void {
  if (event.kind === "opened") return open(state, now, event);
  const stream = state.streams.get(event.id);
  if (stream === undefined) return;
  switch (event.kind) {
    case "data":
      stream.unread = concatBytes(stream.unread, event.bytes);
      return readQueries(state, now, stream);
    case "ended":
      stream.isEnded = true;
      return endIfDone(state, now, stream);
    case "closed":
      return forget(state, stream);
  }
}

function open(
  state: ResolverState,
  now: Instant,
  { id, local }: Extract<TcpEvent, { kind: "opened" }>,
): void {
  const stream: TcpStream & QueueEntry = {
    ...{ id, sentinel: local.address, unread: new Uint8Array(0), taken: 0, unanswered: 0, isEnded: false },
    ...{ dueAt: undefined, place: -1 },
  };
  state.streams.set(id, stream);
  state.idle.set(stream, after(now, TCP_IDLE_MS));
}

/** As long as there are whole queries and few enough wait for their answers. */
function readQueries(state: ResolverState, now: Instant, stream: TcpStream): void {
  while (stream.unanswered < UNANSWERED_MAX && state.streams.has(stream.id)) {
    const [high, low] = stream.unread;
    if (high === undefined || low === undefined) return;
    const length = (high << 8) | low;
    if (length < HEADER_BYTES) return abort(state, now, stream);
    if (stream.unread.length < TCP_LENGTH_BYTES + length) return takePart(state, now, stream);
    const bytes = stream.unread.subarray(TCP_LENGTH_BYTES, TCP_LENGTH_BYTES + length);
    stream.unread = stream.unread.slice(TCP_LENGTH_BYTES + length);
    const rest = TCP_LENGTH_BYTES + length - stream.taken;
    stream.taken = Math.max(0, -rest);
    if (rest > 0) state.tcp.take(now, stream.id, rest);
    state.idle.set(stream, after(now, TCP_IDLE_MS));
    answer(state, now, stream, bytes);
  }
}

/** The longest query and its length are more than the window holds. */
function takePart(state: ResolverState, now: Instant, stream: TcpStream): void {
  state.tcp.take(now, stream.id, stream.unread.length - stream.taken);
  stream.taken = stream.unread.length;
}

function answer(state: ResolverState, now: Instant, stream: TcpStream, bytes: Uint8Array): void {
  count(state, "dns_queries_tcp");
  stream.unanswered++;
  // A sentinel that was retired meanwhile still has its connections.
  const upstream = upstreamOf(state, now, stream.sentinel) ?? { kind: "none" };
  const asker = { kind: "tcp", stream: stream.id } as const;
  const isV6 = stream.sentinel.length === 16;
  if (!handleQuery(state, now, { asker, bytes, upstream, isV6 })) abort(state, now, stream);
}

function sendAnswer(state: ResolverState, now: Instant, id: number, bytes: Uint8Array): void {
  const stream = state.streams.get(id);
  if (stream === undefined) return;
  stream.unanswered--;
  state.tcp.send(now, id, concatBytes(Uint8Array.of(bytes.length >> 8, bytes.length & 0xff), bytes));
  readQueries(state, now, stream);
  endIfDone(state, now, stream);
}

/** All answers are on their way, and nobody will ask more. */
function endIfDone(state: ResolverState, now: Instant, stream: TcpStream): void {
  if (stream.isEnded && stream.unanswered === 0) finish(state, now, stream);
}

function finish(state: ResolverState, now: Instant, stream: TcpStream): void {
  forget(state, stream);
  state.tcp.end(now, stream.id);
}

function abort(state: ResolverState, now: Instant, stream: TcpStream): void {
  forget(state, stream);
  state.tcp.abort(now, stream.id);
}

function forget(state: ResolverState, stream: TcpStream): void {
  state.streams.delete(stream.id);
  state.idle.set(stream, undefined);
}
