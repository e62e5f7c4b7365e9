/**
 * What the peer's acknowledgements do to what is sent: forgotten, timed, marked lost, slowed down (RFC 9293 §3.10.7.4,
 * RFC 5681, RFC 6298, RFC 6675, RFC 8985).
 */
import { after, type Instant } from "../base/index.ts";
import { growSendBuffer } from "./buffers.ts";
import { enterRecovery, grow, leaveAt, lowerOnce, undoLoss } from "./congestion.ts";
import { type Connection, firstSent, flightOf, timestampAt } from "./connection.ts";
import { DUPLICATE_ACKS, SENT_RANGES_MAX } from "./constants.ts";
import { detectLoss, noteDelivered, noteDuplicate, noteRecovered, reorderingWindow } from "./rack.ts";
import { learn } from "./round-trip.ts";
import type { Segment } from "./segment.ts";
import { release } from "./send-queue.ts";
import { armTailProbe } from "./sending.ts";
import { acknowledge, loseFirst, type SentRange, sack, setState } from "./sent-ranges.ts";
import { distance, toOffset } from "./sequence.ts";

/** What one acknowledgement has told. */
interface Told {
  readonly now: Instant;
  readonly segment: Segment;
  readonly unaBefore: number;
  readonly flightBefore: number;
  ack: number;
  delivered: number;
  hasDuplicate: boolean;
  /** By that duplicate RACK's patience has grown. */
  isWindowWider: boolean;
  isSackNew: boolean;
  /** Of the oldest segment that was sent once only. */
  rttMs: number | undefined;
}

/**
 * Takes the acknowledgement of an acceptable segment.
 * @param windowStart offset of the segment in the peer's stream
 * @returns false: it acknowledges what was never sent, or long ago (RFC 5961 §5)
 */
export function takeAck(
  connection: Connection,
  now: Instant,
  segment: Segment,
  windowStart: number,
): boolean {
  const { sender } = connection;
  const ack = toOffset(firstSent(connection), sender.una, segment.ack);
  if (ack > sender.nxt || ack < sender.una - sender.windowMostBytes) return false;
  if (ack < sender.una) return true;
  const told: Told = {
    now,
    segment,
    unaBefore: sender.una,
    flightBefore: flightOf(connection),
    ack,
    delivered: 0,
    hasDuplicate: false,
    isWindowWider: false,
    isSackNew: false,
    rttMs: undefined,
  };
  takeDelivered(connection, told);
  const isWindowSame = takeWindow(connection, segment, windowStart, ack);
  if (!connection.hasSack) countDuplicate(connection, told, isWindowSame);
  learnRoundTrip(connection, told);
  undoIfSpurious(connection, told);
  judgeTail(connection, told);
  if (connection.hasSack) findLost(connection, now, told.flightBefore);
  finishPhase(connection, told);
  growWindow(connection, told);
  setTimers(connection, told);
  return true;
}

function takeDelivered(connection: Connection, told: Told): void {
  const { sender } = connection;
  const { rack, rtt, sent } = sender;
  const echo = connection.hasTimestamps ? told.segment.timestamp?.echo : undefined;
  const note = (range: Readonly<SentRange>): void => {
    told.delivered += range.end - range.start;
    const isStale = echo !== undefined && distance(timestampAt(connection, range.sentAt), echo) < 0;
    noteDelivered(rack, range, { now: told.now, leastMs: rtt.leastMs, isStale });
  };
  acknowledge(sent, told.ack, (range) => {
    if (range.sends === 1) told.rttMs ??= told.now - range.sentAt;
    note(range);
  });
  sender.una = told.ack;
  release(sender.queue, told.ack);
  if (connection.hasSack && told.segment.sacks !== undefined) takeSacks(connection, told, note);
}

function takeSacks(connection: Connection, told: Told, note: (range: Readonly<SentRange>) => void): void {
  const { sender } = connection;
  const blocks = (told.segment.sacks ?? []).map(({ start, end }) => ({
    start: toOffset(firstSent(connection), sender.una, start),
    end: toOffset(firstSent(connection), sender.una, end),
  }));
  const [first, second] = blocks;
  if (first === undefined) return;
  const isInside = second !== undefined && second.start <= first.start && first.end <= second.end;
  if (first.end <= sender.una || isInside) {
    told.hasDuplicate = true;
    told.isWindowWider = noteDuplicate(sender.rack, sender.una, sender.nxt);
  }
  for (const { start, end } of blocks) {
    if (start >= end || start < sender.una || end > sender.nxt) continue;
    if (sender.sent.list.length >= SENT_RANGES_MAX) return;
    sack(sender.sent, start, end, (range) => {
      told.isSackNew = true;
      note(range);
    });
  }
}

/** The newest segment tells the window (RFC 9293 §3.10.7.4). @returns whether it is as before */
function takeWindow(connection: Connection, segment: Segment, seq: number, ack: number): boolean {
  const { sender, sendShift } = connection;
  const isNewer = sender.windowSeq < seq || (sender.windowSeq === seq && sender.windowAck <= ack);
  if (!isNewer) return true;
  const before = sender.windowBytes;
  sender.windowBytes = segment.window * 2 ** sendShift;
  sender.windowMostBytes = Math.max(sender.windowMostBytes, sender.windowBytes);
  sender.windowSeq = seq;
  sender.windowAck = ack;
  // An answer to a probe says that the peer is alive: it may keep its window closed as long as it likes.
  if (connection.deadlines.persist !== undefined && connection.profile.windowProbeMs === undefined)
    sender.sends = 0;
  if (before === 0 && sender.windowBytes > 0) {
    sender.sends = 0;
    sender.probes = 0;
  }
  return sender.windowBytes === before;
}

/** Three duplicates tell of a loss where there is no SACK (RFC 5681 §3.2, RFC 6582). */
function countDuplicate(
  connection: Connection,
  { ack, unaBefore, segment }: Told,
  isWindowSame: boolean,
): void {
  const { sender } = connection;
  if (ack > unaBefore) {
    const { phase } = sender.congestion;
    sender.duplicateAcks = 0;
    // Part of it: the next segment is missing, too.
    if (phase.kind === "recovery" && ack < phase.until) loseFirst(sender.sent, sender.mss);
    return;
  }
  const isDuplicate =
    isWindowSame && segment.payload.length === 0 && !segment.isFin && sender.nxt > sender.una;
  if (!isDuplicate || sender.congestion.phase.kind === "loss") return;
  sender.duplicateAcks++;
  if (sender.duplicateAcks === DUPLICATE_ACKS) {
    loseFirst(sender.sent, sender.mss);
    enterRecovery(sender.congestion, sender.nxt - sender.una, sender.nxt);
  }
}

function learnRoundTrip(connection: Connection, { now, rttMs, ack, unaBefore, segment }: Told): void {
  const { sender, profile, hasTimestamps } = connection;
  let sampleMs = rttMs;
  const echo = segment.timestamp?.echo;
  // What was sent twice is timed by what the peer echoes (RFC 7323 §4.1).
  if (sampleMs === undefined && ack > unaBefore && hasTimestamps && echo !== undefined && echo !== 0) {
    sampleMs = Math.max(0, distance(echo, timestampAt(connection, now)));
  }
  if (sampleMs === undefined) return;
  learn(sender.rtt, now, sampleMs, profile);
  sender.rack.isTimed = true;
}

/** The first answer after a time-out is to what was sent before it: nothing was lost (RFC 3522 §3.2, RFC 4015). */
function undoIfSpurious(connection: Connection, { segment, ack, unaBefore }: Told): void {
  const { sender, hasTimestamps } = connection;
  if (sender.retransmittedAt === undefined || ack <= unaBefore) return;
  const echo = hasTimestamps ? segment.timestamp?.echo : undefined;
  const isOld = echo !== undefined && distance(sender.retransmittedAt, echo) < 0;
  sender.retransmittedAt = undefined;
  if (!isOld || sender.congestion.phase.kind !== "loss") return;
  undoLoss(sender.congestion);
  for (const range of sender.sent.list) if (range.state === "lost") setState(sender.sent, range, "flying");
}

/** RFC 8985 §7.4.2: whether the probe of a tail has mended a loss. */
function judgeTail(connection: Connection, { ack, unaBefore, hasDuplicate, isSackNew, segment }: Told): void {
  const { rack, congestion } = connection.sender;
  const { tail } = rack;
  if (tail === undefined || ack < tail.end) return;
  const isBareRepetition = ack === unaBefore && !isSackNew && segment.payload.length === 0;
  if (!tail.isAgain || hasDuplicate || isBareRepetition) rack.tail = undefined;
  else if (ack > tail.end) {
    rack.tail = undefined;
    lowerOnce(congestion);
  }
}

/** Marks what is lost by now, and looks again when what is only late will be (RFC 8985 §6.2 steps 4 and 5). */
export function findLost(connection: Connection, now: Instant, flightBefore = 0): void {
  const { sender, deadlines } = connection;
  const { sent, rack, rtt, congestion, mss } = sender;
  const windowMs = reorderingWindow(rack, {
    sackedSegments: sent.sacked / mss,
    isRecovering: congestion.phase.kind !== "open",
    rtt,
  });
  const { lostBytes, again } = detectLoss(sent, rack, now, windowMs);
  deadlines.reorder = again;
  // FlightSize counts what has been sacked, too (RFC 6937 §2).
  const flight = Math.max(flightBefore, sender.nxt - sender.una);
  if (lostBytes > 0) enterRecovery(congestion, flight, sender.nxt);
}

function finishPhase({ sender }: Connection, { ack, isWindowWider }: Told): void {
  if (!leaveAt(sender.congestion, ack)) return;
  sender.duplicateAcks = 0;
  // Behind a time-out, too (RFC 8985 §6.2 step 4).
  if (!isWindowWider) noteRecovered(sender.rack);
}

function growWindow(connection: Connection, { now, delivered, flightBefore, rttMs }: Told): void {
  const { sender, profile } = connection;
  grow(sender.congestion, {
    now,
    ...{ delivered, flightBefore, rttMs, una: sender.una, nxt: sender.nxt },
    flight: flightOf(connection),
    smoothedMs: sender.rtt.smoothedMs ?? 0,
    mostBytes: 2 * Math.max(profile.sendBufferBytes, profile.sendBufferMostBytes ?? 0),
  });
  growSendBuffer(connection);
}

/** RFC 6298 §5.2, §5.3. */
function setTimers(connection: Connection, { now, ack, unaBefore }: Told): void {
  const { sender, deadlines } = connection;
  if (ack > unaBefore) {
    sender.sends = 0;
    deadlines.rto = ack < sender.nxt ? after(now, sender.rtt.rtoMs) : undefined;
    armTailProbe(connection, now);
  }
  if (sender.una === sender.nxt) {
    deadlines.reorder = undefined;
    deadlines.probe = undefined;
  }
}
