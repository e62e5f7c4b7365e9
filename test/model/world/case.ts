/** A case that runs: the stage, what the reference expects of it, and what happened, in words (TN-94, TN-95). */
import { formatIp, type Instant, type IpAddress } from "../../../src/base/index.ts";
import { ERRORS, encodeProbe, type Probe, type Sight } from "./packets.ts";
import { type Expectation, expect, expectUnaware, type Flow } from "./reference.ts";
import type { Arrival } from "./servers.ts";
import type { Stage } from "./stage.ts";

/** A TCP connection that must outlive everything (TN-101). */
export interface HeldConnection {
  readonly client: string;
  readonly id: number;
  readonly flow: Flow;
  /** By name: each that serves it equally well, since the client chooses among them (TN-21). */
  readonly resources: readonly string[];
  /** Behind which its server is. */
  readonly gateway: string;
  received: number;
}

export interface Case extends Stage {
  /** What has been done, one line per step. */
  readonly lines: string[];
  /** Kinds of things that occurred (TS-18). */
  readonly labels: Set<string>;
  readonly held: HeldConnection[];
  /** How much of `servers.arrivals` has been accounted for. */
  judged: number;
  /** Probes so far; each has a port or identifier of its own. */
  probes: number;
  /** Probes that were lost while somebody was cut off, by number: they may wait for access, and come late (TN-33). */
  readonly late: Map<number, { readonly client: string; readonly sent: Probe; readonly wasUnaware: boolean }>;
  /** Gateways and clients whose paths are not what they were: until a packet has passed again. */
  readonly shaken: Set<string>;
}

/** Something that the reference does not allow. */
export class Violation extends Error {
  override readonly name = "Violation";
}

export function violation(what: string): never {
  throw new Violation(what);
}

/** From the intent to the first answer (TS-17), besides round trips. */
const FIRST_ANSWER_MS = 5_000;
/** To the portal, to the peer by a check, by a handshake, and by the packet itself. */
const SETUP_ROUND_TRIPS = 4;
/** A dead connection has failed (SN-95), a process is back at the portal (PT-27), and a new path is there. */
export const RECOVERED_MS = 60_000;
/** Between two attempts, where the first one took no time. */
const RETRY_MS = 100;
/** In which it would show that something passes after all. */
const SILENCE_MS = 1_000;
const FIRST_ID = 10_000;

/** The longest round trip between a client and a gateway, by relays, and that to the portal. */
export function answerMs({ setup }: Case): number {
  const longest = (places: readonly { readonly latencyMs: number }[]): number =>
    Math.max(...places.map(({ latencyMs }) => latencyMs));
  const gateways = setup.sites.flatMap((site) => site.gateways);
  const roundTripMs = 2 * (longest(setup.clients) + longest(gateways) + 4 * longest(setup.relays) + 20);
  return FIRST_ANSWER_MS + SETUP_ROUND_TRIPS * (roundTripMs + 2 * setup.portalDelayMs);
}

export type ProbeFlow = Flow & { readonly protocol: "icmp" | "udp" };

/** Sends one packet and holds what becomes of it against the reference (TN-100, TN-102 no. 1). */
export function probe(c: Case, client: string, flow: ProbeFlow): void {
  const expectation = expect(c.reference, client, flow);
  if (c.reference.cuts.size > 0) return probeWhileCut(c, client, flow, [expectation]);
  c.labels.add(`${flow.protocol} ${expectation.kind}`);
  const isShaken = c.shaken.size > 0;
  const boundMs = isShaken && expectation.kind === "served" ? RECOVERED_MS : answerMs(c);
  const since = c.play.world.now();
  let outcome: string;
  let at: Instant;
  do {
    at = c.play.world.now();
    outcome = probeOnce(c, client, flow, expectation);
    // Refused at once: the next attempt has to be later than this one (TS-82).
    if (isShaken && outcome !== "" && c.play.world.now() === at) c.play.world.run(RETRY_MS);
    // What hangs on a path that is not there yet is tried again; nothing else is.
  } while (
    isShaken &&
    expectation.kind === "served" &&
    outcome !== "" &&
    c.play.world.now() - since < boundMs
  );
  if (outcome !== "") {
    violation(`${client}: ${describe(flow)}: expected ${describeExpectation(expectation)}, but ${outcome}`);
  }
}

/**
 * While something is cut off, or has just been changed, a packet may be lost or refused. But it never goes where none
 * of the expectations lets it.
 */
export function probeWhileCut(
  c: Case,
  client: string,
  flow: ProbeFlow,
  expectations: readonly Expectation[],
): void {
  const sent = send(c, client, flow);
  if (sent === undefined) return;
  c.play.world.run(answerMs(c));
  judgeMeanwhile(c, client, [{ sent, expectations }]);
}

/**
 * Judges packets that may be lost, and must not go astray: of each what may become of it.
 * @returns how many arrived
 */
export function judgeMeanwhile(
  c: Case,
  client: string,
  all: readonly { readonly sent: Probe; readonly expectations: readonly Expectation[] }[],
): number {
  const since = c.play.world.now();
  const arrivals = takeArrivals(c);
  const numberOf = ({ sight }: Arrival): number => (sight.kind === "request" ? sight.number : 0);
  for (const arrival of arrivals) {
    const { cuts } = c.reference;
    // Neither of them can have heard.
    if (cuts.has(client) && cuts.has(arrival.gateway)) continue;
    const its = all.find(({ sent }) => sent.number === numberOf(arrival)) ?? all[0];
    if (its === undefined) violation(`nobody sent this: ${describeArrivals([arrival])}`);
    const { sent, expectations } = its;
    const unaware = cuts.has(client) ? expectUnaware(c.reference, client, sent) : undefined;
    const allowed = unaware === undefined ? expectations : [...expectations, unaware];
    const wrong = allowed.map((expectation) =>
      expectation.kind === "served"
        ? wrongArrival(c, { sent, expectation, arrivals, sights: [], since }, arrival)
        : describeExpectation(expectation),
    );
    if (!wrong.includes("")) {
      violation(`${client}: ${describe(sent)} must not pass, but ${describeArrivals([arrival])}: ${wrong}`);
    }
  }
  for (const { sent } of all) {
    const its = arrivals.filter((arrival) => numberOf(arrival) === sent.number);
    if (its.length === 0) c.late.set(sent.number, { client, sent, wasUnaware: c.reference.cuts.has(client) });
    if (its.length > 1) violation(`${describe(sent)} arrived more than once: ${describeArrivals(its)}`);
    c.labels.add(its.length > 0 ? "passed all the same" : "lost meanwhile");
  }
  return arrivals.length;
}

/** As `probe`, but other things happen before anybody looks; for what is served. */
export function probeSlowly(c: Case, client: string, flow: ProbeFlow, meanwhile: () => void): void {
  const expectation = expect(c.reference, client, flow);
  const application = c.application(client);
  const sightsBefore = application.sights.length;
  const since = c.play.world.now();
  const sent = send(c, client, flow);
  if (sent === undefined) return;
  meanwhile();
  c.play.world.run(answerMs(c));
  const arrivals = takeArrivals(c);
  const sights = application.sights.slice(sightsBefore).filter((sight) => isAbout(sight, sent));
  const wrong = judge(c, { sent, expectation, arrivals, sights, since });
  if (wrong !== "")
    violation(`${client}: ${describe(flow)}: expected ${describeExpectation(expectation)}, but ${wrong}`);
}

/** What has come out of gateways since, but for late probes; those are judged by what may pass now. */
export function takeArrivals(c: Case): readonly Arrival[] {
  const arrivals = c.servers.arrivals.slice(c.judged);
  c.judged = c.servers.arrivals.length;
  return arrivals.filter((arrival) => {
    const number = arrival.sight.kind === "request" ? arrival.sight.number : 0;
    const late = c.late.get(number);
    if (late === undefined) return true;
    c.late.delete(number);
    const { client, sent, wasUnaware } = late;
    const since = c.play.world.now();
    // Sent by what the client knew then; it must be permitted now.
    const unaware = wasUnaware ? expectUnaware(c.reference, client, sent) : undefined;
    const wrong = [expect(c.reference, client, sent), unaware].map((expectation) =>
      expectation?.kind === "served"
        ? wrongArrival(c, { sent, expectation, arrivals: [], sights: [], since }, arrival)
        : "not served",
    );
    if (!wrong.includes("")) {
      violation(
        `${client}: ${describe(sent)} came late, but must not pass: ${describeArrivals([arrival])}: ${wrong}`,
      );
    }
    c.labels.add("came late");
    return false;
  });
}

/** Whether something is said to this probe, and not to another that comes late. */
function isAbout(sight: Sight, { id }: Probe): boolean {
  if (sight.kind === "error") return sight.id === id;
  return sight.kind === "request" || sight.kind === "answer" ? sight.port === id : true;
}

/** @returns the probe; `undefined`: the client has no address of this family */
export function send(c: Case, client: string, flow: ProbeFlow): Probe | undefined {
  const source = c.application(client).own.find(({ length }) => length === flow.destination.length);
  if (source === undefined) return undefined;
  const number = ++c.probes;
  const sent: Probe = { ...flow, source, id: FIRST_ID + (number % 50_000), number };
  c.play.client(client).send(encodeProbe(sent));
  return sent;
}

/** @returns what is wrong; empty if nothing is */
function probeOnce(c: Case, client: string, flow: ProbeFlow, expectation: Expectation): string {
  const { world } = c.play;
  const application = c.application(client);
  const [sightsBefore, at] = [application.sights.length, world.now()];
  const sent = send(c, client, flow);
  if (sent === undefined) return "the client has no address of this family";
  const sights = (): readonly Sight[] =>
    application.sights.slice(sightsBefore).filter((sight) => isAbout(sight, sent));
  world.runUntil(() => sights().length > 0, expectation.kind === "silence" ? SILENCE_MS : answerMs(c));
  const arrivals = takeArrivals(c);
  if (arrivals.length === 0 && c.shaken.size > 0)
    c.late.set(sent.number, { client, wasUnaware: c.reference.cuts.has(client), sent });
  return judge(c, { sent, expectation, arrivals, sights: sights(), since: at });
}

interface Observed {
  readonly sent: Probe;
  readonly expectation: Expectation;
  readonly arrivals: readonly Arrival[];
  readonly sights: readonly Sight[];
  readonly since: Instant;
}

function judge(c: Case, observed: Observed): string {
  const { sent, expectation, arrivals, sights } = observed;
  const told = sights.map((sight) => describeSight(sight)).join(" and ") || "nothing came back";
  if (expectation.kind !== "served") {
    if (arrivals.length > 0) violation(`${describe(sent)} must not pass, but ${describeArrivals(arrivals)}`);
    if (expectation.kind === "silence") return sights.length === 0 ? "" : told;
    return sights.length === 1 && isRefusal(sights[0], sent, expectation.kind) ? "" : told;
  }
  return judgeServed(c, observed, told);
}

function judgeServed(c: Case, observed: Observed, told: string): string {
  const { sent, expectation, arrivals, sights } = observed;
  if (expectation.kind !== "served") return "";
  const [arrival, ...more] = arrivals;
  const [sight, ...others] = sights;
  if (arrival === undefined) return judgeUnserved(c, observed, told);
  if (more.length > 0) violation(`${describe(sent)} arrived more than once: ${describeArrivals(arrivals)}`);
  const wrong = wrongArrival(c, observed, arrival);
  if (wrong !== "") violation(`${describe(sent)}: ${wrong}`);
  if (sight === undefined) return `it arrived at ${arrival.gateway}, but nothing came back`;
  if (others.length > 0) return told;
  const real = arrival.sight.kind === "request" ? formatIp(arrival.sight.destination) : "";
  const error = c.setup.errorHosts[real];
  const isRight =
    error === undefined
      ? isEcho(sight, sent)
      : isError(sight, sent, ERRORS[error][sent.source.length === 4 ? "v4" : "v6"]);
  c.labels.add(error === undefined ? "echo" : `error of a host, IPv${sent.source.length === 4 ? 4 : 6}`);
  return isRight ? "" : told;
}

/** A name may have no address of the family, or none at all (TN-61 row 9, TN-64). */
function judgeUnserved(c: Case, { sent, expectation, sights, since }: Observed, told: string): string {
  if (expectation.kind !== "served" || expectation.domain === undefined) return told;
  const { domain, resources } = expectation;
  const gateways = gatewaysOf(
    c,
    resources.map(({ site }) => site),
  );
  const known = gateways.map((gateway) => addressesKnown(c, { gateway, domain, since }));
  const hasNone = known.some((sets) =>
    sets.some((addresses) => !addresses.some((text) => isOfFamily(text, sent.source))),
  );
  if (!hasNone || sights.length !== 1 || !isRefusal(sights[0], sent, "unreachable")) return told;
  c.labels.add("a name without addresses of the family");
  return "";
}

function wrongArrival(
  c: Case,
  { sent, expectation, since }: Observed,
  { gateway, sight, at }: Arrival,
): string {
  if (expectation.kind !== "served") return "";
  const gateways = gatewaysOf(
    c,
    expectation.resources.map(({ site }) => site),
  );
  if (!gateways.includes(gateway)) return `it arrived at ${gateway}, which serves none of its resources`;
  if (sight.kind !== "request") return `at ${gateway} arrived ${describeSight(sight)}`;
  const isSame =
    sight.protocol === sent.protocol &&
    sight.number === sent.number &&
    sight.source.join() === sent.source.join() &&
    (sent.protocol === "icmp" || sight.port === sent.port);
  if (!isSame) return `at ${gateway} arrived ${describeSight(sight)}`;
  const real = formatIp(sight.destination);
  if (expectation.domain === undefined) {
    return real === formatIp(sent.destination) ? "" : `it went to ${real}`;
  }
  const sets = addressesKnown(c, { gateway, domain: expectation.domain, since, until: at });
  if (sets.some((addresses) => addresses.includes(real))) return "";
  return `it went to ${real}, but ${expectation.domain} is ${JSON.stringify(sets)}`;
}

export function gatewaysOf({ setup }: Case, sites: readonly string[]): readonly string[] {
  return setup.sites
    .filter(({ name }) => sites.includes(name))
    .flatMap(({ gateways }) => gateways.map(({ name }) => name));
}

/**
 * What the gateway knew of a name while the packet was under way: the last that it heard before, and what it heard
 * meanwhile. What could not be found out leaves all as it was (TN-64 no. 4).
 */
function addressesKnown(
  { servers, setup }: Case,
  of: {
    readonly gateway: string;
    readonly domain: string;
    readonly since: Instant;
    readonly until?: Instant;
  },
): readonly (readonly string[])[] {
  const mine = servers.resolutions.filter(
    ({ gateway, domain, at }) =>
      gateway === of.gateway && domain === of.domain && (of.until === undefined || at <= of.until),
  );
  const sets = (list: typeof mine): (readonly string[])[] => list.map(({ addresses }) => addresses ?? []);
  const before = mine.filter(({ at }) => at < of.since);
  const known = before.findLastIndex(({ addresses }) => addresses !== undefined);
  // Of two clients either may have asked last.
  const kept = setup.clients.length > 1 ? before : before.slice(Math.max(0, known));
  return [...sets(kept), ...sets(mine.filter(({ at }) => at >= of.since))];
}

function isOfFamily(text: string, address: IpAddress): boolean {
  return text.includes(":") === (address.length === 16);
}

function isRefusal(sight: Sight | undefined, sent: Probe, kind: "prohibited" | "unreachable"): boolean {
  const isV4 = sent.source.length === 4;
  const what = { prohibited: isV4 ? "3/13" : "1/1", unreachable: isV4 ? "3/0" : "1/3" }[kind];
  return sight !== undefined && isError(sight, sent, what);
}

/** The quote names exactly what the client sent. */
function isError(sight: Sight, sent: Probe, what: string): boolean {
  return (
    sight.kind === "error" &&
    sight.what === what &&
    sight.destination.join() === sent.source.join() &&
    sight.source.join() === sent.destination.join() &&
    sight.quotedSource.join() === sent.source.join() &&
    sight.quotedDestination.join() === sent.destination.join() &&
    sight.id === sent.id &&
    (sent.protocol === "icmp" || sight.quotedPort === sent.port)
  );
}

function isEcho(sight: Sight, sent: Probe): boolean {
  return (
    (sight.kind === "answer" || sight.kind === "request") &&
    sight.protocol === sent.protocol &&
    sight.number === sent.number &&
    sight.source.join() === sent.destination.join() &&
    sight.destination.join() === sent.source.join() &&
    sight.port === sent.id
  );
}

export function describe({ protocol, destination, port }: Flow): string {
  return `${protocol} to ${formatIp(destination)}${protocol === "icmp" ? "" : ` port ${port}`}`;
}

function describeExpectation(expectation: Expectation): string {
  if (expectation.kind !== "served") return expectation.kind;
  const by = expectation.resources.map(({ name, site }) => `${name} in ${site}`).join(" or ");
  return `to be served by ${by}${expectation.domain === undefined ? "" : ` as ${expectation.domain}`}`;
}

export function describeSight(sight: Sight): string {
  switch (sight.kind) {
    case "error":
      return `ICMP ${sight.what} from ${formatIp(sight.source)} about ${formatIp(sight.quotedDestination)}`;
    case "request":
    case "answer":
      return `${sight.protocol} ${sight.kind} ${sight.number} ${formatIp(sight.source)}:${sight.sourcePort} to ${formatIp(sight.destination)}:${sight.port}`;
    case "tcp":
      return "TCP";
    case "other":
      return sight.why;
  }
}

export function describeArrivals(arrivals: readonly Arrival[]): string {
  return arrivals.map(({ gateway, sight }) => `${describeSight(sight)} came out of ${gateway}`).join("; ");
}
