/**
 * Queries over TCP through the tunnel: one connection for each server, shared by its queries, which have IDs of their
 * own there because some programs always use the same one (DN-69).
 */
import {
  after,
  concatBytes,
  earliest,
  type Instant,
  type Random,
  randomBelow,
  type SocketAddress,
} from "../base/index.ts";
import { createTcpHost, DNS_PROFILE, type TcpHost } from "../tcp/index.ts";
import { encodeForwarded } from "./forward.ts";
import { type Flight, ownAddress, type ResolverState, type TunnelStream } from "./resolver-state.ts";
import { closeTunnelPort, openTunnelPort } from "./tunnel-ports.ts";

export const STREAM_QUERIES_MAX = 64;
export const STREAM_IDLE_MS = 10_000;
/** A server that leaves so many unanswered is asked by a new connection. */
export const STREAM_EXPIRED_MAX = 1_024;

/** The TCP of the tunnel path: nobody connects to it. */
export function openTunnelTcp(random: Random): TcpHost {
  return createTcpHost({ random, admit: () => "refuse", profile: DNS_PROFILE });
}

/** Asks by the server's connection, or a new one; `undefined` if there can be none. */
export function askByStream(
  state: ResolverState,
  now: Instant,
  flight: Flight,
  of: { readonly server: string; readonly remote: SocketAddress },
): number | undefined {
  const stream = find(state, of.server) ?? open(state, now, of);
  if (stream === undefined) return undefined;
  stream.idleAt = undefined;
  if (stream.inFlight.size < STREAM_QUERIES_MAX) ask(state, now, stream, flight);
  else stream.waiting.add(flight);
  flushStreams(state);
  return stream.id;
}

/** The query is over: another one may take its place. */
export function leaveStream(state: ResolverState, now: Instant, flight: Flight, id: number): void {
  const stream = state.tunnelStreams.get(id);
  if (stream === undefined) return;
  stream.waiting.delete(flight);
  for (const [wireId, one] of stream.inFlight) {
    if (one !== flight) continue;
    stream.inFlight.delete(wireId);
    stream.expired.add(wireId);
  }
  const [next] = stream.waiting;
  if (next !== undefined && stream.inFlight.size < STREAM_QUERIES_MAX) {
    stream.waiting.delete(next);
    ask(state, now, stream, next);
    flushStreams(state);
  }
  if (stream.inFlight.size === 0) stream.idleAt = after(now, STREAM_IDLE_MS);
}

/** Takes the connection away from its queries, which the caller has seen to. */
export function forgetStream(state: ResolverState, now: Instant, stream: TunnelStream): void {
  state.tunnelStreams.delete(stream.id);
  closeTunnelPort(state, now, stream.port);
}

/** Closes what nobody has used for a while. */
export function closeIdleStreams(state: ResolverState, now: Instant): void {
  for (const stream of [...state.tunnelStreams.values()]) {
    if (stream.idleAt === undefined || stream.idleAt > now) continue;
    forgetStream(state, now, stream);
    state.tunnelTcp.end(now, stream.id);
  }
  flushStreams(state);
}

export function pollStreamTimeout({ tunnelStreams, tunnelTcp }: ResolverState): Instant | undefined {
  return earliest(tunnelTcp.pollTimeout(), ...[...tunnelStreams.values()].map(({ idleAt }) => idleAt));
}

/** What the connections send goes into the tunnel. */
export function flushStreams({ tunnelTcp, tunnelPackets }: ResolverState): void {
  for (let packet = tunnelTcp.pollPacket(); packet !== undefined; packet = tunnelTcp.pollPacket()) {
    tunnelPackets.push(packet);
  }
}

function find({ tunnelStreams }: ResolverState, server: string): TunnelStream | undefined {
  for (const stream of tunnelStreams.values()) if (stream.server === server) return stream;
  return undefined;
}

function open(
  state: ResolverState,
  now: Instant,
  { server, remote }: { readonly server: string; readonly remote: SocketAddress },
): TunnelStream | undefined {
  const address = ownAddress(state, remote.address);
  const port = address && openTunnelPort(state, { protocol: "tcp", address, remote });
  if (address === undefined || port === undefined) return undefined;
  const id = state.tunnelTcp.connect(now, { address, port }, remote);
  if (id === undefined) {
    closeTunnelPort(state, now, port);
    return undefined;
  }
  const stream: TunnelStream = {
    ...{ id, server, port },
    ...{ unread: new Uint8Array(0), inFlight: new Map(), waiting: new Set(), expired: new Set() },
    idleAt: undefined,
  };
  state.tunnelStreams.set(stream.id, stream);
  return stream;
}

function ask(state: ResolverState, now: Instant, stream: TunnelStream, flight: Flight): void {
  const id = takeWireId(state, stream);
  stream.inFlight.set(id, flight);
  const message = encodeForwarded(flight.query, id);
  const framed = concatBytes(Uint8Array.of(message.length >> 8, message.length & 0xff), message);
  // TCP keeps it until the connection is there.
  state.tunnelTcp.send(now, stream.id, framed);
}

function takeWireId({ random }: ResolverState, { inFlight, expired }: TunnelStream): number {
  for (;;) {
    const id = randomBelow(random, 0x1_0000);
    if (!inFlight.has(id) && !expired.has(id)) return id;
  }
}
