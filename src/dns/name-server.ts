/**
 * The gateway's name server for its clients (DN-84 to DN-87): asked about names of resources only, it asks the
 * servers of its host. A pure machine; after every input the caller drains `pollEvent`.
 */
import {
  after,
  createDeadlineQueue,
  type DeadlineQueue,
  earliest,
  type Instant,
  type IpAddress,
  type Log,
  type QueueEntry,
  type Random,
  randomBelow,
  SILENT,
} from "../base/index.ts";
import { RCODE } from "./constants.ts";
import { checkResponse, encodeForwarded, encodeReturned } from "./forward.ts";
import { encodeLocal, fitAnswer, udpLimitOf } from "./local-answer.ts";
import type { Name } from "./name.ts";
import { addressKey } from "./pools.ts";
import { checkQuery, type Query } from "./query.ts";
import type { DirectQuery, DirectResult, DnsFigures, Do53Server } from "./resolver-face.ts";
import {
  createServerChoice,
  endRound,
  noteProbe,
  rankServers,
  type ServerChoice,
  setServers,
  startRound,
} from "./server-choice.ts";

export const SITE_DEADLINE_MS = 5_000;
export const SITE_RETRANSMIT_MS = 2_000;
export const SITE_QUERIES_MAX = 1_000;
export const SITE_QUERIES_PER_CLIENT = 100;

/** Whether a client may know of a name. `cid` absent: the address is no client's. */
export interface NamePermit {
  readonly cid?: string;
  readonly isGranted: boolean;
}

export type NameServerEvent =
  | { readonly kind: "direct-query"; readonly query: DirectQuery }
  | { readonly kind: "direct-done"; readonly token: number }
  | { readonly kind: "answer"; readonly asker: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** What came is no query: its connection is ended. */
  | { readonly kind: "abort"; readonly asker: number };

/** A question as the shell's sockets bring it; `asker` is the shell's own number for where the answer goes. */
export interface SiteQuestion {
  readonly asker: number;
  readonly transport: "udp" | "tcp";
  readonly client: IpAddress;
  readonly bytes: Uint8Array;
}

export interface NameServer {
  /** The servers of the host, in the order of its file. */
  handleServers(now: Instant, servers: readonly Do53Server[]): void;
  handleQuestion(now: Instant, question: SiteQuestion): void;
  handleDirectResult(now: Instant, token: number, result: DirectResult): void;
  /** The network is another one: the servers are measured anew. */
  reset(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
  pollEvent(): NameServerEvent | undefined;
  /** The best first (DN-87). */
  servers(): readonly Do53Server[];
  figures(): DnsFigures;
}

export interface NameServerOptions {
  readonly random: Random;
  /** Asked for each question (DN-85). */
  readonly permit: (client: IpAddress, name: Name) => NamePermit;
  readonly log?: Log;
}

interface SiteFlight extends QueueEntry {
  readonly asker: number;
  readonly client: string;
  readonly transport: "udp" | "tcp";
  readonly query: Query;
  readonly deadlineAt: Instant;
  retransmitAt: Instant | undefined;
  /** By token: the ID of each attempt. */
  readonly attempts: Map<number, number>;
  sendings: number;
}

interface ServerState {
  readonly random: Random;
  readonly permit: NameServerOptions["permit"];
  readonly log: Log;
  readonly choice: ServerChoice;
  readonly flights: DeadlineQueue<SiteFlight>;
  readonly byToken: Map<number, SiteFlight>;
  /** Questions under way, by client. */
  readonly perClient: Map<string, number>;
  readonly events: NameServerEvent[];
  readonly counters: Map<string, number>;
  underWay: number;
  nextToken: number;
}

export function createNameServer({ random, permit, log = SILENT }: NameServerOptions): NameServer {
  const state: ServerState = {
    ...{ random, permit, log, choice: createServerChoice(), flights: createDeadlineQueue() },
    ...{ byToken: new Map(), perClient: new Map(), events: [], counters: new Map() },
    ...{ underWay: 0, nextToken: 1 },
  };
  return {
    handleServers: (now, servers) => setServers(state.choice, now, servers),
    handleQuestion: (now, question) => handleQuestion(state, now, question),
    handleDirectResult: (now, token, result) => handleDirectResult(state, now, token, result),
    reset(now) {
      if (state.choice.servers.size > 0) state.choice.nextRoundAt = now;
    },
    handleTimeout: (now) => handleTimeout(state, now),
    pollTimeout: () =>
      earliest(state.flights.first()?.dueAt, state.choice.roundEndsAt, state.choice.nextRoundAt),
    pollEvent: () => state.events.shift(),
    servers: () => rankServers(state.choice),
    figures: () => ({
      counters: Object.fromEntries(state.counters),
      present: { site_queries: state.underWay, servers: state.choice.servers.size },
    }),
  };
}

function count({ counters }: ServerState, name: string): void {
  counters.set(name, (counters.get(name) ?? 0) + 1);
}

function handleQuestion(state: ServerState, now: Instant, question: SiteQuestion): void {
  const { asker, transport, client } = question;
  count(state, `dns_site_queries_${transport}`);
  // The shell's buffer is used again.
  const check = checkQuery(question.bytes.slice());
  if (check.kind !== "query") {
    count(state, check.counter);
    const end = { kind: "abort", asker } as const;
    state.events.push(check.kind === "drop" ? end : { kind: "answer", asker, bytes: check.answer });
    return;
  }
  const { query } = check;
  const { cid, isGranted } = state.permit(client, query.question.name);
  if (!isGranted) {
    count(state, "dns_site_refused");
    state.log.debug?.("question about a name that is not granted refused", { cid });
    return answer(state, { asker, transport, query }, encodeLocal(query, { rcode: RCODE.refused }));
  }
  const key = addressKey(client);
  const isFull =
    state.underWay >= SITE_QUERIES_MAX || (state.perClient.get(key) ?? 0) >= SITE_QUERIES_PER_CLIENT;
  if (isFull) count(state, "dns_overload");
  if (isFull || state.choice.servers.size === 0) {
    const failed = encodeLocal(query, { rcode: RCODE.servFail, extendedError: "notReady" });
    return answer(state, { asker, transport, query }, failed);
  }
  const flight: SiteFlight = {
    ...{ asker, client: key, transport, query, deadlineAt: after(now, SITE_DEADLINE_MS) },
    retransmitAt: transport === "udp" ? after(now, SITE_RETRANSMIT_MS) : undefined,
    ...{ attempts: new Map(), sendings: 0, dueAt: undefined, place: -1 },
  };
  state.underWay++;
  state.perClient.set(key, (state.perClient.get(key) ?? 0) + 1);
  send(state, flight);
  state.flights.set(flight, earliest(flight.deadlineAt, flight.retransmitAt));
}

/** The first to the best server, the second to the next best: the best may have died since it was measured. */
function send(state: ServerState, flight: SiteFlight): void {
  const ranked = rankServers(state.choice);
  const server = ranked[flight.sendings++ % Math.max(1, ranked.length)];
  if (server === undefined) return;
  const token = state.nextToken++;
  const id = randomBelow(state.random, 0x1_0000);
  flight.attempts.set(token, id);
  state.byToken.set(token, flight);
  const message = encodeForwarded(flight.query, id);
  const upstream = { kind: "do53", server } as const;
  state.events.push({
    kind: "direct-query",
    query: { token, upstream, transport: flight.transport, message },
  });
}

function handleDirectResult(state: ServerState, now: Instant, token: number, result: DirectResult): void {
  const isProbeOver = noteProbe(state.choice, now, token, result);
  if (isProbeOver === true) state.events.push({ kind: "direct-done", token });
  if (isProbeOver !== undefined) return;
  const flight = state.byToken.get(token);
  const id = flight?.attempts.get(token);
  if (flight === undefined || id === undefined) return;
  if (result.kind === "message") {
    const response = checkResponse(result.message, flight.query, id);
    if (response.ok) {
      count(state, "dns_site_answered");
      end(state, flight);
      return answer(state, flight, encodeReturned(response.value, flight.query));
    }
    count(state, "dns_stray");
    if (flight.transport === "udp") return;
  }
  drop(state, flight, token);
  if (flight.attempts.size > 0) return;
  // The other server may know; only once, and not behind the retransmission.
  const mayAgain = flight.sendings < 2 && state.choice.servers.size > 1;
  if (!mayAgain) return fail(state, flight, "network");
  flight.retransmitAt = undefined;
  send(state, flight);
  state.flights.set(flight, flight.deadlineAt);
}

function handleTimeout(state: ServerState, now: Instant): void {
  for (;;) {
    const flight = state.flights.first();
    if (flight?.dueAt === undefined || flight.dueAt > now) break;
    if (now >= flight.deadlineAt) {
      count(state, "dns_deadline");
      fail(state, flight, "deadline");
      continue;
    }
    flight.retransmitAt = undefined;
    count(state, "dns_retransmit");
    send(state, flight);
    state.flights.set(flight, flight.deadlineAt);
  }
  const { choice } = state;
  if (choice.roundEndsAt !== undefined && choice.roundEndsAt <= now) closeRound(state);
  if (choice.nextRoundAt === undefined || choice.nextRoundAt > now) return;
  closeRound(state);
  const takeToken = (): number => state.nextToken++;
  for (const query of startRound(choice, now, { random: state.random, takeToken })) {
    state.events.push({ kind: "direct-query", query });
  }
}

function closeRound(state: ServerState): void {
  if (state.choice.roundEndsAt === undefined) return;
  for (const token of endRound(state.choice)) state.events.push({ kind: "direct-done", token });
}

function fail(state: ServerState, flight: SiteFlight, extendedError: "network" | "deadline"): void {
  count(state, "dns_servfail");
  end(state, flight);
  answer(state, flight, encodeLocal(flight.query, { rcode: RCODE.servFail, extendedError }));
}

function end(state: ServerState, flight: SiteFlight): void {
  state.underWay--;
  const left = (state.perClient.get(flight.client) ?? 1) - 1;
  if (left === 0) state.perClient.delete(flight.client);
  else state.perClient.set(flight.client, left);
  state.flights.set(flight, undefined);
  for (const token of [...flight.attempts.keys()]) drop(state, flight, token);
}

function drop(state: ServerState, flight: SiteFlight, token: number): void {
  flight.attempts.delete(token);
  state.byToken.delete(token);
  state.events.push({ kind: "direct-done", token });
}

function answer(
  state: ServerState,
  to: Pick<SiteFlight, "asker" | "transport" | "query">,
  bytes: Uint8Array<ArrayBuffer>,
): void {
  const { asker, transport, query } = to;
  const fitting = transport === "tcp" ? bytes : fitAnswer(query, bytes, udpLimitOf(query));
  state.events.push({ kind: "answer", asker, bytes: fitting });
}
