/** What a segment does to its connection (RFC 9293 §3.10.7, RFC 5961 as DN-94 wants it). */
import { after, type Instant } from "../base/index.ts";
import {
  type Connection,
  type Emit,
  isSynchronized,
  retransmitFast,
  sendAck,
  sendMore,
  takeAck,
  windowOf,
} from "./connection.ts";
import {
  DUPLICATE_ACKS,
  FIN_WAIT_2_MS,
  INITIAL_WINDOW_SEGMENTS,
  MSS_MIN,
  OUT_OF_ORDER_MAX,
  TIME_WAIT_MS,
} from "./constants.ts";
import { type Segment, spaceOf } from "./segment.ts";
import { distance, plus } from "./sequence.ts";

export interface ReceiveContext {
  readonly now: Instant;
  readonly emit: Emit;
  /** An ACK that makes an honest peer repeat itself; limited, since forgers get it, too. */
  readonly challenge: (connection: Connection) => void;
  readonly opened: (connection: Connection) => void;
  readonly data: (connection: Connection, bytes: Uint8Array) => void;
  /** The peer has no more to send. */
  readonly ended: (connection: Connection) => void;
  readonly closed: (connection: Connection, reason: "reset" | "done") => void;
}

export function receive(connection: Connection, segment: Segment, context: ReceiveContext): void {
  if (connection.state === "syn-sent") return receiveSynAnswer(connection, segment, context);
  if (!isInWindow(connection, segment)) {
    if (!segment.isRst) sendAck(connection, context.emit);
    return;
  }
  if (segment.isRst) {
    // Anywhere else in the window it may be a guess.
    if (segment.seq === connection.rcvNxt) context.closed(connection, "reset");
    else context.challenge(connection);
    return;
  }
  if (segment.isSyn) return context.challenge(connection);
  if (!segment.isAck || !takeAcknowledgement(connection, segment, context)) return;
  takeData(connection, segment, context);
  sendMore(connection, context.now, context.emit);
}

function receiveSynAnswer(connection: Connection, segment: Segment, context: ReceiveContext): void {
  const isOurs = segment.isAck && segment.ack === connection.sndNxt;
  if (!isOurs) return;
  if (segment.isRst) return context.closed(connection, "reset");
  if (!segment.isSyn) return;
  connection.rcvNxt = plus(segment.seq, 1);
  setMss(connection, segment.mss);
  establish(connection, segment, context);
  sendAck(connection, context.emit);
  sendMore(connection, context.now, context.emit);
}

export function setMss(connection: Connection, theirs: number | undefined): void {
  if (theirs !== undefined) connection.mss = Math.min(connection.ownMss, Math.max(MSS_MIN, theirs));
  connection.congestionWindow = INITIAL_WINDOW_SEGMENTS * connection.mss;
}

function establish(connection: Connection, segment: Segment, context: ReceiveContext): void {
  // The application may have said all it wanted before anybody listened.
  connection.state = connection.isEnding ? "fin-wait-1" : "established";
  connection.limitAt = undefined;
  connection.sndUna = plus(connection.iss, 1);
  connection.sndWindow = segment.window;
  connection.rtoAt = undefined;
  connection.sends = 1;
  context.opened(connection);
}

/** RFC 9293 §3.4: any octet of it lies in the window. */
function isInWindow(connection: Connection, segment: Segment): boolean {
  const space = spaceOf(segment);
  const window = windowOf(connection);
  const start = distance(connection.rcvNxt, segment.seq);
  if (window === 0) return space === 0 && start === 0;
  if (space === 0) return start >= 0 && start < window;
  return start < window && start + space > 0;
}

/** @returns whether the rest of the segment counts */
function takeAcknowledgement(connection: Connection, segment: Segment, context: ReceiveContext): boolean {
  const { emit, now } = context;
  const isNew = distance(connection.sndUna, segment.ack);
  const isSent = distance(segment.ack, connection.sndMax) >= 0;
  if (connection.state === "syn-received") {
    // Whoever acknowledges what we have not sent has not seen our answer.
    if (isNew !== 1 || !isSent) return false;
    establish(connection, segment, context);
    return true;
  }
  if (!isSent) {
    context.challenge(connection);
    return false;
  }
  if (isNew < 0) return true;
  const isWaiting = connection.sndUna !== connection.sndMax;
  const isDuplicate = isNew === 0 && segment.payload.length === 0 && !segment.isFin && isWaiting;
  if (isDuplicate && segment.window === connection.sndWindow) {
    connection.duplicateAcks++;
    if (connection.duplicateAcks === DUPLICATE_ACKS) retransmitFast(connection, now, emit);
    return true;
  }
  takeAck(connection, now, segment);
  if (connection.isEndAcknowledged) moveOn(connection, context);
  return true;
}

/** Our end has arrived. */
function moveOn(connection: Connection, { now, closed }: ReceiveContext): void {
  switch (connection.state) {
    case "fin-wait-1":
      connection.state = "fin-wait-2";
      connection.limitAt = after(now, FIN_WAIT_2_MS);
      return;
    case "closing":
      return waitTime(connection, now);
    case "last-ack":
      return closed(connection, "done");
    default:
      return;
  }
}

function waitTime(connection: Connection, now: Instant): void {
  connection.state = "time-wait";
  connection.limitAt = after(now, TIME_WAIT_MS);
}

/** In order to the application, ahead of it aside. */
function takeData(connection: Connection, segment: Segment, context: ReceiveContext): void {
  if (spaceOf(segment) === 0 || !isSynchronized(connection)) return;
  if (distance(connection.rcvNxt, segment.seq) > 0) {
    if (connection.outOfOrder.length < OUT_OF_ORDER_MAX) {
      connection.outOfOrder = [...connection.outOfOrder, { ...segment, payload: segment.payload.slice() }];
    }
    return sendAck(connection, context.emit);
  }
  take(connection, segment, context);
  for (let next = takeNext(connection); next !== undefined; next = takeNext(connection)) {
    take(connection, next, context);
  }
  sendAck(connection, context.emit);
}

function takeNext(connection: Connection): Segment | undefined {
  const found = connection.outOfOrder.find(({ seq }) => distance(connection.rcvNxt, seq) <= 0);
  connection.outOfOrder = connection.outOfOrder.filter((segment) => segment !== found);
  return found;
}

/** What of it is new, as far as the window goes. */
function take(connection: Connection, { seq, payload, isFin }: Segment, context: ReceiveContext): void {
  const known = -distance(connection.rcvNxt, seq);
  const fresh = payload.subarray(known, known + windowOf(connection));
  const isWhole = known + fresh.length >= payload.length;
  if (fresh.length > 0) {
    connection.rcvNxt = plus(connection.rcvNxt, fresh.length);
    connection.unread += fresh.length;
    context.data(connection, fresh);
  }
  // Its place is behind the last octet; one that came twice is known.
  if (isFin && isWhole && distance(plus(seq, payload.length), connection.rcvNxt) === 0)
    takeEnd(connection, context);
}

function takeEnd(connection: Connection, context: ReceiveContext): void {
  switch (connection.state) {
    case "established":
      connection.state = "close-wait";
      break;
    case "fin-wait-1":
      connection.state = "closing";
      break;
    case "fin-wait-2":
      waitTime(connection, context.now);
      break;
    default:
      return;
  }
  connection.rcvNxt = plus(connection.rcvNxt, 1);
  context.ended(connection);
}
