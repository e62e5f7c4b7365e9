/** The state of one connection, and what it sends (RFC 9293, RFC 6298, RFC 5681 as far as DN-93 wants them). */
import { after, concatBytes, type Instant, type SocketAddress } from "../base/index.ts";
import {
  DATA_SENDS_MAX,
  INITIAL_WINDOW_SEGMENTS,
  PROBES_MAX,
  RECEIVE_WINDOW_BYTES,
  RTO_FIRST_MS,
  RTO_MAX_MS,
  RTO_MIN_MS,
  SYN_SENDS_MAX,
  WINDOW_PROBE_MS,
} from "./constants.ts";
import type { Segment } from "./segment.ts";
import { distance, plus } from "./sequence.ts";

export type TcpState =
  | "syn-sent"
  | "syn-received"
  | "established"
  | "fin-wait-1"
  | "fin-wait-2"
  | "close-wait"
  | "closing"
  | "last-ack"
  | "time-wait";

export interface Connection {
  readonly id: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  state: TcpState;
  /** Our first sequence number, which the SYN takes. */
  readonly iss: number;
  sndUna: number;
  sndNxt: number;
  /** The furthest ever sent: after a time-out sending begins anew, but all of it may be acknowledged. */
  sndMax: number;
  sndWindow: number;
  readonly ownMss: number;
  mss: number;
  /** From `sndUna` on, once the SYN is acknowledged. */
  out: Uint8Array<ArrayBuffer>;
  /** The application has no more to send. */
  isEnding: boolean;
  isEndAcknowledged: boolean;
  congestionWindow: number;
  slowStartThreshold: number;
  duplicateAcks: number;
  rtoMs: number;
  smoothedRttMs: number | undefined;
  rttVarianceMs: number;
  /** The segment that is timed; none that was sent twice (Karn). */
  timed: { readonly seq: number; readonly at: Instant } | undefined;
  /** How often the oldest segment, or a probe, was sent without an answer. */
  sends: number;
  rtoAt: Instant | undefined;
  probeAt: Instant | undefined;
  /** The end of a state that must not last. */
  limitAt: Instant | undefined;
  rcvNxt: number;
  /** Octets that the application has not taken yet. */
  unread: number;
  /** The window that was last announced. */
  announced: number;
  outOfOrder: readonly Segment[];
}

/** What a connection wants to have sent. */
export type Emit = (connection: Connection, segment: Segment) => void;

export function createConnection(
  given: Pick<Connection, "id" | "local" | "remote" | "state" | "iss" | "ownMss" | "mss" | "rcvNxt">,
): Connection {
  return {
    ...given,
    sndUna: given.iss,
    sndNxt: plus(given.iss, 1),
    sndMax: plus(given.iss, 1),
    sndWindow: 0,
    out: new Uint8Array(0),
    isEnding: false,
    isEndAcknowledged: false,
    congestionWindow: INITIAL_WINDOW_SEGMENTS * given.mss,
    slowStartThreshold: Number.POSITIVE_INFINITY,
    duplicateAcks: 0,
    rtoMs: RTO_FIRST_MS,
    smoothedRttMs: undefined,
    rttVarianceMs: 0,
    timed: undefined,
    sends: 1,
    rtoAt: undefined,
    probeAt: undefined,
    limitAt: undefined,
    unread: 0,
    announced: RECEIVE_WINDOW_BYTES,
    outOfOrder: [],
  };
}

/** Whether the handshake is done. */
export function isSynchronized({ state }: Connection): boolean {
  return state !== "syn-sent" && state !== "syn-received";
}

export function sendSyn(connection: Connection, now: Instant, emit: Emit): void {
  const { iss, rcvNxt, state, ownMss } = connection;
  const isAnswer = state === "syn-received";
  const flags = { isSyn: true, isAck: isAnswer, isFin: false, isRst: false };
  const ack = isAnswer ? rcvNxt : 0;
  emit(connection, {
    seq: iss,
    ack,
    ...flags,
    window: windowOf(connection),
    mss: ownMss,
    payload: NO_OCTETS,
  });
  connection.rtoAt = after(now, connection.rtoMs);
}

export function sendAck(connection: Connection, emit: Emit): void {
  emit(connection, toSegment(connection, connection.sndNxt, NO_OCTETS));
}

/** As much as the peer and the network take now; then the end, if it is due. */
export function sendMore(connection: Connection, now: Instant, emit: Emit): void {
  if (!isSynchronized(connection)) return;
  for (;;) {
    const sent = distance(connection.sndUna, connection.sndNxt);
    const left = connection.out.length - sent;
    const room = Math.min(connection.sndWindow, connection.congestionWindow) - sent;
    if (left <= 0) break;
    const length = Math.min(left, room, connection.mss);
    // A little piece is sent only if it is all there is, or nothing else is under way (RFC 1122 §4.2.3.4).
    if (length <= 0 || (length < Math.min(left, connection.mss) && sent > 0)) break;
    connection.timed ??= { seq: plus(connection.sndNxt, length), at: now };
    emit(connection, toSegment(connection, connection.sndNxt, connection.out.subarray(sent, sent + length)));
    connection.sndNxt = plus(connection.sndNxt, length);
  }
  sendEnd(connection, emit);
  if (distance(connection.sndMax, connection.sndNxt) > 0) connection.sndMax = connection.sndNxt;
  setTimers(connection, now);
}

/** FIN, once all data are out. */
function sendEnd(connection: Connection, emit: Emit): void {
  const { isEnding, isEndAcknowledged, sndUna, sndNxt, out } = connection;
  if (!isEnding || isEndAcknowledged || distance(sndUna, sndNxt) !== out.length) return;
  emit(connection, { ...toSegment(connection, sndNxt, NO_OCTETS), isFin: true });
  connection.sndNxt = plus(sndNxt, 1);
}

function setTimers(connection: Connection, now: Instant): void {
  const isWaiting = connection.sndNxt !== connection.sndUna;
  if (isWaiting) {
    connection.rtoAt ??= after(now, connection.rtoMs);
    connection.probeAt = undefined;
    return;
  }
  connection.rtoAt = undefined;
  const isBlocked = connection.out.length > 0 && connection.sndWindow === 0;
  connection.probeAt = isBlocked ? (connection.probeAt ?? after(now, WINDOW_PROBE_MS)) : undefined;
}

/** What the peer has acknowledged is forgotten; the round trip and the network's room are learnt. */
export function takeAck(connection: Connection, now: Instant, segment: Segment): void {
  const acked = distance(connection.sndUna, segment.ack);
  if (acked > 0) {
    const data = Math.min(acked, connection.out.length);
    if (acked > data) connection.isEndAcknowledged = connection.isEnding;
    connection.out = connection.out.slice(data);
    connection.sndUna = segment.ack;
    if (distance(connection.sndNxt, connection.sndUna) > 0) connection.sndNxt = connection.sndUna;
    const { timed } = connection;
    if (timed !== undefined && distance(timed.seq, segment.ack) >= 0) {
      learnRoundTrip(connection, now - timed.at);
      connection.timed = undefined;
    }
    grow(connection, acked);
    connection.sends = 1;
    connection.duplicateAcks = 0;
    connection.rtoAt = undefined;
  }
  // An open window ends the count of probes.
  if (connection.sndWindow === 0 && segment.window > 0) connection.sends = 1;
  connection.sndWindow = segment.window;
}

/** RFC 6298 §2. */
function learnRoundTrip(connection: Connection, rttMs: number): void {
  const { smoothedRttMs } = connection;
  if (smoothedRttMs === undefined) {
    connection.smoothedRttMs = rttMs;
    connection.rttVarianceMs = rttMs / 2;
  } else {
    connection.rttVarianceMs = 0.75 * connection.rttVarianceMs + 0.25 * Math.abs(smoothedRttMs - rttMs);
    connection.smoothedRttMs = 0.875 * smoothedRttMs + 0.125 * rttMs;
  }
  const rtoMs = Math.ceil((connection.smoothedRttMs ?? rttMs) + 4 * connection.rttVarianceMs);
  connection.rtoMs = Math.min(RTO_MAX_MS, Math.max(RTO_MIN_MS, rtoMs));
}

/** Slow start, then about one segment per round trip (RFC 5681 §3.1). */
function grow(connection: Connection, acked: number): void {
  const { congestionWindow, slowStartThreshold, mss } = connection;
  const more =
    congestionWindow < slowStartThreshold ? Math.min(acked, mss) : Math.ceil((mss * mss) / congestionWindow);
  connection.congestionWindow = Math.min(congestionWindow + more, RECEIVE_WINDOW_BYTES);
}

/** The segment behind which others have arrived is sent again (RFC 5681 §3.2). */
export function retransmitFast(connection: Connection, now: Instant, emit: Emit): void {
  shrink(connection);
  connection.congestionWindow = connection.slowStartThreshold;
  connection.timed = undefined;
  const first = connection.out.subarray(0, connection.mss);
  if (first.length > 0) emit(connection, toSegment(connection, connection.sndUna, first));
  else if (connection.isEnding)
    emit(connection, { ...toSegment(connection, connection.sndUna, NO_OCTETS), isFin: true });
  connection.rtoAt = after(now, connection.rtoMs);
}

function shrink(connection: Connection): void {
  const inFlight = distance(connection.sndUna, connection.sndMax);
  connection.slowStartThreshold = Math.max(Math.floor(inFlight / 2), 2 * connection.mss);
}

/** No answer in time: everything from the oldest on is sent anew, one segment first. @returns whether to give up */
export function handleRetransmission(connection: Connection, now: Instant, emit: Emit): "again" | "give-up" {
  const isOpening = !isSynchronized(connection);
  if (connection.sends >= (isOpening ? SYN_SENDS_MAX : DATA_SENDS_MAX)) return "give-up";
  connection.sends++;
  connection.rtoMs = Math.min(RTO_MAX_MS, connection.rtoMs * 2);
  connection.rtoAt = undefined;
  connection.timed = undefined;
  if (isOpening) {
    sendSyn(connection, now, emit);
    return "again";
  }
  shrink(connection);
  connection.congestionWindow = connection.mss;
  connection.sndNxt = connection.sndUna;
  sendMore(connection, now, emit);
  connection.timed = undefined;
  return "again";
}

/** One octet, so that a peer whose window was closed says how wide it is now. */
export function handleProbe(connection: Connection, now: Instant, emit: Emit): "again" | "give-up" {
  if (connection.sends > PROBES_MAX) return "give-up";
  connection.sends++;
  emit(connection, toSegment(connection, connection.sndUna, connection.out.subarray(0, 1)));
  // If it is taken, the answer acknowledges it.
  const next = plus(connection.sndUna, 1);
  if (distance(connection.sndMax, next) > 0) connection.sndMax = next;
  connection.probeAt = after(now, WINDOW_PROBE_MS);
  return "again";
}

export function queue(connection: Connection, bytes: Uint8Array): void {
  connection.out = concatBytes(connection.out, bytes);
}

/** Room for what the application has not taken. */
export function windowOf({ unread }: Connection): number {
  return Math.max(0, RECEIVE_WINDOW_BYTES - unread);
}

const NO_OCTETS = new Uint8Array(0);

function toSegment(connection: Connection, seq: number, payload: Uint8Array): Segment {
  const window = windowOf(connection);
  connection.announced = window;
  const flags = { isSyn: false, isAck: true, isFin: false, isRst: false };
  return { seq, ack: connection.rcvNxt, ...flags, window, payload };
}
