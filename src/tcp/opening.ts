/** The beginning of connections, from either side (RFC 9293 §3.10.1, §3.10.7.2). */
import { blake2s } from "@noble/hashes/blake2.js";
import { after, formatSocketAddress, type Instant, randomBelow, type SocketAddress } from "../base/index.ts";
import { type Connection, createConnection } from "./connection.ts";
import {
  EPHEMERAL_PORT_FIRST,
  EPHEMERAL_PORTS,
  HEADERS_BYTES,
  MSS_DEFAULT,
  PORT_TRIES_MAX,
} from "./constants.ts";
import type { ConnectOptions } from "./face.ts";
import { count, type HostState, type LiveEntry, wake } from "./host-state.ts";
import { agree } from "./receiving.ts";
import type { Segment } from "./segment.ts";
import type { Ends } from "./table.ts";

/** The application opens. */
export function connect(
  state: HostState,
  from: SocketAddress,
  remote: SocketAddress,
  { timeoutMs, keepAliveMs }: ConnectOptions,
): number | undefined {
  const local = from.port === 0 ? withFreePort(state, from, remote) : from;
  if (local === undefined || isFull(state) || !isFree(state, { local, remote })) return undefined;
  const { connection } = open(state, { local, remote }, "syn-sent", keepAliveMs);
  if (timeoutMs !== undefined) connection.deadlines.limit = after(state.now, timeoutMs);
  start(state, connection);
  return connection.id;
}

/** Whatever lingers between the same ends gives way: our numbers only grow (RFC 6528 §3). */
function isFree(state: HostState, { local, remote }: Ends): boolean {
  const entry = state.table.get(local, remote);
  if (entry?.kind === "live") return false;
  if (entry !== undefined) {
    state.table.remove(entry);
    state.waiting.delete(entry);
  }
  return true;
}

/** The peer opens, and the application agrees. */
export function accept(state: HostState, ends: Ends, syn: Segment): void {
  const { halfOpenMax, synReceivedMs } = state.options.profile;
  const listener = formatSocketAddress(ends.local);
  const halfOpen = state.halfOpen.get(listener) ?? 0;
  if (halfOpen >= halfOpenMax) return count(state, "half_open_limit");
  if (isFull(state)) return;
  const entry = open(state, ends, "syn-received", undefined);
  const { connection } = entry;
  entry.halfOpenAt = listener;
  state.halfOpen.set(listener, halfOpen + 1);
  connection.irs = syn.seq;
  agree(connection, syn, state.now);
  connection.sender.windowBytes = syn.window;
  if (synReceivedMs !== undefined) connection.deadlines.limit = after(state.now, synReceivedMs);
  start(state, connection);
}

function start(state: HostState, connection: Connection): void {
  connection.sender.isSynDue = true;
  const entry = state.byId.get(connection.id);
  if (entry !== undefined) wake(state, entry);
}

function isFull(state: HostState): boolean {
  if (state.byId.size < state.options.profile.connectionsMax) return false;
  count(state, "connection_limit");
  return true;
}

function open(
  state: HostState,
  { local, remote }: Ends,
  kind: "syn-sent" | "syn-received",
  keepAliveMs: number | undefined,
): LiveEntry {
  const { options, now } = state;
  const family = local.address.length === 4 ? 4 : 6;
  const { iss, timestampOffset } = firstNumbers(state, { local, remote }, now);
  const connection = createConnection({
    ...{ local, remote, iss, timestampOffset, keepAliveMs, state: kind, profile: options.profile },
    id: state.nextId++,
    ownMss: options.mtu - HEADERS_BYTES[family],
    mss: MSS_DEFAULT[family],
  });
  const entry: LiveEntry = {
    ...{ kind: "live", connection, local, remote, isReady: false, halfOpenAt: undefined },
    ...{ dueAt: undefined, place: -1 },
  };
  state.table.add(entry);
  state.byId.set(connection.id, entry);
  return entry;
}

/**
 * A clock of 4 µs and a keyed hash of who speaks with whom (RFC 6528 §3). The clock of time stamps begins anywhere,
 * but for the same ends always at the same place, so that it never goes back (RFC 7323 §7.1).
 */
function firstNumbers(
  { secret }: HostState,
  { local, remote }: Ends,
  now: Instant,
): { readonly iss: number; readonly timestampOffset: number } {
  const ends = `${formatSocketAddress(local)} ${formatSocketAddress(remote)}`;
  const hash = blake2s(new TextEncoder().encode(ends), { key: secret, dkLen: 8 });
  const view = new DataView(hash.buffer, hash.byteOffset);
  return { iss: (view.getUint32(0) + now * 250) >>> 0, timestampOffset: view.getUint32(4) };
}

/** RFC 6056 §3.3.1: at random, which tells nobody anything. */
function withFreePort(
  state: HostState,
  from: SocketAddress,
  remote: SocketAddress,
): SocketAddress | undefined {
  for (let tries = 0; tries < PORT_TRIES_MAX; tries++) {
    const port = EPHEMERAL_PORT_FIRST + randomBelow(state.options.random, EPHEMERAL_PORTS);
    const local = { ...from, port };
    if (state.table.get(local, remote) === undefined) return local;
  }
  return undefined;
}
