/**
 * What a connection sends when it is asked: SYN, what was lost, probes, new data, FIN, or a bare acknowledgement, in
 * this order. Segments are made only then, so that each carries the newest acknowledgement and window.
 */
import { after, earliest, type Instant } from "../base/index.ts";
import { noteOutput, restartAfterIdle, roomIn } from "./congestion.ts";
import {
  type Connection,
  firstReceived,
  firstSent,
  flightOf,
  isSynchronized,
  sendEnd,
  timestampAt,
} from "./connection.ts";
import { type Outgoing, optionBytesOf } from "./encode.ts";
import { probeDelay } from "./rack.ts";
import { NO_OCTETS, type SackBlock, type Segment } from "./segment.ts";
import { cutAt, firstLost, noteSent, noteSentAgain } from "./sent-ranges.ts";
import { plus } from "./sequence.ts";

/** Blocks beside a time stamp, and alone. */
const SACK_BLOCKS_MAX = { withTimestamp: 3, alone: 4 } as const;

/** A segment, and from which offset its payload is to be copied. */
export interface Emission extends Outgoing {
  readonly from: number;
  readonly isAgain: boolean;
}

/** The next segment, with up to `mostBytes` of payload in whole packets; `undefined`: nothing is to be sent now. */
export function nextEmission(connection: Connection, now: Instant, mostBytes: number): Emission | undefined {
  const { sender, receiver } = connection;
  if (sender.isSynDue) return emitSyn(connection, now);
  if (connection.state === "syn-sent") return undefined;
  const data = isSynchronized(connection) ? nextData(connection, now, mostBytes) : undefined;
  if (data !== undefined) return data;
  if (sender.isProbeDue) {
    sender.isProbeDue = false;
    return emit(connection, now, { start: sender.una - 1, end: sender.una - 1, sacks: [] });
  }
  if (receiver.acksDue === 0) return undefined;
  // Each one is told of separately only where nothing but their number tells anything.
  const left = connection.hasSack ? 0 : receiver.acksDue - 1;
  const acknowledgement = emit(connection, now, plainAt(connection));
  receiver.acksDue = left;
  return acknowledgement;
}

function nextData(connection: Connection, now: Instant, mostBytes: number): Emission | undefined {
  return (
    emitLost(connection, now, mostBytes) ??
    (connection.sender.isTailDue ? emitTail(connection, now) : undefined) ??
    emitNew(connection, now, mostBytes)
  );
}

function emitSyn(connection: Connection, now: Instant): Emission {
  const { sender, profile, state } = connection;
  const isAnswer = state === "syn-received";
  sender.isSynDue = false;
  if (sender.sends++ === 0) sender.synSentAt = now;
  connection.deadlines.rto = after(now, sender.rtt.rtoMs);
  const segment: Segment = {
    seq: connection.iss,
    ack: isAnswer ? firstReceived(connection) : 0,
    isSyn: true,
    isAck: isAnswer,
    isFin: false,
    isRst: false,
    window: connection.receiver.edge,
    mss: connection.ownMss,
    ...(connection.hasSack && { isSackPermitted: true }),
    ...(connection.hasTimestamps && { timestamp: stampOf(connection, now) }),
    ...(connection.receiveShift !== undefined && { windowShift: profile.windowShift ?? 0 }),
    payload: NO_OCTETS,
  };
  return { segment, payloadBytes: 0, gsoBytes: 0, from: 0, isAgain: sender.sends > 1 };
}

function stampOf(connection: Connection, now: Instant): { value: number; echo: number } {
  return { value: timestampAt(connection, now), echo: connection.receiver.timestamp };
}

/** The oldest lost octets, as far as the network has room. */
function emitLost(connection: Connection, now: Instant, mostBytes: number): Emission | undefined {
  const { sent, mss, congestion } = connection.sender;
  const range = firstLost(sent);
  if (range === undefined) return undefined;
  const octets = range.end - range.start;
  const room = roomIn(congestion, flightOf(connection));
  if (room < Math.min(octets, mss)) return undefined;
  const sacks = sackBlocks(connection);
  const most = Math.min(mostBytes, Math.max(room, mss));
  const end = range.start + Math.min(octets, wholePackets(connection, most, sacks.length));
  noteSentAgain(sent, range, end, now);
  if (congestion.phase.kind === "loss") {
    connection.sender.retransmittedAt ??= timestampAt(connection, now);
  }
  // Mending may take longer than the RTO while answers keep coming (RFC 6675 §6).
  if (connection.hasSack && congestion.phase.kind === "recovery") {
    connection.deadlines.rto = after(now, connection.sender.rtt.rtoMs);
  }
  return emitData(connection, now, { start: range.start, end, sacks, isAgain: true });
}

/** New data, as far as the peer and the network have room; FIN with the last of it. */
function emitNew(connection: Connection, now: Instant, mostBytes: number): Emission | undefined {
  const { sender } = connection;
  const { nxt, queue } = sender;
  const end = sendEnd(sender);
  if (nxt >= end) return undefined;
  const flight = flightOf(connection);
  restartIfIdle(connection, now);
  const window = sender.una + sender.windowBytes - nxt;
  const room = Math.min(window, roomIn(sender.congestion, flight));
  if (room <= 0) return undefined;
  const sacks = sackBlocks(connection);
  const left = queue.end - nxt;
  let octets = Math.min(left, room, wholePackets(connection, mostBytes, sacks.length));
  if (octets < left) {
    const packet = sender.mss - optionBytesOf(false, sacks.length);
    const whole = octets - (octets % packet);
    // Silly little segments wait, but not for ever (RFC 9293 §3.8.6.2.1).
    const isWorth = sender.isRestDue || octets * 2 >= sender.windowMostBytes;
    if (whole === 0 && !(isWorth && octets === window)) return undefined;
    if (whole > 0) octets = whole;
  }
  sender.isRestDue = false;
  const isLast = end > queue.end && octets === left && room > octets;
  if (octets === 0 && !isLast) return undefined;
  const to = nxt + octets + (isLast ? 1 : 0);
  noteSent(sender.sent, nxt, to, now);
  sender.nxt = to;
  return emitData(connection, now, { start: nxt, end: to, sacks });
}

function restartIfIdle({ sender }: Connection, now: Instant): void {
  const { lastSentAt, una, nxt, rtt, congestion } = sender;
  if (una === nxt && lastSentAt !== undefined && now - lastSentAt > rtt.rtoMs) restartAfterIdle(congestion);
}

/** A segment of new data, or the last one again, so that the peer tells what it has (RFC 8985 §7.3). */
function emitTail(connection: Connection, now: Instant): Emission | undefined {
  const { sender } = connection;
  const { sent, mss, rack } = sender;
  sender.isTailDue = false;
  const last = sent.list.at(-1);
  if (last?.state !== "flying") return undefined;
  rack.isTimed = false;
  const start = sender.nxt;
  const window = sender.una + sender.windowBytes - start;
  const fresh = Math.min(sender.queue.end - start, mss, window);
  if (fresh > 0) {
    noteSent(sent, start, start + fresh, now);
    sender.nxt += fresh;
    rack.tail = { end: sender.nxt, isAgain: false };
    return emitData(connection, now, { start, end: start + fresh, sacks: [] });
  }
  const from = Math.max(last.start, last.end - mss);
  cutAt(sent, last, from);
  const tail = sent.list.at(-1) ?? last;
  tail.sentAt = now;
  tail.sends++;
  rack.tail = { end: sender.nxt, isAgain: true };
  return emitData(connection, now, { start: from, end: sender.nxt, sacks: [], isAgain: true });
}

/** As many octets as whole packets hold; at least one packet. */
function wholePackets({ sender }: Connection, mostBytes: number, sackCount: number): number {
  const packet = sender.mss - optionBytesOf(false, sackCount);
  return Math.max(packet, mostBytes - (mostBytes % packet));
}

interface Content {
  readonly start: number;
  /** Behind FIN, if it lies behind the data. */
  readonly end: number;
  readonly sacks: readonly SackBlock[];
  readonly isAgain?: boolean;
}

function emitData(connection: Connection, now: Instant, content: Content): Emission {
  const { sender, deadlines } = connection;
  noteOutput(sender.congestion, content.end - content.start);
  sender.lastSentAt = now;
  deadlines.persist = undefined;
  deadlines.rto ??= after(now, sender.rtt.rtoMs);
  armTailProbe(connection, now);
  return emit(connection, now, content);
}

/** RFC 8985 §7.2: only where SACK tells of losses, nothing is known to be lost, and no probe is under way or untimed. */
export function armTailProbe({ hasSack, sender, deadlines }: Connection, now: Instant): void {
  const { sent, congestion, rack, rtt, mss } = sender;
  deadlines.probe = undefined;
  const isEligible = hasSack && congestion.phase.kind === "open" && sent.sacked === 0 && sent.lost === 0;
  if (!isEligible || rack.tail !== undefined || !rack.isTimed || sent.flying === 0) return;
  // Where the RTO would come first, the probe takes its place: it costs the window nothing.
  deadlines.probe = earliest(after(now, probeDelay(rtt, sent.flying <= mss)), deadlines.rto);
}

function plainAt(connection: Connection): Content {
  const { nxt } = connection.sender;
  return { start: nxt, end: nxt, sacks: sackBlocks(connection) };
}

function emit(
  connection: Connection,
  now: Instant,
  { start, end, sacks, isAgain = false }: Content,
): Emission {
  const { sender, receiver, hasTimestamps } = connection;
  const payloadBytes = Math.max(0, Math.min(end, sender.queue.end) - start);
  const segment: Segment = {
    seq: plus(firstSent(connection), start),
    ack: plus(firstReceived(connection), receiver.nxt),
    isSyn: false,
    isAck: true,
    isFin: end > start && end > sender.queue.end,
    isRst: false,
    isPush: payloadBytes > 0 && start + payloadBytes === sender.queue.end,
    window: announce(connection),
    ...(hasTimestamps && { timestamp: stampOf(connection, now) }),
    ...(sacks.length > 0 && { sacks }),
    payload: NO_OCTETS,
  };
  noteAcknowledged(connection);
  const gsoBytes = sender.mss - optionBytesOf(false, sacks.length);
  return { segment, payloadBytes, gsoBytes, from: start, isAgain };
}

/** Every segment acknowledges. */
function noteAcknowledged({ receiver, deadlines }: Connection): void {
  receiver.acksDue = 0;
  receiver.unacknowledged = 0;
  receiver.acknowledged = receiver.nxt;
  receiver.duplicate = undefined;
  deadlines.delayedAck = undefined;
}

/** What lies behind gaps, the newest first; before it, what came twice (RFC 2018 §4, RFC 2883 §4). */
function sackBlocks(connection: Connection): readonly SackBlock[] {
  const { hasSack, hasTimestamps, receiver } = connection;
  const { duplicate, reassembly } = receiver;
  if (!hasSack || (duplicate === undefined && reassembly.recent.length === 0)) return [];
  const first = firstReceived(connection);
  const most = hasTimestamps ? SACK_BLOCKS_MAX.withTimestamp : SACK_BLOCKS_MAX.alone;
  const blocks = duplicate === undefined ? reassembly.recent : [duplicate, ...reassembly.recent];
  return blocks
    .slice(0, most)
    .map(({ start, end }) => ({ start: plus(first, start), end: plus(first, end) }));
}

/** Room for what the application has not taken. */
export function windowEdge({ receiver, ownMss }: Connection): number {
  const { bufferBytes } = receiver;
  const wanted = receiver.nxt + Math.max(0, bufferBytes - receiver.unread);
  // Silly little steps are not announced (RFC 9293 §3.8.6.2.2).
  const isWorth = wanted - receiver.edge >= Math.min(bufferBytes / 2, ownMss);
  return isWorth ? wanted : receiver.edge;
}

/** The window field; what has been announced before stays (RFC 9293 §3.8.6). */
function announce(connection: Connection): number {
  const { receiver, receiveShift = 0 } = connection;
  const octets = windowEdge(connection) - receiver.nxt;
  const unit = 2 ** receiveShift;
  const field = Math.min(65_535, roundedWindow(connection, octets, unit));
  receiver.edge = Math.max(receiver.edge, receiver.nxt + field * unit);
  return field;
}

/** Down; up where the edge would move back by the rounding, unless that has been done already. */
function roundedWindow({ receiver }: Connection, octets: number, unit: number): number {
  const down = Math.floor(octets / unit);
  if (receiver.nxt + down * unit >= receiver.edge) return down;
  const promised = receiver.edge - receiver.nxt + receiver.unread - receiver.bufferBytes;
  return promised < unit ? Math.ceil(octets / unit) : down;
}

/**
 * Nothing more is to be sent for now. Data that wait while nothing is under way wait for the peer's window, which has
 * to be asked after, since its opening may get lost (RFC 9293 §3.8.6.1).
 */
export function settle({ sender, deadlines, profile, state }: Connection, now: Instant): void {
  const isWaiting = sender.una === sender.nxt && sender.nxt < sendEnd(sender);
  if (!isWaiting || state === "syn-sent" || state === "syn-received") {
    deadlines.persist = undefined;
    return;
  }
  const { windowProbeMs, rtoMaxMs } = profile;
  const growing = Math.min(rtoMaxMs, sender.rtt.rtoMs * 2 ** Math.min(sender.probes, 16));
  deadlines.persist ??= after(now, windowProbeMs ?? growing);
}
