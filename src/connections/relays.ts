/** The relays: who is there, which one a connection uses, and what becomes of it when its relay goes (SN §5.9). */
import {
  earliest,
  equalSocketAddress,
  formatIp,
  formatSocketAddress,
  type Instant,
  type LogFields,
  randomBelow,
  SILENT,
  type SocketAddress,
  unixMs,
  unreachable,
} from "../base/index.ts";
import { ICE } from "../ice/index.ts";
import { areUsableCredentials, createRelayClient, type RelayClientEvent } from "../turn/index.ts";
import { noteRelay } from "./changes.ts";
import {
  FORMER_RELAYS_MAX,
  RELAY_PORT,
  RELAYS_MAX,
  RTT_DEVIATION_LEAST_MS,
  RTT_DEVIATIONS,
  RTT_FACTOR,
  UDP_SILENT_MS,
} from "./constants.ts";
import type { RelayEntry, RelayUpdate } from "./face.ts";
import { addLocal, bindToRemotes, offersOf, toOffer } from "./own-candidates.ts";
import { isStale, noteActivity } from "./path.ts";
import { type Connection, type ConnectionsState, pathOf, type Relay } from "./state.ts";
import { flushRelay } from "./way.ts";

/** SN-109: atomic, in this order. @returns what of it is usable */
export function updateRelays(state: ConnectionsState, { remove, add }: RelayUpdate): RelayUpdate {
  const before = state.relays.size;
  for (const id of remove) {
    const relay = state.relays.get(id);
    if (relay !== undefined) leaveRelay(state, relay, "removed");
  }
  const usable = add.filter((entry) => isUsableEntry(state, entry));
  const listed = new Set(usable.map(({ id }) => id));
  for (const entry of usable) take(state, entry);
  for (const relay of [...state.relays.values()]) {
    // After a partition from the portal a relay may have vanished: better to know it at once. A stream tells.
    if (!listed.has(relay.id) && relay.stream === undefined) relay.client.refresh(state.now);
    drainRelay(state, relay);
  }
  noteExhausted(state, before);
  tellPlane(state);
  migrate(state);
  return { remove, add: usable };
}

/** The plane takes data of peers from any of them, whatever way its own goes (SN-128). */
export function tellPlane({ relays, commands }: ConnectionsState): void {
  const sockets = [...relays.values()].flatMap(({ entry }) => socketsOf(entry));
  commands.push({ kind: "set-relays", relays: sockets });
}

function isUsableEntry(state: ConnectionsState, entry: RelayEntry): boolean {
  const { id, realm } = entry;
  const sockets = socketsOf(entry);
  if (sockets.length === 0 || !areUsableCredentials(entry, realm)) {
    state.log.debug?.("relay skipped", { relay: id, reason: "unusable address, username or realm" });
    return false;
  }
  if (sockets.every(({ port }) => port === RELAY_PORT)) return true;
  // Its answers would be taken for a peer's.
  state.log.warn?.("relay skipped", { relay: id, reason: `only port ${RELAY_PORT} is served` });
  return false;
}

function take(state: ConnectionsState, entry: RelayEntry): void {
  for (const other of [...state.relays.values()]) {
    const isSharing = socketsOf(entry).some(
      (socket) => state.relayAt.get(formatSocketAddress(socket)) === other,
    );
    // The same machine under another name: it was restarted (RL-70).
    if (other.id !== entry.id && isSharing) leaveRelay(state, other, "restarted");
  }
  const known = state.relays.get(entry.id);
  if (known === undefined) return void createRelay(state, entry);
  const { username, password } = entry;
  if (!isSamePlace(known.entry, entry)) {
    leaveRelay(state, known, "replaced");
    createRelay(state, entry);
  } else if (known.entry.username !== username || known.entry.password !== password) {
    known.entry = entry;
    known.client.renew(state.now, { username, password });
  }
}

/** @param more `isProbe`: it gave up before, and whether it answers now is news */
export function createRelay(
  state: ConnectionsState,
  entry: RelayEntry,
  more: Partial<Pick<Relay, "stream" | "isProbe">> = {},
): Relay | undefined {
  const { id, v4, v6, username, password, realm } = entry;
  if (state.relays.size >= RELAYS_MAX) {
    state.log.warn?.("relay skipped", { relay: id, reason: `more than ${RELAYS_MAX} relays` });
    return undefined;
  }
  const log = (state.options.log ?? SILENT).scope("connections", { relay: id });
  const { unixOffsetMs, now } = state;
  const client = createRelayClient({
    servers: { ...(v4 && { v4 }), ...(v6 && { v6 }) },
    credentials: { username, password },
    realm,
    dialect: "strict",
    software: state.options.software ?? "postern",
    random: state.random,
    now,
    unixNow: unixMs(now + unixOffsetMs),
    log,
  });
  const relay: Relay = { id, entry, client, log, isGone: false, hasAnswered: false, isProbe: false, ...more };
  state.relays.set(id, relay);
  for (const socket of socketsOf(entry)) state.relayAt.set(formatSocketAddress(socket), relay);
  tell(relay, "relay added", { sockets: socketsOf(entry).map(formatSocketAddress) });
  drainRelay(state, relay);
  return relay;
}

/** A relay that is asked once a minute in vain is worth no lines. */
function tell({ log, isProbe, hasAnswered }: Relay, event: string, fields: LogFields): void {
  if (isProbe && !hasAnswered) log.debug?.(event, fields);
  else log.info?.(event, fields);
}

/** It takes its candidates with it; the connections that used it are moved afterwards. */
export function leaveRelay(state: ConnectionsState, relay: Relay, reason: string): void {
  tell(relay, "relay left", { reason });
  relay.client.close(state.now);
  drainRelay(state, relay);
  relay.isGone = true;
  state.relays.delete(relay.id);
  for (const socket of socketsOf(relay.entry)) state.relayAt.delete(formatSocketAddress(socket));
  rememberRelay(state, relay);
}

/** There were relays, and now there is none (SN-113). */
export function noteExhausted(state: ConnectionsState, before: number): void {
  if (before > 0 && state.relays.size === 0) state.events.push({ kind: "relays-exhausted" });
}

/** Late traffic of relays is told by their IP addresses (SN-99). */
export function rememberRelay({ formerRelays }: ConnectionsState, { entry }: Relay): void {
  for (const { address } of socketsOf(entry)) {
    const text = formatIp(address);
    const place = formerRelays.indexOf(text);
    if (place >= 0) formerRelays.splice(place, 1);
    formerRelays.push(text);
    if (formerRelays.length > FORMER_RELAYS_MAX) formerRelays.shift();
  }
}

/** Time passes for all of them; what they say reaches the agents (SN-114). */
export function advanceRelays(state: ConnectionsState): void {
  for (const relay of state.relays.values()) {
    relay.client.handleTimeout(state.now);
    drainRelay(state, relay);
  }
}

/** Relays that gave up are left, and their connections moved (SN-114). @returns whether there was one */
export function leaveFreed(state: ConnectionsState): boolean {
  const freed = [...state.relays.values()].filter(({ client }) => client.freeReason() !== undefined);
  if (freed.length === 0) return false;
  const before = state.relays.size;
  for (const relay of freed) leaveRelay(state, relay, relay.client.freeReason() ?? "freed");
  noteExhausted(state, before);
  tellPlane(state);
  migrate(state);
  return true;
}

/** At the end of all: their ports are free for others (RL-113). */
export function leaveAll(state: ConnectionsState): void {
  for (const relay of [...state.relays.values()]) leaveRelay(state, relay, "closing");
  tellPlane(state);
}

export function nextRelayTimeout({ relays }: ConnectionsState): Instant | undefined {
  let first: Instant | undefined;
  for (const { client } of relays.values()) first = earliest(first, client.pollTimeout());
  return first;
}

/** After every input of a relay client. */
export function drainRelay(state: ConnectionsState, relay: Relay): void {
  const { client } = relay;
  flushRelay(state, relay);
  if (!relay.hasAnswered && client.activeSocket() !== undefined) {
    relay.hasAnswered = true;
    state.events.push({ kind: "relay-answered", relay: relay.id });
  }
  for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent()) {
    handleRelayEvent(state, relay, event);
  }
  noteRelay(state, relay);
}

function handleRelayEvent(state: ConnectionsState, relay: Relay, event: RelayClientEvent): void {
  switch (event.kind) {
    case "added": {
      const candidate = toOffer(relay, event.candidate);
      if (candidate === undefined) return;
      const isRelayed = candidate.kind === "relay";
      for (const connection of state.byId.values()) {
        // Host and reflexive addresses are everybody's, as in seeding (SN-71).
        if (isRelayed && connection.relay !== relay) continue;
        addLocal(state, connection, candidate);
        if (isRelayed) bindToRemotes(state, connection);
        touch(state, connection);
      }
      return;
    }
    case "invalidated":
      for (const connection of state.byId.values()) {
        const candidate = ICE.invalidateLocal(connection.agent, state.now, event.candidate.address);
        if (candidate === undefined) continue;
        state.events.push({ kind: "candidate-removed", id: connection.id, candidate });
        touch(state, connection);
      }
      return;
    case "channel-failed":
      for (const connection of state.byId.values()) {
        const path = pathOf(connection);
        const isMeant = path?.relay === relay && equalSocketAddress(path.destination, event.peer);
        if (isMeant) touch(state, connection);
      }
      return;
    default:
      return unreachable(event);
  }
}

/** A relayed path is in doubt: perhaps the relay no longer knows us, because a NAT has another port for us (SN-147). */
export function verifyRelay(state: ConnectionsState, connection: Connection): void {
  const { relay } = connection;
  const path = pathOf(connection);
  if (path === undefined || path.kind === "peer-to-peer" || relay === undefined || relay.isGone) return;
  relay.client.verify(state.now);
  drainRelay(state, relay);
}

/** A relay has answered: paths through it may have got their channel, or lost it (SN-89). */
export function touchStale(state: ConnectionsState, relay: Relay): void {
  for (const connection of state.byId.values()) {
    if (pathOf(connection)?.relay === relay && isStale(state, connection)) touch(state, connection);
  }
}

/** The connection is looked at before this input ends. */
function touch(state: ConnectionsState, connection: Connection): void {
  state.queue.set(connection, state.now);
}

/**
 * Connections whose relay is gone, or that never had one, get one, if there is any (SN-112, SN-138). All others
 * keep theirs, even if a faster one has come (SN-111), except for what UDP and streams mean (RL-208).
 */
export function migrate(state: ConnectionsState): void {
  for (const connection of state.byId.values()) {
    const { relay: before, log } = connection;
    if (before?.isGone === false && !isOutdone(state, before)) continue;
    const relay = chooseRelay(state);
    connection.relay = relay;
    if (before !== undefined || relay !== undefined) {
      const line = { before: before?.id, relay: relay?.id };
      if (relay === undefined) log.debug?.("no relay to migrate to", line);
      else log.info?.("migrating", line);
    }
    if (relay === undefined) continue;
    for (const candidate of offersOf(relay)) addLocal(state, connection, candidate);
    bindToRemotes(state, connection);
    noteActivity(state, connection, "relay migrated");
    touch(state, connection);
  }
}

/** A stream is used while no relay answers by UDP, and given up for one that relays by UDP (RL-208). */
function isOutdone({ relays, now }: ConnectionsState, { stream, client }: Relay): boolean {
  const others = [...relays.values()];
  if (stream !== undefined)
    return others.some((other) => answersByUdp(other, now) && other.client.state() === "active");
  if (others.every(isByUdp) || others.some((other) => answersByUdp(other, now))) return false;
  return client.activeSocket() === undefined || client.silentSince() !== undefined;
}

function isByUdp({ stream }: Relay): boolean {
  return stream === undefined;
}

/** An answer may take its time, but not so long. */
export function answersByUdp(relay: Relay, now: Instant): boolean {
  if (!isByUdp(relay) || relay.client.activeSocket() === undefined) return false;
  const since = relay.client.silentSince();
  return since === undefined || now - since < UDP_SILENT_MS;
}

/** While there is a stream, those that are silent by UDP are no choice. */
function choicesOf({ relays, now }: ConnectionsState): readonly Relay[] {
  const all = [...relays.values()];
  if (all.every(isByUdp)) return all;
  const answering = all.filter((relay) => answersByUdp(relay, now));
  return answering.length > 0 ? answering : all.filter((relay) => !isByUdp(relay));
}

/** SN-110: one of those that are not much slower than the others, drawn; a refusing one only for want of others. */
export function chooseRelay(state: ConnectionsState): Relay | undefined {
  const all = choicesOf(state);
  const willing = all.filter(({ client }) => client.state() !== "suspended");
  const eligible = willing.length > 0 ? willing : all;
  const rtts = eligible.flatMap(({ client }) => client.rttMs() ?? []);
  const limit = rtts.length === 0 ? undefined : rttLimit(rtts);
  const near = eligible.filter(({ client }) => limit === undefined || (client.rttMs() ?? limit + 1) <= limit);
  return near.length > 1 ? near[randomBelow(state.random, near.length)] : near[0];
}

/** @param rtts at least one, in milliseconds */
export function rttLimit(rtts: readonly number[]): number {
  if (rtts.length <= 2) return RTT_FACTOR * Math.min(...rtts);
  const middle = median(rtts);
  const deviation = median(rtts.map((rtt) => Math.abs(rtt - middle)));
  return middle + RTT_DEVIATIONS * Math.max(deviation, RTT_DEVIATION_LEAST_MS);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? 0;
  const lower = sorted[(sorted.length - 1) >> 1] ?? 0;
  return (lower + upper) / 2;
}

export function socketsOf({ v4, v6 }: RelayEntry): readonly SocketAddress[] {
  return [v4, v6].filter((socket) => socket !== undefined);
}

/** The allocation of one cannot be the other's. */
function isSamePlace(a: RelayEntry, b: RelayEntry): boolean {
  const [ofA, ofB] = [socketsOf(a), socketsOf(b)].map((sockets) => sockets.map(formatSocketAddress).join());
  return ofA === ofB && a.realm === b.realm;
}
