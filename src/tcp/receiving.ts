/** What a segment does to its connection (RFC 9293 §3.10.7, RFC 5961, RFC 7323 §5). */
import { after, type Instant } from "../base/index.ts";
import { createTokenBucket } from "../packet/index.ts";
import { takeAck } from "./acknowledging.ts";
import { timeArrival } from "./buffers.ts";
import { setSegmentSize } from "./congestion.ts";
import { type Connection, firstReceived, firstSent, sendEnd, timestampAt } from "./connection.ts";
import {
  CHALLENGE_ACKS_PER_SECOND,
  MSS_MIN,
  RTO_AFTER_SYN_LOSS_MS,
  TIMESTAMP_OUTDATED_MS,
  WINDOW_SHIFT_MAX,
} from "./constants.ts";
import { optionBytesOf } from "./encode.ts";
import { type Block, createReassembly, keep, takeReady } from "./reassembly.ts";
import { learn } from "./round-trip.ts";
import { resetFor, type Segment, spaceOf } from "./segment.ts";
import { distance, toOffset } from "./sequence.ts";
import { noteAlive } from "./timers.ts";

export type SegmentDrop = "challenge-limit" | "old-timestamp" | "no-timestamp" | "out-of-order-full";

/** What becomes known to the host. */
export interface Hooks {
  opened(connection: Connection): void;
  data(connection: Connection, bytes: Uint8Array): void;
  /** The peer has no more to send. */
  ended(connection: Connection): void;
  closed(connection: Connection, reason: "reset" | "refused" | "done"): void;
  /** Both have ended; a repetition of the peer's FIN may still come. */
  waits(connection: Connection): void;
  /** A segment that is no part of the connection. */
  reply(connection: Connection, segment: Segment): void;
  dropped(reason: SegmentDrop): void;
}

export interface Arrival {
  readonly now: Instant;
  /** Payload of each of its packets but the last; 0: it is a single packet. */
  readonly gsoBytes: number;
}

export function receive(connection: Connection, segment: Segment, arrival: Arrival, hooks: Hooks): void {
  const { now } = arrival;
  if (connection.state === "syn-sent") return receiveSynAnswer(connection, segment, now, hooks);
  const { receiver } = connection;
  const start = toOffset(firstReceived(connection), receiver.nxt, segment.seq);
  if (!passesTimestamp(connection, segment, start, now, hooks)) return;
  if (!isInWindow(connection, segment, start)) return refuse(connection, segment, start, now, hooks);
  if (segment.isRst) {
    // Anywhere else in the window it may be a guess (RFC 5961 §3).
    if (start === receiver.nxt)
      hooks.closed(connection, connection.state === "syn-received" ? "refused" : "reset");
    else challenge(connection, now, hooks);
    return;
  }
  if (segment.isSyn) return challenge(connection, now, hooks);
  if (!segment.isAck) return;
  noteAlive(connection, now);
  if (!takeAcknowledgement(connection, segment, start, now, hooks)) return;
  takeData(connection, segment, start, arrival, hooks);
}

/** SYN-SENT (RFC 9293 §3.10.7.3). */
function receiveSynAnswer(connection: Connection, segment: Segment, now: Instant, hooks: Hooks): void {
  const isOurs = segment.isAck && segment.ack === firstSent(connection);
  if (segment.isAck && !isOurs) {
    if (segment.isRst) return;
    hooks.reply(connection, resetFor(segment));
    // The peer still had a connection between these ends, which the reset ends: now our SYN counts. Only once, so that
    // forged segments cause no more.
    if (connection.sender.sends === 1) connection.sender.isSynDue = true;
    return;
  }
  if (segment.isRst) {
    if (isOurs) hooks.closed(connection, "refused");
    return;
  }
  if (!segment.isSyn) return;
  connection.irs = segment.seq;
  agree(connection, segment, now);
  if (isOurs) {
    establish(connection, segment, now, hooks);
    connection.receiver.acksDue = 1;
    return;
  }
  // Both open at once (RFC 9293 §3.5, figure 7).
  connection.state = "syn-received";
  connection.sender.windowBytes = segment.window;
  connection.sender.isSynDue = true;
}

/** Options count only if both ends have them (RFC 7323 §2.2, §3.2; RFC 2018 §2; RFC 9293 §3.7.1). */
export function agree(connection: Connection, syn: Segment, now: Instant): void {
  const { sender, receiver } = connection;
  connection.hasTimestamps = connection.hasTimestamps && syn.timestamp !== undefined;
  connection.hasSack = connection.hasSack && syn.isSackPermitted === true;
  if (syn.windowShift === undefined) connection.receiveShift = undefined;
  else if (connection.receiveShift !== undefined) {
    connection.sendShift = Math.min(WINDOW_SHIFT_MAX, syn.windowShift);
  }
  if (connection.hasTimestamps && syn.timestamp !== undefined) {
    receiver.timestamp = syn.timestamp.value;
    receiver.timestampAt = now;
  }
  const { mss = sender.mss } = syn;
  const path = Math.min(connection.ownMss, Math.max(MSS_MIN, mss));
  sender.mss = path - optionBytesOf(connection.hasTimestamps, 0);
  setSegmentSize(sender.congestion, sender.mss, true);
}

/** The handshake is done. `segment` is the SYN+ACK, or the ACK of ours. */
function establish(connection: Connection, segment: Segment, now: Instant, hooks: Hooks): void {
  const { sender, deadlines } = connection;
  // The application may have said all it wanted before anybody listened.
  connection.state = sender.isEnding ? "fin-wait-1" : "established";
  deadlines.limit = undefined;
  deadlines.rto = undefined;
  sender.isSynDue = false;
  sender.windowBytes = segment.isSyn ? segment.window : segment.window * 2 ** connection.sendShift;
  sender.windowMostBytes = sender.windowBytes;
  learnFromHandshake(connection, segment, now);
  if (sender.sends > 2) sender.congestion.windowBytes = sender.mss;
  sender.sends = 0;
  noteAlive(connection, now);
  hooks.opened(connection);
}

/** A SYN that was sent once is timed; one that was repeated by its time stamp (RFC 6298 §3, §5.7; RFC 7323 §4). */
function learnFromHandshake(connection: Connection, segment: Segment, now: Instant): void {
  const { sender, profile, hasTimestamps } = connection;
  const { synSentAt, rtt } = sender;
  const echo = hasTimestamps ? segment.timestamp?.echo : undefined;
  if (sender.sends === 1 && synSentAt !== undefined) learn(rtt, now, now - synSentAt, profile);
  else if (echo !== undefined && echo !== 0) {
    learn(rtt, now, Math.max(0, distance(echo, timestampAt(connection, now))), profile);
  } else rtt.rtoMs = Math.min(profile.rtoMaxMs, RTO_AFTER_SYN_LOSS_MS);
}

/** PAWS (RFC 7323 §5.3); then what is to be echoed (§4.3). @returns whether the segment counts */
function passesTimestamp(
  connection: Connection,
  segment: Segment,
  start: number,
  now: Instant,
  hooks: Hooks,
): boolean {
  const { receiver } = connection;
  if (!connection.hasTimestamps || segment.isRst) return true;
  const { timestamp } = segment;
  if (timestamp === undefined) {
    hooks.dropped("no-timestamp");
    return false;
  }
  const isOlder = distance(receiver.timestamp, timestamp.value) < 0;
  const isOutdated = receiver.timestampAt !== undefined && now - receiver.timestampAt > TIMESTAMP_OUTDATED_MS;
  if (isOlder && !isOutdated) {
    hooks.dropped("old-timestamp");
    receiver.acksDue = Math.max(1, receiver.acksDue);
    return false;
  }
  if (start <= receiver.acknowledged && start + spaceOf(segment) >= receiver.acknowledged) {
    receiver.timestamp = timestamp.value;
    receiver.timestampAt = now;
  }
  return true;
}

/** RFC 9293 §3.4: any octet of it lies in the window that was announced. */
function isInWindow({ receiver }: Connection, segment: Segment, start: number): boolean {
  const space = spaceOf(segment);
  const { nxt, edge } = receiver;
  if (edge === nxt) return space === 0 && start === nxt;
  if (space === 0) return start >= nxt && start < edge;
  return start < edge && start + space > nxt;
}

/** Outside of the window: the peer is told where we are, unless it is a reset (RFC 9293 §3.10.7.4). */
function refuse(connection: Connection, segment: Segment, start: number, now: Instant, hooks: Hooks): void {
  if (segment.isRst) return;
  const { receiver } = connection;
  if (segment.isSyn && connection.state === "syn-received" && start === -1) {
    // Both have opened at once, and know it (RFC 9293 §3.5); or our SYN+ACK was lost.
    if (segment.isAck && segment.ack === firstSent(connection)) {
      establish(connection, segment, now, hooks);
      receiver.acksDue = 1;
    } else connection.sender.isSynDue = true;
    return;
  }
  if (segment.payload.length === 0 && !segment.isFin && start !== receiver.nxt - 1) {
    return challenge(connection, now, hooks);
  }
  noteTwice(connection, start, start + segment.payload.length);
  receiver.acksDue = Math.max(1, receiver.acksDue);
}

function noteTwice({ hasSack, receiver }: Connection, start: number, end: number): void {
  if (hasSack && end > start && start >= 0 && end <= receiver.nxt) receiver.duplicate = { start, end };
}

/** An ACK that makes an honest peer repeat itself; limited, since forgers get it, too (RFC 5961 §7). */
function challenge(connection: Connection, now: Instant, hooks: Hooks): void {
  connection.challenges ??= createTokenBucket({
    ratePerSecond: CHALLENGE_ACKS_PER_SECOND,
    burst: CHALLENGE_ACKS_PER_SECOND,
  });
  if (connection.challenges.take(now)) connection.receiver.acksDue = Math.max(1, connection.receiver.acksDue);
  else hooks.dropped("challenge-limit");
}

/** @returns whether the rest of the segment counts */
function takeAcknowledgement(
  connection: Connection,
  segment: Segment,
  start: number,
  now: Instant,
  hooks: Hooks,
): boolean {
  if (connection.state === "syn-received") {
    // Whoever acknowledges something else has not seen our answer (RFC 9293 §3.10.7.4).
    if (segment.ack !== firstSent(connection)) {
      hooks.reply(connection, resetFor(segment));
      return false;
    }
    establish(connection, segment, now, hooks);
    connection.sender.windowSeq = start;
    return true;
  }
  if (!takeAck(connection, now, segment, start)) {
    challenge(connection, now, hooks);
    return false;
  }
  const { sender } = connection;
  if (sender.isEnding && sender.una === sendEnd(sender)) moveOn(connection, now, hooks);
  return true;
}

/** Our end has arrived. */
function moveOn(connection: Connection, now: Instant, hooks: Hooks): void {
  const { finWait2Ms } = connection.profile;
  switch (connection.state) {
    case "fin-wait-1":
      connection.state = "fin-wait-2";
      if (finWait2Ms !== undefined) connection.deadlines.limit = after(now, finWait2Ms);
      return;
    case "closing":
      return hooks.waits(connection);
    case "last-ack":
      return hooks.closed(connection, "done");
    default:
      return;
  }
}

/** In order to the application, ahead of it aside. */
function takeData(
  connection: Connection,
  segment: Segment,
  start: number,
  arrival: Arrival,
  hooks: Hooks,
): void {
  const { receiver } = connection;
  const { payload, isFin } = segment;
  if ((payload.length === 0 && !isFin) || !mayReceive(connection)) return;
  const end = Math.min(start + payload.length, receiver.edge);
  if (isFin && end === start + payload.length) receiver.finAt ??= end;
  const before = receiver.nxt;
  if (start > receiver.nxt) {
    keepAside(connection, payload, { start, end }, hooks);
    return;
  }
  noteTwice(connection, start, Math.min(end, receiver.nxt));
  deliver(connection, payload.subarray(receiver.nxt - start, end - start), hooks);
  timeArrival(connection, segment, arrival.now);
  const hadGap = receiver.reassembly.runs.length > 0;
  for (const piece of takeReady(receiver.reassembly, receiver.nxt)) deliver(connection, piece, hooks);
  const isEnd = receiver.finAt === receiver.nxt;
  if (isEnd) takeEnd(connection, hooks);
  dueAcknowledgement(connection, arrival, { octets: receiver.nxt - before, isUrgent: isEnd || hadGap });
}

/** Each one behind a gap is told of at once: their number says something, too (RFC 5681 §4.2). */
function keepAside(
  { receiver, profile, hasSack }: Connection,
  payload: Uint8Array,
  { start, end }: Block,
  hooks: Hooks,
): void {
  receiver.acksDue++;
  if (end <= start) return;
  const kept = keep(receiver.reassembly, start, payload.subarray(0, end - start), profile.outOfOrderMax);
  if (kept === "full") hooks.dropped("out-of-order-full");
  if (kept === "known" && hasSack) receiver.duplicate = { start, end };
}

/** Behind its FIN a peer has nothing to say. */
function mayReceive({ state }: Connection): boolean {
  return state === "established" || state === "fin-wait-1" || state === "fin-wait-2";
}

function deliver(connection: Connection, bytes: Uint8Array, hooks: Hooks): void {
  if (bytes.length === 0) return;
  connection.receiver.nxt += bytes.length;
  connection.receiver.unread += bytes.length;
  hooks.data(connection, bytes);
}

/** At once for every second full segment, and wherever something was missing (RFC 9293 §3.8.6.3, RFC 5681 §4.2). */
function dueAcknowledgement(
  { receiver, deadlines, profile, sender }: Connection,
  { now, gsoBytes }: Arrival,
  { octets, isUrgent }: { readonly octets: number; readonly isUrgent: boolean },
): void {
  receiver.unacknowledged += octets;
  const isSecond = receiver.unacknowledged >= 2 * Math.min(sender.mss, gsoBytes || sender.mss);
  // One for all of them: a second one with the same number would be a duplicate.
  if (isUrgent || octets === 0 || isSecond || profile.delayedAckMs === 0) receiver.acksDue = 1;
  else deadlines.delayedAck ??= after(now, profile.delayedAckMs);
}

function takeEnd(connection: Connection, hooks: Hooks): void {
  connection.receiver.nxt++;
  // Whatever claims to lie behind the end is nothing.
  connection.receiver.reassembly = createReassembly();
  connection.receiver.edge = Math.max(connection.receiver.edge, connection.receiver.nxt);
  const { state } = connection;
  if (state === "established") connection.state = "close-wait";
  else if (state === "fin-wait-1") connection.state = "closing";
  hooks.ended(connection);
  if (state === "fin-wait-2") hooks.waits(connection);
}
