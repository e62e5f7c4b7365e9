/**
 * How much a connection buffers. Both buffers begin at what the profile gives, and grow up to its limits with what
 * the path needs: the receiver's with what its reader takes in a round trip, the sender's with the congestion window.
 * A reader that takes little, or nothing, is sent no more than before (Linux: `tcp_rcv_space_adjust`).
 */
import type { Instant } from "../base/index.ts";
import { type Connection, timestampAt } from "./connection.ts";
import type { Segment } from "./segment.ts";
import { distance } from "./sequence.ts";

/** Room for what is under way and for what waits to be read, or to be acknowledged. */
const WINDOWS = 2;
/** Weight of a sample, as of the smoothed round trip (RFC 6298 §2.3). */
const SMOOTHING = 1 / 8;

/**
 * The round trip as a receiver sees it: from the acknowledgement that data follow to those data, which carry its time
 * stamp (RFC 7323 §4.1). Whoever only reads times nothing else.
 */
export function timeArrival(connection: Connection, { timestamp }: Segment, now: Instant): void {
  if (!connection.hasTimestamps || timestamp === undefined || timestamp.echo === 0) return;
  const { receiver } = connection;
  const sampleMs = distance(timestamp.echo, timestampAt(connection, now));
  if (sampleMs < 0) return;
  receiver.arrivalMs ??= sampleMs;
  receiver.arrivalMs += (sampleMs - receiver.arrivalMs) * SMOOTHING;
}

/** The reader has taken octets: in the time of a round trip so many, and it could as well have taken twice as many. */
export function noteTaken(connection: Connection, now: Instant, octets: number): void {
  const { receiver, sender, profile } = connection;
  const { reading } = receiver;
  const roundTripMs = receiver.arrivalMs ?? sender.rtt.smoothedMs;
  reading.octets += octets;
  const passed = now - reading.since;
  if (roundTripMs === undefined || passed < Math.max(1, roundTripMs)) return;
  // Who reads now and then takes much at once, but not per round trip.
  const perRound = (reading.octets * Math.max(1, roundTripMs)) / passed;
  const wanted = Math.min(Math.ceil(WINDOWS * perRound), profile.receiveBufferMostBytes ?? 0);
  receiver.bufferBytes = Math.max(receiver.bufferBytes, wanted);
  reading.octets = 0;
  reading.since = now;
}

/** What the path has shown it carries, and as much again while that is acknowledged. */
export function growSendBuffer({ sender, profile }: Connection): void {
  // Windows grow by parts of octets, buffers do not: the application is told how many of its own were taken.
  const windows = Math.floor(WINDOWS * sender.congestion.windowBytes);
  const wanted = Math.min(windows, profile.sendBufferMostBytes ?? 0);
  sender.bufferBytes = Math.max(sender.bufferBytes, wanted);
}
