/**
 * Relays by stream, where no relay answers by UDP (RL-207 to RL-210).
 *
 *     UDP silent for 3 s ──▶ open (two at most) ──▶ one is open: one more relay, until UDP answers again
 *                     ▲             │ failed, ended                     │
 *                     └── 1 s … 60 s ◀──────────────────────────────────┘
 *
 * The shell opens and closes them; here is when.
 */
import { after, earliest, type Instant, type SocketAddress } from "../base/index.ts";
import {
  STREAM_LEAVE_AFTER_MS,
  STREAM_LEAVE_WITHIN_MS,
  STREAM_RETRY_FIRST_MS,
  STREAM_RETRY_LAST_MS,
  STREAMS_TRIED,
  UDP_PROBE_EVERY_MS,
  UDP_SILENT_MS,
} from "./constants.ts";
import type { RelayEntry, RelayUpdate, StreamNews, StreamPlace } from "./face.ts";
import {
  answersByUdp,
  createRelay,
  drainRelay,
  leaveRelay,
  migrate,
  noteExhausted,
  tellPlane,
} from "./relays.ts";
import { type ConnectionsState, pathOf, type Relay, type StreamAttempt, type StreamsState } from "./state.ts";

export function createStreams(): StreamsState {
  return {
    listed: new Map(),
    attempts: new Map(),
    requests: [],
    silentSince: undefined,
    retryAt: undefined,
    pauseMs: STREAM_RETRY_FIRST_MS,
    probeAt: undefined,
    leaveAt: undefined,
    leaveBy: undefined,
    lastFailure: undefined,
    hasWarned: false,
  };
}

/** Behind `updateRelays`, with what was usable: what the portal says of streams. */
export function listStreams(state: ConnectionsState, { remove, add }: RelayUpdate): void {
  const { listed, attempts } = state.streams;
  const isUsed = (id: string): boolean => state.relays.has(id) || attempts.has(id);
  // A selection is complete, but those that it leaves out go on as long as they live (SN-109).
  for (const id of [...listed.keys()]) if (remove.includes(id) || !isUsed(id)) listed.delete(id);
  for (const entry of add) listed.set(entry.id, entry);
  for (const [id, { relay }] of [...attempts]) {
    const entry = listed.get(id);
    if (entry === undefined) cancel(state, id, "removed");
    else if (relay !== undefined) renew(state, relay, entry);
  }
  advanceStreams(state);
}

function renew(state: ConnectionsState, relay: Relay, { username, password }: RelayEntry): void {
  if (relay.entry.username === username && relay.entry.password === password) return;
  relay.entry = { ...relay.entry, username, password };
  relay.client.renew(state.now, { username, password });
}

/** What became of a stream that was asked for. */
export function handleStream(state: ConnectionsState, news: StreamNews): void {
  const { attempts, requests } = state.streams;
  const attempt = attempts.get(news.relay);
  if (attempt === undefined) {
    // It was cancelled meanwhile.
    if (news.kind === "opened") requests.push({ kind: "close", relay: news.relay });
  } else if (news.kind === "opened") takeStream(state, attempt, news.socket);
  else fail(state, attempt, news.reason);
  advanceStreams(state);
}

/** It becomes one more relay; the others, which were slower, are not needed. */
function takeStream(state: ConnectionsState, attempt: StreamAttempt, socket: SocketAddress): void {
  const { entry, place } = attempt;
  const { id, username, password, realm } = entry;
  for (const [other, { relay }] of [...state.streams.attempts]) {
    if (other !== id && relay === undefined) cancel(state, other, "another was faster");
  }
  const { transport, name } = place;
  attempt.relay = createRelay(
    state,
    { id: `${id}/${transport}`, v4: socket, username, password, realm },
    { stream: { relay: id, transport, ...(name !== undefined && { name }) } },
  );
  if (attempt.relay === undefined) return cancel(state, id, "too many relays");
  tellPlane(state);
  state.streams.probeAt = after(state.now, UDP_PROBE_EVERY_MS);
  migrate(state);
}

/** Another try follows, after a pause that grows (RL-209). */
function fail(state: ConnectionsState, { entry, place, relay }: StreamAttempt, reason: string): void {
  const { streams, log } = state;
  streams.attempts.delete(entry.id);
  if (relay !== undefined) {
    const before = state.relays.size;
    if (!relay.isGone) leaveRelay(state, relay, "stream ended");
    noteExhausted(state, before);
    tellPlane(state);
    migrate(state);
  }
  const line = { relay: entry.id, transport: place.transport, name: place.name, reason };
  if (streams.lastFailure === undefined) log.info?.("a stream to a relay failed", line);
  else log.debug?.("a stream to a relay failed", line);
  streams.lastFailure = reason;
  if (streams.attempts.size > 0) return;
  streams.retryAt = after(state.now, streams.pauseMs);
  streams.pauseMs = Math.min(2 * streams.pauseMs, STREAM_RETRY_LAST_MS);
  // One that had worked is likely to come back.
  if (streams.hasWarned || streams.silentSince === undefined || relay?.hasAnswered === true) return;
  streams.hasWarned = true;
  log.warn?.("no relay is reached, neither by UDP nor by stream", {
    udp: "no answer",
    stream: reason,
    remedy: "allow UDP 3478 or TCP 443 out, or name the network's HTTP proxy in HTTPS_PROXY",
  });
}

/** Nobody waits for it any more. */
function cancel(state: ConnectionsState, id: string, reason: string): void {
  const { attempts, requests } = state.streams;
  const relay = attempts.get(id)?.relay;
  attempts.delete(id);
  requests.push({ kind: "close", relay: id });
  if (relay === undefined || relay.isGone) return;
  leaveRelay(state, relay, reason);
  tellPlane(state);
}

/** The network is another one: UDP has its chance first (RL-208). */
export function resetStreams(state: ConnectionsState): void {
  const { streams } = state;
  for (const id of [...streams.attempts.keys()]) cancel(state, id, "network changed");
  streams.silentSince = undefined;
  streams.retryAt = undefined;
  streams.pauseMs = STREAM_RETRY_FIRST_MS;
  streams.lastFailure = undefined;
  streams.hasWarned = false;
  streams.probeAt = streams.listed.size === 0 ? undefined : state.now;
}

/** At the end of all. */
export function endStreams(state: ConnectionsState): void {
  for (const id of [...state.streams.attempts.keys()]) cancel(state, id, "closing");
  state.streams.listed.clear();
}

/** After every input, and when time has passed. */
export function advanceStreams(state: ConnectionsState): void {
  const { streams, now } = state;
  if (streams.listed.size === 0 && streams.attempts.size === 0) return forgetDeadlines(streams);
  noteLost(state);
  const relays = [...state.relays.values()];
  if (relays.some((relay) => answersByUdp(relay, now))) noteUdp(state);
  else {
    streams.silentSince ??= latestSilence(relays) ?? now;
    streams.leaveAt = undefined;
    streams.leaveBy = undefined;
    openIfDue(state, streams.silentSince);
  }
  if (isDue(streams.probeAt, now)) probeUdp(state);
  leaveIfDue(state);
}

/** Of those that had answered: since when the last of them is awaited. */
function latestSilence(relays: readonly Relay[]): Instant | undefined {
  let latest: Instant | undefined;
  for (const { stream, client } of relays) {
    const since = stream === undefined ? client.silentSince() : undefined;
    if (since !== undefined && (latest === undefined || since > latest)) latest = since;
  }
  return latest;
}

/**
 * A path is in doubt. It may be the peer, or UDP as a whole: the relays know, long before their keep-alives
 * would tell (RL-208).
 */
export function checkUdp(state: ConnectionsState): void {
  if (![...state.streams.listed.values()].some((entry) => placeOf(state, entry) !== undefined)) return;
  for (const relay of state.relays.values()) {
    if (relay.stream !== undefined) continue;
    relay.client.checkAlive(state.now);
    drainRelay(state, relay);
  }
}

/** Without relays nothing is due. */
function forgetDeadlines(streams: StreamsState): void {
  streams.silentSince = undefined;
  streams.probeAt = undefined;
  streams.leaveAt = undefined;
  streams.leaveBy = undefined;
}

/** Streams whose relay client gave up: the stream is there, and TURN on it is not. */
function noteLost(state: ConnectionsState): void {
  for (const [id, attempt] of [...state.streams.attempts]) {
    if (attempt.relay?.isGone === true) {
      state.streams.requests.push({ kind: "close", relay: id });
      fail(state, attempt, "the relay does not answer on it");
    } else if (attempt.relay?.hasAnswered === true) {
      state.streams.pauseMs = STREAM_RETRY_FIRST_MS;
      state.streams.lastFailure = undefined;
      state.streams.hasWarned = false;
    }
  }
}

function noteUdp(state: ConnectionsState): void {
  const { streams } = state;
  streams.silentSince = undefined;
  streams.retryAt = undefined;
  streams.pauseMs = STREAM_RETRY_FIRST_MS;
  streams.lastFailure = undefined;
  streams.hasWarned = false;
  for (const [id, { relay }] of [...streams.attempts]) {
    if (relay === undefined) cancel(state, id, "UDP answers");
  }
  if (streams.attempts.size > 0) migrate(state);
}

function openIfDue(state: ConnectionsState, silentSince: Instant): void {
  const { streams, now } = state;
  if (streams.attempts.size > 0 || now < tryAt(streams, silentSince)) return;
  const wanted = [...streams.listed.values()].flatMap((entry) => {
    const place = placeOf(state, entry);
    return place === undefined ? [] : [{ entry, place, relay: undefined }];
  });
  for (const attempt of wanted.slice(0, STREAMS_TRIED)) {
    const { entry, place } = attempt;
    streams.attempts.set(entry.id, attempt);
    streams.requests.push({ kind: "open", relay: entry.id, place });
    state.log.info?.("no relay answers by UDP: trying a stream", {
      relay: entry.id,
      transport: place.transport,
      name: place.name,
    });
  }
}

/** Without TLS only if the portal is reached without, too (RL-207). */
function placeOf({ options }: ConnectionsState, { streams = [] }: RelayEntry): StreamPlace | undefined {
  const { streams: accepted } = options;
  return streams.find(
    ({ transport }) => accepted !== undefined && (transport === "tls" || accepted === "tls-and-tcp"),
  );
}

function tryAt({ retryAt }: StreamsState, silentSince: Instant): Instant {
  const first = after(silentSince, UDP_SILENT_MS);
  return retryAt !== undefined && retryAt > first ? retryAt : first;
}

/** All that gave up are asked once more. */
function probeUdp(state: ConnectionsState): void {
  const { streams } = state;
  const missing = [...streams.listed.values()].filter(({ id }) => !state.relays.has(id));
  for (const entry of missing) createRelay(state, entry, { isProbe: true });
  if (missing.length > 0) tellPlane(state);
  streams.probeAt = streams.attempts.size === 0 ? undefined : after(state.now, UDP_PROBE_EVERY_MS);
}

/** 10 s after the last connection has moved (RL-208). */
function leaveIfDue(state: ConnectionsState): void {
  const { streams, now } = state;
  if (streams.silentSince !== undefined || streams.attempts.size === 0) return;
  const isUsed = [...state.byId.values()].some(
    (connection) => connection.relay?.stream !== undefined || pathOf(connection)?.relay?.stream !== undefined,
  );
  streams.leaveBy ??= after(now, STREAM_LEAVE_WITHIN_MS);
  if (isUsed) streams.leaveAt = undefined;
  else streams.leaveAt ??= after(now, STREAM_LEAVE_AFTER_MS);
  if (!isDue(streams.leaveAt, now) && !isDue(streams.leaveBy, now)) return;
  for (const id of [...streams.attempts.keys()]) cancel(state, id, "UDP answers again");
  streams.leaveAt = undefined;
  streams.leaveBy = undefined;
  streams.probeAt = undefined;
  migrate(state);
}

export function nextStreamTimeout(state: ConnectionsState): Instant | undefined {
  const { streams } = state;
  const { silentSince, attempts, listed, probeAt, leaveAt, leaveBy } = streams;
  const isWorthTrying =
    silentSince !== undefined &&
    attempts.size === 0 &&
    [...listed.values()].some((entry) => placeOf(state, entry) !== undefined);
  const openAt = isWorthTrying ? tryAt(streams, silentSince) : undefined;
  return earliest(openAt, probeAt, leaveAt, leaveBy, nextSilence(state));
}

/** When one that is awaited counts as silent. */
function nextSilence({ relays, streams, now }: ConnectionsState): Instant | undefined {
  if (streams.listed.size === 0) return undefined;
  let next: Instant | undefined;
  for (const { stream, client } of relays.values()) {
    const since = stream === undefined ? client.silentSince() : undefined;
    const at = since === undefined ? undefined : after(since, UDP_SILENT_MS);
    if (at !== undefined && at > now) next = earliest(next, at);
  }
  return next;
}

function isDue(at: Instant | undefined, now: Instant): boolean {
  return at !== undefined && now >= at;
}
