/**
 * What a host's programs ask, one thing or several at once, by either transport, and what is expected of each (TN-98,
 * dns.md §17): one answer, from where the resources say, and nobody else hears of it.
 */
import { formatIp, type Instant, ip } from "../../../src/base/index.ts";
import { type DnsMessage, RCODE, type SentinelMapping, TYPE } from "../../../src/dns/index.ts";
import { recordsIn } from "./application.ts";
import type { Ask } from "./asking.ts";
import { answerMs, type Case, gatewaysOf, violation } from "./case.ts";
import { textOf } from "./dns.ts";
import { type Draw, drawFromNumber } from "./draw.ts";
import { whole } from "./outages.ts";
import { expect, resourceOfName } from "./reference.ts";
import { DOMAINS } from "./setup.ts";
import { SITE_RECORDS } from "./sites.ts";
import { noteProxies } from "./traffic.ts";
import type { Transition } from "./transition.ts";

const OWN_TYPES = [TYPE.TXT, TYPE.MX, TYPE.SRV, TYPE.NAPTR, TYPE.SSHFP];
/** An answer over UDP to a question without EDNS has no more (DN-12). */
const UDP_RECORD_MAX = 400;
const TRANSPORTS = ["udp", "tcp"] as const;
/** Some programs have always the same (DN-69). */
const FIXED_ID = 33_333;
/** Of nobody: the last proxy addresses, and tunnel addresses. */
const UNNAMED = ["100.127.255.250", "100.64.0.1", "fd00:2021:1111:8000::1f:fff0", "fd00:2021:1111::1"];
const NUMBER_MAX = 65_536;

export const QUESTIONS: readonly Transition[] = [
  {
    name: "ask for a name's own records",
    weight: 3,
    candidates: quiet((c, client) =>
      DOMAINS.filter((domain) => resourceOfName(c.reference, client, domain) !== undefined),
    ),
    run(c, about, draw) {
      const [client = "", domain = ""] = about.split(" ");
      const [sentinel] = c.application(client).dns.mapping;
      if (sentinel !== undefined) askAll(c, client, [ofSite(c, client, { sentinel, domain, draw })]);
    },
  },
  {
    name: "ask a name server",
    weight: 2,
    candidates: quiet((c, client) =>
      c.application(client).dns.mapping.map(({ sentinel }) => formatIp(sentinel)),
    ),
    run(c, about, draw) {
      const [client = "", text = ""] = about.split(" ");
      const sentinel = c.application(client).dns.mapping.find((one) => formatIp(one.sentinel) === text);
      if (sentinel !== undefined) askAll(c, client, [ofServer(c, client, { sentinel, draw })]);
    },
  },
  {
    name: "ask for several things at once",
    weight: 5,
    candidates: quiet((c, client) => (c.application(client).dns.mapping.length > 0 ? [""] : [])),
    run(c, about, draw) {
      const client = about.trim();
      const [count, isPipelined, hasFixedId] = [1 + draw.below(4), draw.oneIn(2), draw.oneIn(3)];
      const all = Array.from({ length: count }, () =>
        ofAnyKind(c, client, drawFromNumber(draw.below(NUMBER_MAX))),
      );
      askAll(c, client, all, { isPipelined, ...(hasFixedId && { id: FIXED_ID }) });
      c.labels.add(`${count} at once`);
    },
  },
];

/** `client thing`; while nothing is cut off, and all paths are there. */
function quiet(things: (c: Case, client: string) => readonly string[]): Transition["candidates"] {
  return whole((c) =>
    c.shaken.size > 0
      ? []
      : c.setup.clients.flatMap(({ name }) => things(c, name).map((thing) => `${name} ${thing}`)),
  );
}

/** Who is asked on the way to an answer. */
type Way =
  | { readonly kind: "nobody" }
  | { readonly kind: "direct" }
  /** `to`: the server, or `site`: one of the gateway's host. */
  | { readonly kind: "tunnel"; readonly to: string; readonly gateways: readonly string[] };

interface Wanted {
  readonly ask: Ask;
  readonly upstream: SentinelMapping["upstream"];
  readonly way: Way;
  readonly rcode: number;
  /** @returns what is wrong with the answer's records; absent: there must be none */
  readonly records?: (message: DnsMessage) => string;
  /** Default: all of the answer is there. */
  readonly isTruncated?: boolean;
  readonly label: string;
}

interface Drawn {
  readonly sentinel: SentinelMapping;
  readonly draw: Draw;
}

function ofAnyKind(c: Case, client: string, draw: Draw): Wanted {
  const sentinel = draw.of(c.application(client).dns.mapping);
  const mine = DOMAINS.filter((domain) => resourceOfName(c.reference, client, domain) !== undefined);
  const kind = draw.of(["server", "reverse", "addresses", "site"] as const);
  if (kind === "reverse") return ofReverse(c, client, { sentinel, draw });
  if (kind === "server" || mine.length === 0) return ofServer(c, client, { sentinel, draw });
  const of = { sentinel, draw, domain: draw.of(mine) };
  return kind === "site" ? ofSite(c, client, of) : ofAddresses(c, client, of);
}

/** Records that only the site has are asked there, and nowhere else (DN-66, DN-84 to DN-86). */
function ofSite(
  c: Case,
  client: string,
  { sentinel, domain, draw }: Drawn & { readonly domain: string },
): Wanted {
  const type = draw.of(OWN_TYPES);
  const asked = toAsk(sentinel, { domain, type, draw });
  const site = resourceOfName(c.reference, client, domain)?.site ?? "";
  const fails = c.reference.failing.has(domain);
  const has = !fails && SITE_RECORDS[type] !== undefined;
  return {
    ...asked,
    way: { kind: "tunnel", to: "site", gateways: gatewaysOf(c, [site]) },
    rcode: fails ? RCODE.servFail : has ? RCODE.noError : RCODE.nxDomain,
    ...(has && recordsOf(asked.ask)),
    label: has ? "a name's own records" : "own records that a site has not",
  };
}

/** What is nobody's goes to the server behind the sentinel, by the way that the resources say (DN-67). */
function ofServer(c: Case, client: string, { sentinel, draw }: Drawn): Wanted {
  const type = draw.of([TYPE.TXT, TYPE.A, TYPE.MX, TYPE.SSHFP]);
  return forwarded(c, client, { sentinel, draw, domain: `q${++c.probes}.nowhere.test`, type });
}

function forwarded(
  c: Case,
  client: string,
  { sentinel, draw, domain, type }: Drawn & { readonly domain: string; readonly type: number },
): Wanted {
  const asked = toAsk(sentinel, { domain, type, draw });
  const { way, label, isFound = false, fails = false } = wayTo(c, client, asked);
  const has = isFound && SITE_RECORDS[type] !== undefined;
  return {
    ...asked,
    way,
    rcode: fails ? RCODE.servFail : has ? RCODE.noError : RCODE.nxDomain,
    ...(has && recordsOf(asked.ask)),
    label,
  };
}

/** The name of a proxy address; of the tunnel's other addresses nothing gets out (DN §7 rows 3 and 4). */
function ofReverse(c: Case, client: string, { sentinel, draw }: Drawn): Wanted {
  const assigned = [...c.reference.proxies].filter(([key]) => key.startsWith(`${client} `));
  const kind = draw.of(["assigned", "unnamed", "foreign"] as const);
  if (kind === "foreign") {
    const number = ++c.probes;
    const domain = reverseOf(Uint8Array.of(198, 51, number >> 8, number & 0xff));
    return forwarded(c, client, { sentinel, draw, domain, type: TYPE.PTR });
  }
  if (kind === "unnamed" || assigned.length === 0) {
    const domain = reverseOf(ip(draw.of(UNNAMED)));
    const asked = toAsk(sentinel, { domain, type: TYPE.PTR, draw });
    return {
      ...asked,
      way: { kind: "nobody" },
      rcode: RCODE.nxDomain,
      label: "the name of no proxy address",
    };
  }
  const [key, named] = draw.of(assigned);
  const address = Uint8Array.from((key.split(" ")[1] ?? "").split("."), Number);
  return {
    ...toAsk(sentinel, { domain: reverseOf(address), type: TYPE.PTR, draw }),
    way: { kind: "nobody" },
    rcode: RCODE.noError,
    records: (message) => {
      const names = recordsIn(message, TYPE.PTR).map((data) => nameIn(data));
      return names.join() === named.domain ? "" : `is ${names} instead of ${named.domain}`;
    },
    label: "the name of a proxy address",
  };
}

/** Proxy addresses, of which nobody else is told (DN §7 rows 5 and 6). */
function ofAddresses(
  c: Case,
  client: string,
  { sentinel, domain, draw }: Drawn & { readonly domain: string },
): Wanted {
  const type = draw.of([TYPE.A, TYPE.AAAA, TYPE.HTTPS]);
  return {
    ...toAsk(sentinel, { domain, type, draw }),
    way: { kind: "nobody" },
    rcode: RCODE.noError,
    ...(type !== TYPE.HTTPS && {
      records: (message: DnsMessage) => {
        noteProxies(c, client, { domain, family: type === TYPE.A ? 4 : 6 }, recordsIn(message, type));
        return "";
      },
    }),
    label: type === TYPE.HTTPS ? "no hints past the proxies" : "addresses among other questions",
  };
}

function toAsk(
  { sentinel, upstream }: SentinelMapping,
  { domain, type, draw }: { readonly domain: string; readonly type: number; readonly draw: Draw },
): Pick<Wanted, "ask" | "upstream"> {
  return { ask: { to: sentinel, domain, type, transport: draw.of(TRANSPORTS) }, upstream };
}

/** What a server has of a type; too much of it is said to be so, and is asked for again over TCP (DN-12, DN-64). */
function recordsOf({ type, transport }: Ask): Pick<Wanted, "records" | "isTruncated"> {
  const data = SITE_RECORDS[type] ?? new Uint8Array(0);
  if (transport === "udp" && data.length > UDP_RECORD_MAX) return { isTruncated: true };
  return {
    records(message) {
      const found = recordsIn(message, type).map((one) => one.join());
      return found.join(" ") === data.join() ? "" : `has ${found.join(" ")} instead of ${data.join()}`;
    },
  };
}

function askAll(
  c: Case,
  client: string,
  all: readonly Wanted[],
  { isPipelined = false, id }: { readonly isPipelined?: boolean; readonly id?: number } = {},
): void {
  const application = c.application(client);
  const since = c.play.world.now();
  const before = { asked: c.sites.asked.length, direct: application.direct.length };
  const asks = all.map(({ ask }) => ({ ...ask, ...(id !== undefined && { id }) }));
  const answers = application.askAll(asks, { withinMs: answerMs(c), isPipelined });
  const heard = [
    ...c.sites.asked.slice(before.asked).map((one) => ({ ...one, way: "tunnel" as const })),
    ...application.direct.slice(before.direct).map((one) => ({
      ...{ domain: one.domain, type: one.type, way: "direct" as const, gateway: "" },
      ...{ to: textOf(one.upstream), transport: one.transport },
    })),
  ].filter(({ domain }) => !domain.endsWith(LOOP_PROBES));
  for (const one of heard) {
    const mayHear =
      mayLinger(c, one, since) || all.some((wanted) => isOf(wanted, one) && isOnWay(wanted, one));
    if (!mayHear) violation(`${client}: ${one.domain}, type ${one.type}, was asked of ${wordsOf(one)}`);
  }
  all.forEach((wanted, i) => {
    const heardOf = heard.filter((one) => isOf(wanted, one));
    judge(c, client, { wanted, answers: answers[i] ?? [], heard: heardOf });
  });
}

/** What a server behind a gateway hears late may be a question of any client. */
function mayLinger(c: Case, heard: Heard, since: Instant): boolean {
  return c.setup.clients.some(({ name }) => c.application(name).mayLinger(heard, since));
}

/** Of the resolver's own accord (DN-26). */
const LOOP_PROBES = ".postern-loop.test";

interface Heard {
  readonly way: "tunnel" | "direct";
  readonly gateway: string;
  readonly to: string;
  readonly domain: string;
  readonly type: number;
  readonly transport: "udp" | "tcp" | "doh";
}

function isOf({ ask }: Wanted, { domain, type }: Heard): boolean {
  return ask.domain === domain && ask.type === type;
}

/** The transport is the asker's (DN-65, DN-66, DN-86). */
function isOnWay({ ask, way, upstream }: Wanted, heard: Heard): boolean {
  if (way.kind !== heard.way) return false;
  const transport = upstream.kind === "doh" && way.kind === "direct" ? "doh" : ask.transport;
  if (heard.transport !== transport) return false;
  if (way.kind === "tunnel") return heard.to === way.to && way.gateways.includes(heard.gateway);
  return heard.to === textOf(upstream);
}

function wordsOf({ to, gateway, way, transport }: Heard): string {
  return `${to} ${way === "direct" ? "directly" : `behind ${gateway}`} by ${transport}`;
}

function judge(
  c: Case,
  client: string,
  {
    wanted,
    answers,
    heard,
  }: { readonly wanted: Wanted; readonly answers: readonly DnsMessage[]; readonly heard: readonly Heard[] },
): void {
  const { ask, upstream, way, rcode, records, label } = wanted;
  const at = `${formatIp(ask.to)}, which is ${textOf(upstream)}`;
  const what = `${client}: ${ask.domain}, type ${ask.type}, by ${ask.transport} at ${at}`;
  const [answer, ...others] = answers;
  if (others.length > 0) violation(`${what}: ${answers.length} answers`);
  const its = heard.filter((one) => isOnWay(wanted, one));
  const isAsked = way.kind === "direct" ? its.length === 1 : its.length > 0;
  if (isAsked !== (way.kind !== "nobody")) {
    const told = heard.map(wordsOf).join(", ") || "nobody";
    violation(`${what}: expected ${way.kind}, but asked was ${told}`);
  }
  if (answer?.header.rcode !== rcode) violation(`${what}: code ${answer?.header.rcode} instead of ${rcode}`);
  const { isTruncated } = answer.header;
  if (isTruncated !== (wanted.isTruncated ?? false)) violation(`${what}: truncated: ${isTruncated}`);
  if (isTruncated) c.labels.add("a truncated answer");
  if (records === undefined && answer.answers.length > 0) violation(`${what}: records that nobody has`);
  const wrong = records?.(answer) ?? "";
  if (wrong !== "") violation(`${what}: ${wrong}`);
  c.labels.add(label);
  c.labels.add(`asked by ${ask.transport}${way.kind === "tunnel" ? " through the tunnel" : ""}`);
}

interface FoundWay {
  readonly way: Way;
  readonly label: string;
  /** Who is asked knows of every name. */
  readonly isFound?: boolean;
  readonly fails?: boolean;
}

function wayTo(c: Case, client: string, { ask, upstream }: Pick<Wanted, "ask" | "upstream">): FoundWay {
  const nobody = { way: { kind: "nobody" }, fails: true } as const;
  if (upstream.kind === "none") return { ...nobody, label: "nobody to ask" };
  if (upstream.kind === "doh") return { way: { kind: "direct" }, label: "asked over HTTPS" };
  const direct = { way: { kind: "direct" }, label: "asked directly" } as const;
  if (c.reference.dns.servers.length === 0) return direct;
  const to = textOf(upstream);
  // Filters may let one transport through, and the other not.
  const flow = { protocol: ask.transport, destination: ip(to), port: 53 };
  const expectation = expect(c.reference, client, flow);
  if (expectation.kind === "prohibited") return { ...nobody, label: "a server that filters keep away" };
  if (expectation.kind !== "served") return direct;
  const gateways = gatewaysOf(
    c,
    expectation.resources.map(({ site }) => site),
  );
  return { way: { kind: "tunnel", to, gateways }, label: "asked through the tunnel", isFound: true };
}

function nameIn(data: Uint8Array): string {
  const labels: string[] = [];
  for (let at = 0; (data[at] ?? 0) > 0; at += 1 + (data[at] ?? 0)) {
    labels.push(String.fromCharCode(...data.subarray(at + 1, at + 1 + (data[at] ?? 0))));
  }
  return labels.join(".");
}

/** `4.3.2.1.in-addr.arpa` (RFC 1035 §3.5, RFC 3596 §2.5). */
function reverseOf(address: Uint8Array): string {
  if (address.length === 4) return `${[...address].reverse().join(".")}.in-addr.arpa`;
  const digits = [...address].flatMap((octet) => [octet >> 4, octet & 15].map((digit) => digit.toString(16)));
  return `${digits.reverse().join(".")}.ip6.arpa`;
}
