/**
 * Connections that are over but for what may still be on its way (RFC 9293 §3.3.2): of each only what answers a
 * repetition of the peer's FIN. All last equally long, so that the oldest are the first to go.
 */
import { after, type Instant, type SocketAddress } from "../base/index.ts";
import { type Connection, firstReceived, firstSent, timestampAt } from "./connection.ts";
import { NO_OCTETS, type Segment } from "./segment.ts";
import { distance, plus } from "./sequence.ts";

export interface TimeWait {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  readonly seq: number;
  readonly ack: number;
  readonly window: number;
  readonly hasTimestamps: boolean;
  readonly timestampOffset: number;
  /** The peer's last time stamp. */
  readonly timestamp: number;
  endsAt: Instant;
}

export function toTimeWait(connection: Connection, now: Instant): TimeWait {
  const { local, remote, sender, receiver, hasTimestamps, timestampOffset, profile } = connection;
  return {
    ...{ local, remote, hasTimestamps, timestampOffset },
    seq: plus(firstSent(connection), sender.nxt),
    ack: plus(firstReceived(connection), receiver.nxt),
    window: Math.min(65_535, Math.ceil((receiver.edge - receiver.nxt) / 2 ** (connection.receiveShift ?? 0))),
    timestamp: receiver.timestamp,
    endsAt: after(now, profile.timeWaitMs),
  };
}

/**
 * Whether a SYN may begin a new connection between the same ends already: it is newer by its time stamp, or by its
 * number (RFC 6191 §2, RFC 9293 §3.10.7.4).
 */
export function isNewer(waiting: TimeWait, syn: Segment): boolean {
  if (!syn.isSyn || syn.isAck || syn.isRst) return false;
  const { timestamp } = syn;
  if (waiting.hasTimestamps && timestamp !== undefined) {
    const ahead = distance(waiting.timestamp, timestamp.value);
    if (ahead !== 0) return ahead > 0;
  }
  return distance(waiting.ack, syn.seq) > 0;
}

/** The acknowledgement of the peer's FIN, once more; what the peer says counts no more (RFC 1337: nor a reset). */
export function repeatAck(waiting: TimeWait, now: Instant): Segment {
  const { seq, ack, window, hasTimestamps, timestamp } = waiting;
  return {
    ...{ seq, ack, window, isSyn: false, isAck: true, isFin: false, isRst: false, payload: NO_OCTETS },
    ...(hasTimestamps && { timestamp: { value: timestampAt(waiting, now), echo: timestamp } }),
  };
}
