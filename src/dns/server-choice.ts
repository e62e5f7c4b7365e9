/**
 * Which of the gateway host's name servers is asked first (DN-87): each is asked for the root's servers now and then,
 * over UDP and TCP, and the fastest that answers is the best.
 */
import { after, type Instant, type Random, randomBelow } from "../base/index.ts";
import { encodeQuery } from "./address-query.ts";
import { RCODE, TYPE } from "./constants.ts";
import { checkResponse } from "./forward.ts";
import { toName } from "./name.ts";
import type { DirectQuery, DirectResult, Do53Server } from "./resolver-face.ts";
import { upstreamKey } from "./upstreams.ts";

export const NS_PROBE_INTERVAL_MS = 60_000;
export const NS_PROBE_TIMEOUT_MS = 2_000;
export const NS_SERVERS_MAX = 10;
/** Of the smoothed time: three quarters old, one quarter new. */
const NEW_SHARE = 0.25;

type ProbeTransport = "udp" | "tcp";
type Timings = Readonly<Record<ProbeTransport, number | undefined>>;

interface KnownServer {
  readonly server: Do53Server;
  /** Smoothed, over all rounds in which it answered. */
  smoothedMs: Timings;
  /** Of the newest round that has ended; absent: none has. */
  lastRound: Timings | undefined;
  round: Timings;
}

interface Probe {
  readonly key: string;
  readonly transport: ProbeTransport;
  readonly sentAt: Instant;
  readonly id: number;
}

export interface ServerChoice {
  readonly servers: Map<string, KnownServer>;
  readonly probes: Map<number, Probe>;
  /** When the round that is under way ends; absent: none is. */
  roundEndsAt: Instant | undefined;
  nextRoundAt: Instant | undefined;
}

const NOTHING: Timings = { udp: undefined, tcp: undefined };
const ROOT = toName(".");
/** What the question for the root's servers is compared with. */
const QUESTION = ROOT && { name: ROOT, type: TYPE.NS, class: 1 };

export function createServerChoice(): ServerChoice {
  return { servers: new Map(), probes: new Map(), roundEndsAt: undefined, nextRoundAt: undefined };
}

/** The list has changed: what is known of those that stay is kept. */
export function setServers(choice: ServerChoice, now: Instant, servers: readonly Do53Server[]): void {
  const known = new Map(choice.servers);
  choice.servers.clear();
  for (const server of servers.slice(0, NS_SERVERS_MAX)) {
    const key = upstreamKey({ kind: "do53", server });
    const fresh = { server, smoothedMs: NOTHING, lastRound: undefined, round: NOTHING };
    choice.servers.set(key, known.get(key) ?? fresh);
  }
  choice.nextRoundAt = choice.servers.size > 0 ? now : undefined;
}

/** The best first. Without anything good they stay in the order of the file. */
export function rankServers({ servers }: ServerChoice): readonly Do53Server[] {
  const all = [...servers.values()];
  const isGood = ({ lastRound }: KnownServer): boolean =>
    lastRound !== undefined && timeOf(lastRound) !== undefined;
  const good = all.filter(isGood).sort((a, b) => (timeOf(a.smoothedMs) ?? 0) - (timeOf(b.smoothedMs) ?? 0));
  if (good.length === 0) return all.map(({ server }) => server);
  return good.map(({ server }) => server);
}

/** UDP's, because that is how most questions come. */
function timeOf({ udp, tcp }: Timings): number | undefined {
  return udp ?? tcp;
}

/** Begins a round: the questions to be sent. */
export function startRound(
  choice: ServerChoice,
  now: Instant,
  { random, takeToken }: { readonly random: Random; readonly takeToken: () => number },
): readonly DirectQuery[] {
  choice.nextRoundAt = after(now, NS_PROBE_INTERVAL_MS);
  choice.roundEndsAt = after(now, NS_PROBE_TIMEOUT_MS);
  if (ROOT === undefined) return [];
  const queries: DirectQuery[] = [];
  for (const [key, known] of choice.servers) {
    known.round = NOTHING;
    for (const transport of ["udp", "tcp"] as const) {
      const token = takeToken();
      const id = randomBelow(random, 0x1_0000);
      choice.probes.set(token, { key, transport, sentAt: now, id });
      const message = encodeQuery({ id, name: ROOT, type: TYPE.NS });
      queries.push({ token, upstream: { kind: "do53", server: known.server }, transport, message });
    }
  }
  return queries;
}

/** @returns whether the question needs its socket no more; `undefined`: it was none of ours */
export function noteProbe(
  choice: ServerChoice,
  now: Instant,
  token: number,
  result: DirectResult,
): boolean | undefined {
  const probe = choice.probes.get(token);
  if (probe === undefined) return undefined;
  const isAnswer = result.kind === "message" && isGoodAnswer(result.message, probe.id);
  if (!isAnswer && result.kind === "message" && probe.transport === "udp") return false;
  choice.probes.delete(token);
  const known = choice.servers.get(probe.key);
  if (isAnswer && known !== undefined) noteTime(known, probe.transport, now - probe.sentAt);
  return true;
}

function isGoodAnswer(message: Uint8Array, id: number): boolean {
  const response = QUESTION && checkResponse(message, { question: QUESTION }, id);
  if (!response?.ok) return false;
  const { rcode } = response.value.header;
  return rcode === RCODE.noError || rcode === RCODE.nxDomain;
}

function noteTime(known: KnownServer, transport: ProbeTransport, ms: number): void {
  const before = known.smoothedMs[transport];
  const smoothed = before === undefined ? ms : before + NEW_SHARE * (ms - before);
  known.smoothedMs = { ...known.smoothedMs, [transport]: smoothed };
  known.round = { ...known.round, [transport]: ms };
}

/** @returns the questions that were not answered in time */
export function endRound(choice: ServerChoice): readonly number[] {
  choice.roundEndsAt = undefined;
  for (const known of choice.servers.values()) known.lastRound = known.round;
  const late = [...choice.probes.keys()];
  choice.probes.clear();
  return late;
}
