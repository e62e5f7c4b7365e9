/** What the connections of the tunnel path bring: answers, or their end (DN-69). */
import { concatBytes, type Instant } from "../base/index.ts";
import type { TcpEvent } from "../tcp/index.ts";
import { TCP_LENGTH_BYTES } from "./constants.ts";
import { acceptResponse, giveUp } from "./flights.ts";
import { HEADER_BYTES } from "./name.ts";
import { count, type ResolverState, type TunnelStream } from "./resolver-state.ts";
import { flushStreams, forgetStream, STREAM_EXPIRED_MAX } from "./tunnel-streams.ts";

/** Hands on what has come, until nothing comes of it. */
export function drainStreams(state: ResolverState, now: Instant): void {
  for (let event = state.tunnelTcp.pollEvent(); event !== undefined; event = state.tunnelTcp.pollEvent()) {
    handleEvent(state, now, event);
  }
  flushStreams(state);
}

/** The connection is of no more use: its queries fail, the next one opens another. */
export function abortStream(state: ResolverState, now: Instant, stream: TunnelStream): void {
  lose(state, now, stream);
  state.tunnelTcp.abort(now, stream.id);
}

export function abortStreams(state: ResolverState, now: Instant): void {
  for (const stream of [...state.tunnelStreams.values()]) abortStream(state, now, stream);
  drainStreams(state, now);
}

function handleEvent(state: ResolverState, now: Instant, event: TcpEvent): void {
  const stream = state.tunnelStreams.get(event.id);
  if (stream === undefined) return;
  switch (event.kind) {
    case "opened":
      return;
    case "data":
      stream.unread = concatBytes(stream.unread, event.bytes);
      // At once: the longest answer and its length are more than the window holds.
      state.tunnelTcp.take(now, stream.id, event.bytes.length);
      return readAnswers(state, now, stream);
    case "ended":
      // Servers close connections that are idle; queries that have crossed it are lost.
      lose(state, now, stream);
      state.tunnelTcp.end(now, stream.id);
      return;
    case "closed":
      return lose(state, now, stream);
  }
}

function readAnswers(state: ResolverState, now: Instant, stream: TunnelStream): void {
  while (state.tunnelStreams.has(stream.id)) {
    const [high, low] = stream.unread;
    if (high === undefined || low === undefined) return;
    const length = (high << 8) | low;
    if (length < HEADER_BYTES) return abortStream(state, now, stream);
    const end = TCP_LENGTH_BYTES + length;
    if (stream.unread.length < end) return;
    const bytes = stream.unread.slice(TCP_LENGTH_BYTES, end);
    stream.unread = stream.unread.slice(end);
    takeAnswer(state, now, stream, bytes);
  }
}

function takeAnswer(state: ResolverState, now: Instant, stream: TunnelStream, bytes: Uint8Array): void {
  const id = ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
  const flight = stream.inFlight.get(id);
  if (flight === undefined) {
    count(state, "dns_stray");
    // Late is an honest mistake, an ID that was never sent is not.
    if (!stream.expired.delete(id)) abortStream(state, now, stream);
    return;
  }
  if (!acceptResponse(state, now, flight, { id, bytes, ageS: 0 })) {
    count(state, "dns_stray");
    giveUp(state, now, flight, "network");
  }
  // It was answered, after all.
  stream.expired.delete(id);
  if (stream.expired.size > STREAM_EXPIRED_MAX) abortStream(state, now, stream);
}

function lose(state: ResolverState, now: Instant, stream: TunnelStream): void {
  forgetStream(state, now, stream);
  for (const flight of [...stream.inFlight.values(), ...stream.waiting])
    giveUp(state, now, flight, "network");
}
