/**
 * Queries that somebody else must answer: sent, sent again once, and given up in time (DN-61 to DN-70).
 *
 * Every attempt has an ID and a socket or port of its own, so that a forger must guess both.
 */
import {
  after,
  earliest,
  type Instant,
  randomBelow,
  type SocketAddress,
  unreachable,
} from "../base/index.ts";
import { encodeUdp } from "../packet/index.ts";
import { store } from "./cache.ts";
import { GATEWAY_DNS_PORT } from "./constants.ts";
import { checkResponse, encodeForwarded, encodeReturned } from "./forward.ts";
import { findJoinable, joinKeyOf } from "./join.ts";
import type { Query } from "./query.ts";
import type { DirectResult, QueryDecision, SiteResult } from "./resolver-face.ts";
import {
  type Asker,
  type Attempt,
  count,
  type Flight,
  maySay,
  ownAddress,
  type ResolverState,
  type Route,
  type Waiter,
} from "./resolver-state.ts";
import { fail, respond } from "./respond.ts";
import { closeTunnelPort, openTunnelPort } from "./tunnel-ports.ts";
import { askByStream, leaveStream } from "./tunnel-streams.ts";
import { upstreamKey } from "./upstreams.ts";

export const DIRECT_DEADLINE_MS = 5_000;
export const TUNNEL_DEADLINE_MS = 10_000;
export const RETRANSMIT_MS = 2_000;
export const MAX_DIRECT = 1_000;
export const MAX_TUNNEL = 1_024;
export const MAX_SITE_WAITING = 128;
/** The first, the one after RETRANSMIT, and one a second when the asker repeats itself. */
const SENDINGS_MAX = 8;
const REPEAT_MS = 1_000;

export interface FlightPlan {
  readonly asker: Asker;
  readonly query: Query;
  readonly route: Route;
  readonly decision: QueryDecision;
}

/** How the query is asked further on where both are possible: as it came (DN-65, DN-66). */
export function transportOf({ kind }: Asker): "udp" | "tcp" {
  return kind === "tcp" ? "tcp" : "udp";
}

/** Sends a query on, unless it is a repetition of one that is under way, or equal to another's (DN-70). */
export function launch(state: ResolverState, now: Instant, plan: FlightPlan): void {
  const repeatKey = repeatKeyOf(plan);
  const known = repeatKey === undefined ? undefined : state.byRepeat.get(repeatKey);
  if (known !== undefined) return repeat(state, now, known);
  const { asker, query, route, decision } = plan;
  const deadlineMs = route.kind === "direct" ? DIRECT_DEADLINE_MS : TUNNEL_DEADLINE_MS;
  const waiter: Waiter = { asker, query, decision, repeatKey, deadlineAt: after(now, deadlineMs) };
  const joinKey = joinKeyOf(asker, query, route);
  const joined = findJoinable(state, now, joinKey);
  if (joined !== undefined) return join(state, now, joined, waiter);
  if (isOverloaded(state, plan.route)) {
    count(state, "dns_overload");
    if (maySay(state, now, "overload")) state.log.warn?.("too many DNS queries at once: some fail");
    return fail(state, asker, query, decision, "notReady");
  }
  const flight: Flight = {
    ...{ asker, query, route, joinKey },
    waiters: [waiter],
    startedAt: now,
    attempts: [],
    retransmitAt: undefined,
    sentAt: now,
    dueAt: undefined,
    place: -1,
  };
  state.active[plan.route.kind === "direct" ? "direct" : "tunnel"].add(flight);
  if (repeatKey !== undefined) state.byRepeat.set(repeatKey, flight);
  if (joinKey !== undefined) state.byJoin.set(joinKey, flight);
  if (flight.route.kind === "waiting") waitForSite(state, now, flight, flight.route.rid);
  else start(state, now, flight);
  schedule(state, flight);
}

/** It waits for the same answer; like a repetition, it may say that what was sent is lost. */
function join(state: ResolverState, now: Instant, flight: Flight, waiter: Waiter): void {
  flight.waiters = [...flight.waiters, waiter];
  if (waiter.repeatKey !== undefined) state.byRepeat.set(waiter.repeatKey, flight);
  count(state, "dns_joined");
  repeat(state, now, flight);
}

function repeatKeyOf({ asker, query }: FlightPlan): string | undefined {
  if (asker.kind !== "udp") return undefined;
  const { address, port } = asker.peer;
  const { header, question } = query;
  return [
    address,
    asker.sentinel.address,
    port,
    header.id,
    question.type,
    question.class,
    question.name.key,
  ].join(" ");
}

/** The asker has waited long enough to ask again, so we do, too (DN-70). */
function repeat(state: ResolverState, now: Instant, flight: Flight): void {
  const mayAgain = flight.route.kind !== "waiting" && flight.attempts.length < SENDINGS_MAX;
  const isStream = flight.route.kind !== "waiting" && flight.route.transport !== "udp";
  if (!mayAgain || isStream || now - flight.sentAt < REPEAT_MS) return;
  count(state, "dns_retransmit");
  attempt(state, now, flight);
  schedule(state, flight);
}

function isOverloaded({ active }: ResolverState, { kind }: Route): boolean {
  return kind === "direct" ? active.direct.size >= MAX_DIRECT : active.tunnel.size >= MAX_TUNNEL;
}

function waitForSite(state: ResolverState, now: Instant, flight: Flight, rid: string): void {
  const queue = state.waiting.get(rid) ?? new Set();
  state.waiting.set(rid, queue);
  const [oldest] = queue;
  if (queue.size >= MAX_SITE_WAITING && oldest !== undefined) {
    count(state, "dns_site_overflow");
    giveUp(state, now, oldest, "notReady");
    // The last one of a queue takes it away.
    state.waiting.set(rid, queue);
  }
  queue.add(flight);
  state.log.debug?.("query waits for its site", { rid, waiting: queue.size });
  state.events.push({ kind: "site-needed", rid });
}

/** What has waited for the site is sent, or fails (DN-66). */
export function handleSite(state: ResolverState, now: Instant, rid: string, result: SiteResult): void {
  const queue = [...(state.waiting.get(rid) ?? [])];
  state.waiting.delete(rid);
  for (const flight of queue) {
    if (result.kind === "failed" || flight.route.kind !== "waiting") {
      giveUp(state, now, flight, "notReady");
      continue;
    }
    const { v4, v6 } = result.addresses;
    const inOrder = flight.route.isV6First ? [v6, v4] : [v4, v6];
    const servers = inOrder.flatMap((address): SocketAddress[] =>
      address === undefined || ownAddress(state, address) === undefined
        ? []
        : [{ address, port: GATEWAY_DNS_PORT }],
    );
    flight.route = { kind: "tunnel", servers, transport: transportOf(flight.asker) };
    start(state, now, flight);
    schedule(state, flight);
  }
}

/** The first attempt, and when the second is due. */
function start(state: ResolverState, now: Instant, flight: Flight): void {
  const isDatagram = flight.route.kind !== "waiting" && flight.route.transport === "udp";
  // A probe that is lost proves nothing, and comes again.
  const isOnce = flight.asker.kind === "loop-probe";
  flight.retransmitAt = isDatagram && !isOnce ? after(now, RETRANSMIT_MS) : undefined;
  attempt(state, now, flight);
}

function attempt(state: ResolverState, now: Instant, flight: Flight): void {
  flight.sentAt = now;
  switch (flight.route.kind) {
    case "direct":
      return attemptDirect(state, flight, flight.route);
    case "tunnel":
      return attemptThroughTunnel(state, now, flight, flight.route);
    case "waiting":
      return;
    default:
      return unreachable(flight.route);
  }
}

function attemptDirect(
  state: ResolverState,
  flight: Flight,
  { upstream, transport }: Extract<Route, { kind: "direct" }>,
): void {
  const server = upstreamKey(upstream);
  // The same query is the same URL for caches of HTTP (RFC 8484 §4.1).
  const id = transport === "doh" ? 0 : takeId(state, server);
  const token = state.nextToken++;
  add(flight, { kind: "direct", token, id, server });
  state.byToken.set(token, flight);
  const message = encodeForwarded(flight.query, id);
  state.events.push({ kind: "direct-query", query: { token, upstream, transport, message } });
}

function attemptThroughTunnel(
  state: ResolverState,
  now: Instant,
  flight: Flight,
  { servers, transport }: Extract<Route, { kind: "tunnel" }>,
): void {
  const remote = servers[flight.attempts.length % Math.max(1, servers.length)];
  const own = remote === undefined ? undefined : ownAddress(state, remote.address);
  if (remote === undefined || own === undefined) return giveUp(state, now, flight, "network");
  const server = `tunnel ${remote.address.join(".")}`;
  if (transport === "tcp") {
    const stream = askByStream(state, now, flight, { server: `${server} ${remote.port}`, remote });
    if (stream === undefined) giveUp(state, now, flight, "notReady");
    else add(flight, { kind: "stream", stream, id: 0, server });
    return;
  }
  const port = openTunnelPort(state, { protocol: "udp", address: own, remote, flight });
  if (port === undefined) return giveUp(state, now, flight, "notReady");
  const id = takeId(state, server);
  add(flight, { kind: "tunnel", port, id, server });
  const packet = encodeUdp({ address: own, port }, remote, encodeForwarded(flight.query, id));
  // A query that came in a packet of ours fits into one.
  if (packet.ok) state.tunnelPackets.push(packet.value);
  else giveUp(state, now, flight, "network");
}

function add(flight: Flight, attempt: Attempt): void {
  flight.attempts = [...flight.attempts, attempt];
}

/** An ID that no other query to the server has now (DN-61). */
function takeId({ ids, random }: ResolverState, server: string): number {
  const taken = ids.get(server) ?? new Set();
  ids.set(server, taken);
  for (;;) {
    const id = randomBelow(random, 0x1_0000);
    if (taken.has(id)) continue;
    taken.add(id);
    return id;
  }
}

export function handleDirectResult(
  state: ResolverState,
  now: Instant,
  token: number,
  result: DirectResult,
): void {
  const flight = state.byToken.get(token);
  const sent = flight?.attempts.find((one) => one.kind === "direct" && one.token === token);
  if (flight === undefined || sent === undefined || flight.route.kind !== "direct") return;
  if (result.kind === "message") {
    if (acceptResponse(state, now, flight, { id: sent.id, bytes: result.message, ageS: result.ageS ?? 0 }))
      return;
    count(state, "dns_stray");
    // Anybody can send a datagram, but only the server speaks in a stream (DN-64, DN-65).
    if (flight.route.transport === "udp") return;
  } else {
    state.log.debug?.("DNS server not reached", { reason: result.reason });
  }
  forget(state, now, flight, sent);
  if (flight.attempts.length === 0) giveUp(state, now, flight, "network");
}

/** Whether it is the answer; then the flight is over. */
export function acceptResponse(
  state: ResolverState,
  now: Instant,
  flight: Flight,
  response: { readonly id: number; readonly bytes: Uint8Array; readonly ageS: number },
): boolean {
  const { query, waiters } = flight;
  const message = checkResponse(response.bytes, query, response.id);
  if (!message.ok) {
    state.log.debug?.("response not accepted", { reason: message.reason });
    return false;
  }
  store(state.cache, now, query, message.value, response.ageS);
  end(state, now, flight);
  for (const one of waiters) {
    const answer = encodeReturned(message.value, one.query, response.ageS);
    respond(state, one.asker, one.query, answer, one.decision);
  }
  return true;
}

/** SERVFAIL to all who wait, and no more of it. */
export function giveUp(
  state: ResolverState,
  now: Instant,
  flight: Flight,
  why: "deadline" | "network" | "notReady",
): void {
  const { waiters } = flight;
  end(state, now, flight);
  for (const { asker, query, decision } of waiters) fail(state, asker, query, decision, why);
}

function end(state: ResolverState, now: Instant, flight: Flight): void {
  state.active.direct.delete(flight);
  state.active.tunnel.delete(flight);
  state.flights.set(flight, undefined);
  for (const one of flight.waiters) forgetWaiter(state, one);
  const { joinKey } = flight;
  if (joinKey !== undefined && state.byJoin.get(joinKey) === flight) state.byJoin.delete(joinKey);
  if (flight.route.kind === "waiting") {
    const queue = state.waiting.get(flight.route.rid);
    queue?.delete(flight);
    if (queue?.size === 0) state.waiting.delete(flight.route.rid);
  }
  for (const sent of flight.attempts) forget(state, now, flight, sent);
}

function forgetWaiter({ byRepeat }: ResolverState, { repeatKey }: Waiter): void {
  if (repeatKey !== undefined) byRepeat.delete(repeatKey);
}

function forget(state: ResolverState, now: Instant, flight: Flight, sent: Attempt): void {
  flight.attempts = flight.attempts.filter((one) => one !== sent);
  if (sent.kind === "stream") return leaveStream(state, now, flight, sent.stream);
  const taken = state.ids.get(sent.server);
  taken?.delete(sent.id);
  if (taken?.size === 0) state.ids.delete(sent.server);
  if (sent.kind === "tunnel") return closeTunnelPort(state, now, sent.port);
  state.byToken.delete(sent.token);
  state.events.push({ kind: "direct-done", token: sent.token });
}

function schedule(state: ResolverState, flight: Flight): void {
  const { direct, tunnel } = state.active;
  if (!direct.has(flight) && !tunnel.has(flight)) return;
  state.flights.set(flight, earliest(flight.waiters[0]?.deadlineAt, flight.retransmitAt));
}

export function handleFlightTimeouts(state: ResolverState, now: Instant): void {
  for (;;) {
    const flight = state.flights.first();
    if (flight?.dueAt === undefined || flight.dueAt > now) return;
    const first = flight.waiters[0];
    if (first !== undefined && now >= first.deadlineAt) {
      expire(state, now, flight, first);
      continue;
    }
    flight.retransmitAt = undefined;
    count(state, "dns_retransmit");
    attempt(state, now, flight);
    schedule(state, flight);
  }
}

/** Each waits for as long as if it had asked alone; the flight ends with the last of them. */
function expire(state: ResolverState, now: Instant, flight: Flight, waiter: Waiter): void {
  const { asker, query, decision } = waiter;
  if (flight.waiters.length === 1) end(state, now, flight);
  else {
    forgetWaiter(state, waiter);
    flight.waiters = flight.waiters.slice(1);
    schedule(state, flight);
  }
  if (asker.kind === "loop-probe") return;
  count(state, "dns_deadline");
  // A program that asks over UDP asks again by itself: an answer now would only end that (DN-64).
  if (flight.route.kind === "direct" && asker.kind === "udp") return;
  fail(state, asker, query, decision, "deadline");
}

/** The network is another one: what goes past the tunnel is sent anew, what is in the tunnel is lost (DN-82). */
export function resetFlights(state: ResolverState, now: Instant): void {
  for (const flight of [...state.active.direct, ...state.active.tunnel]) {
    if (flight.route.kind === "waiting") continue;
    const isResendable = flight.route.kind === "direct" && flight.route.transport !== "tcp";
    if (!isResendable) {
      giveUp(state, now, flight, "network");
      continue;
    }
    for (const sent of flight.attempts) forget(state, now, flight, sent);
    count(state, "dns_retransmit");
    attempt(state, now, flight);
  }
}
