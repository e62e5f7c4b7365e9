/** The state of one connection (RFC 9293 §3.3.1): what it sends, what it receives, when it acts by itself. */
import { earliest, type Instant, instant, type SocketAddress } from "../base/index.ts";
import type { TokenBucket } from "../packet/index.ts";
import { type Congestion, createCongestion } from "./congestion.ts";
import type { TcpProfile } from "./profile.ts";
import { createRack, type Rack } from "./rack.ts";
import { type Block, createReassembly, type Reassembly } from "./reassembly.ts";
import { createRoundTrip, type RoundTrip } from "./round-trip.ts";
import { createSendQueue, type SendQueue } from "./send-queue.ts";
import { createSentRanges, type SentRanges } from "./sent-ranges.ts";
import { plus } from "./sequence.ts";

/** LISTEN is the host's `admit`, TIME-WAIT its table of those (`time-wait.ts`). */
export type TcpState =
  | "syn-sent"
  | "syn-received"
  | "established"
  | "fin-wait-1"
  | "fin-wait-2"
  | "close-wait"
  | "closing"
  | "last-ack";

/** `probe` is that of the tail (RFC 8985 §7), `persist` that of a closed window. */
export type Deadline = "rto" | "probe" | "reorder" | "persist" | "delayedAck" | "keepAlive" | "limit";

export interface Sender {
  /** The first offset that is not acknowledged, and the one behind the last that was ever sent. */
  una: number;
  nxt: number;
  windowBytes: number;
  windowMostBytes: number;
  /** Offsets of sequence and acknowledgement of the segment that last told the window (SND.WL1, SND.WL2). */
  windowSeq: number;
  windowAck: number;
  /** Payload of a packet, options that every segment has already subtracted (RFC 6691). */
  mss: number;
  readonly queue: SendQueue;
  /** The application has no more to send. */
  isEnding: boolean;
  readonly sent: SentRanges;
  readonly rtt: RoundTrip;
  readonly congestion: Congestion;
  readonly rack: Rack;
  /** Only without SACK. */
  duplicateAcks: number;
  /** How often the SYN, the oldest octet, or a probe was sent without an answer. */
  sends: number;
  /** Probes of a closed window since it closed: each waits twice as long. */
  probes: number;
  synSentAt: Instant | undefined;
  lastSentAt: Instant | undefined;
  /** What is to be sent by itself at the next occasion. */
  isSynDue: boolean;
  isProbeDue: boolean;
  /** A silly little segment has waited long enough. */
  isRestDue: boolean;
  isTailDue: boolean;
  /** Octets that may be queued (`buffers.ts`). */
  bufferBytes: number;
  /** The application was told to wait. */
  isRoomWanted: boolean;
  /** Time stamp of the first retransmission after a time-out (RFC 3522). */
  retransmittedAt: number | undefined;
}

export interface Receiver {
  nxt: number;
  /** Right edge of the widest window that was announced: it never moves back. */
  edge: number;
  /** Octets that the application has not taken yet. */
  unread: number;
  /** So many may wait for it (`buffers.ts`). */
  bufferBytes: number;
  /** Smoothed time from an acknowledgement to the data behind it. */
  arrivalMs: number | undefined;
  /** What the application has taken in this round trip. */
  readonly reading: { since: Instant; octets: number };
  /** Acknowledgements that are to be sent now. */
  acksDue: number;
  /** Octets that came in order since the last acknowledgement. */
  unacknowledged: number;
  /** What the last acknowledgement said. */
  acknowledged: number;
  reassembly: Reassembly;
  /** Octets that came twice, for the next acknowledgement (RFC 2883). */
  duplicate: Block | undefined;
  /** Offset of the peer's FIN, once it is known. */
  finAt: number | undefined;
  /** TS.Recent, and when it came. */
  timestamp: number;
  timestampAt: Instant | undefined;
}

export interface Connection {
  readonly id: number;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly profile: TcpProfile;
  state: TcpState;
  /** The number of our SYN, and of the peer's. */
  readonly iss: number;
  irs: number;
  /** Added to the clock: what a time stamp says is nobody's business (RFC 7323 §7.1). */
  readonly timestampOffset: number;
  readonly ownMss: number;
  /** Agreed upon in the handshake; until then, what we offer. */
  hasTimestamps: boolean;
  hasSack: boolean;
  sendShift: number;
  /** Absent: windows are not scaled in either direction. */
  receiveShift: number | undefined;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly deadlines: Record<Deadline, Instant | undefined>;
  /** Made with the first challenge. */
  challenges: TokenBucket | undefined;
  keepAliveMs: number | undefined;
  /** Unanswered keep-alives. */
  keepAlives: number;
}

export type NewConnection = Pick<
  Connection,
  "id" | "local" | "remote" | "profile" | "state" | "iss" | "timestampOffset" | "ownMss" | "keepAliveMs"
> & { readonly mss: number };

export function createConnection({ mss, ...given }: NewConnection): Connection {
  const { profile } = given;
  return {
    ...given,
    irs: 0,
    hasTimestamps: profile.hasTimestamps,
    hasSack: profile.hasSack,
    sendShift: 0,
    receiveShift: profile.windowShift,
    sender: createSender(mss, profile),
    receiver: createReceiver(profile),
    deadlines: {
      rto: undefined,
      probe: undefined,
      reorder: undefined,
      persist: undefined,
      delayedAck: undefined,
      keepAlive: undefined,
      limit: undefined,
    },
    challenges: undefined,
    keepAlives: 0,
  };
}

function createSender(mss: number, { sendBufferBytes }: TcpProfile): Sender {
  return {
    una: 0,
    nxt: 0,
    windowBytes: 0,
    windowMostBytes: 0,
    windowSeq: 0,
    windowAck: 0,
    mss,
    queue: createSendQueue(),
    isEnding: false,
    sent: createSentRanges(),
    rtt: createRoundTrip(),
    congestion: createCongestion(mss),
    rack: createRack(),
    duplicateAcks: 0,
    sends: 0,
    probes: 0,
    synSentAt: undefined,
    lastSentAt: undefined,
    isSynDue: false,
    isProbeDue: false,
    isRestDue: false,
    isTailDue: false,
    bufferBytes: sendBufferBytes,
    isRoomWanted: false,
    retransmittedAt: undefined,
  };
}

function createReceiver({ receiveBufferBytes }: TcpProfile): Receiver {
  return {
    nxt: 0,
    // A SYN cannot say more (RFC 7323 §2.2).
    edge: Math.min(receiveBufferBytes, 65_535),
    unread: 0,
    bufferBytes: receiveBufferBytes,
    arrivalMs: undefined,
    reading: { since: instant(0), octets: 0 },
    acksDue: 0,
    unacknowledged: 0,
    acknowledged: 0,
    reassembly: createReassembly(),
    duplicate: undefined,
    finAt: undefined,
    timestamp: 0,
    timestampAt: undefined,
  };
}

/** Whether the handshake is done. */
export function isSynchronized({ state }: Connection): boolean {
  return state !== "syn-sent" && state !== "syn-received";
}

/** The number of offset 0 in each direction: the SYN has the one before. */
export function firstSent({ iss }: Connection): number {
  return plus(iss, 1);
}

export function firstReceived({ irs }: Connection): number {
  return plus(irs, 1);
}

/** Offset behind all that is to be sent, FIN included. */
export function sendEnd({ queue, isEnding }: Sender): number {
  return queue.end + (isEnding ? 1 : 0);
}

/**
 * Octets that the network is thought to hold. Without SACK every duplicate tells of a segment that has left it
 * (RFC 5681 §3.2).
 */
export function flightOf({ hasSack, sender }: Connection): number {
  const { sent, duplicateAcks, mss } = sender;
  return hasSack ? sent.flying : Math.max(0, sent.flying - duplicateAcks * mss);
}

export function timestampAt({ timestampOffset }: Pick<Connection, "timestampOffset">, now: Instant): number {
  return plus(timestampOffset, Math.floor(now));
}

export function nextDeadline({ deadlines }: Connection): Instant | undefined {
  const { rto, probe, reorder, persist, delayedAck, keepAlive, limit } = deadlines;
  return earliest(rto, probe, reorder, persist, delayedAck, keepAlive, limit);
}
