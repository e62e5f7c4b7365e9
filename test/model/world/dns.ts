/** Steps about servers: whom the host's programs ask, by which way, and what sites say of their names (TN-98). */
import { formatIp, ip } from "../../../src/base/index.ts";
import { RCODE, type SentinelMapping, TYPE } from "../../../src/dns/index.ts";
import { reload } from "./administration.ts";
import { answerMs, type Case, gatewaysOf, violation } from "./case.ts";
import type { Draw } from "./draw.ts";
import { whole } from "./outages.ts";
import { expect, type Reference, resourceOfName } from "./reference.ts";
import { DOMAINS } from "./setup.ts";
import { SITE_RECORDS } from "./sites.ts";
import { tellResolver } from "./stage.ts";
import { settle, type Transition } from "./transition.ts";

/** Some within networks that can be listed, some on the internet, one nowhere; none that answers with errors. */
const SERVERS = ["172.20.1.53", "10.9.0.53", "192.0.2.53", "9.9.9.10", "2001:db8:cafe::35", "10.200.0.53"];
const HOST_SERVERS = [["9.9.9.9"], ["9.9.9.9", "192.0.2.53"], ["2620:fe::fe"], []];
/** Empty: none. */
const SEARCH_DOMAINS = ["office.test", "wiki.test", ""];
const DOH_URL = "https://dns.quad9.net/dns-query";
const OWN_TYPES = [TYPE.TXT, TYPE.MX, TYPE.SRV, TYPE.NAPTR];

export const DNS: readonly Transition[] = [
  {
    name: "change a host's name servers",
    weight: 1,
    candidates: ({ setup }) => setup.clients.map(({ name }) => name),
    run(c, client, draw) {
      c.reference.hostServers.set(client, draw.of(HOST_SERVERS));
      tellResolver(c, client);
      settle(c);
    },
  },
  {
    name: "change the portal's name servers",
    weight: 3,
    candidates: () => [""],
    run(c, _, draw) {
      c.reference.dns.servers = draw.oneIn(4) ? [] : draw.some(SERVERS, draw.of([1, 2, 4]));
      reload(c);
    },
  },
  {
    name: "turn DNS over HTTPS",
    weight: 1,
    candidates: () => [""],
    run(c) {
      c.reference.dns.isDoh = !c.reference.dns.isDoh;
      reload(c);
    },
  },
  {
    name: "change the search domain",
    weight: 1,
    candidates: () => [""],
    run(c, _, draw) {
      c.reference.dns.searchDomain = draw.of(SEARCH_DOMAINS) || undefined;
      reload(c);
    },
  },
  {
    name: "ask for a name's own records",
    weight: 4,
    candidates: quiet((c, client) =>
      DOMAINS.filter((domain) => resourceOfName(c.reference, client, domain) !== undefined),
    ),
    run(c, about, draw) {
      const [client = "", domain = ""] = about.split(" ");
      askSite(c, client, domain, draw.of(OWN_TYPES));
    },
  },
  {
    name: "ask a name server",
    weight: 5,
    candidates: quiet((c, client) =>
      c.application(client).dns.mapping.map(({ sentinel }) => formatIp(sentinel)),
    ),
    run(c, about, draw) {
      const [client = "", sentinel = ""] = about.split(" ");
      const entry = c.application(client).dns.mapping.find((one) => formatIp(one.sentinel) === sentinel);
      if (entry !== undefined) askServer(c, client, entry, draw);
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

/** Whom the client's resolver may ask, in no particular order (DN-17, DN-19, DN-21). */
function upstreamsOf({ dns, hostServers }: Reference, client: string): readonly string[] {
  if (dns.servers.length > 0) return dns.servers;
  if (dns.isDoh) return [DOH_URL];
  const ofHost = hostServers.get(client) ?? [];
  return ofHost.length > 0 ? ofHost : ["none"];
}

/** @returns what is wrong with what the host knows of name servers; empty if nothing is (DN-24) */
export function wrongDns(c: Case, client: string): string {
  const { mapping, searchDomain } = c.application(client).dns;
  const expected = [...upstreamsOf(c.reference, client)].sort();
  const known = mapping.map(({ upstream }) => textOf(upstream)).sort();
  if (known.join() !== expected.join()) return `asks ${known.join(" ")} instead of ${expected.join(" ")}`;
  const { searchDomain: wanted } = c.reference.dns;
  return searchDomain === wanted ? "" : `searches in ${searchDomain} instead of ${wanted}`;
}

function textOf(upstream: SentinelMapping["upstream"]): string {
  if (upstream.kind === "doh") return upstream.url;
  return upstream.kind === "none" ? "none" : formatIp(upstream.server.address);
}

/** Records that only the site has are asked there, and nowhere else (DN-66, DN-84 to DN-86). */
function askSite(c: Case, client: string, domain: string, type: number): void {
  const resource = resourceOfName(c.reference, client, domain);
  const sentinel = c.application(client).dns.mapping[0]?.sentinel;
  if (resource === undefined || sentinel === undefined) return;
  const before = { asked: c.sites.asked.length, direct: c.application(client).direct.length };
  const answer = c.application(client).query(sentinel, domain, type, answerMs(c));
  const what = `${client}: ${domain}, type ${type}`;
  const gateways = gatewaysOf(c, [resource.site]);
  const asked = c.sites.asked.slice(before.asked).filter((one) => one.domain === domain);
  const wrong = asked.find((one) => one.to !== "site" || !gateways.includes(one.gateway));
  if (wrong !== undefined) violation(`${what}: asked of ${wrong.to} behind ${wrong.gateway}`);
  const outside = c.application(client).direct.slice(before.direct);
  if (outside.some((one) => one.domain === domain)) violation(`${what}: asked outside of the tunnel`);
  const fails = c.reference.failing.has(domain);
  const rcode = fails ? RCODE.servFail : SITE_RECORDS[type] === undefined ? RCODE.nxDomain : RCODE.noError;
  if (answer?.header.rcode !== rcode) violation(`${what}: code ${answer?.header.rcode} instead of ${rcode}`);
  if (asked.length === 0) violation(`${what}: answered, but no site was asked`);
  c.labels.add(rcode === RCODE.noError ? "a name's own records" : "own records that a site has not");
}

/** A name that is nobody's goes to the server behind the sentinel, by the way that the resources say (DN-67). */
function askServer(c: Case, client: string, { sentinel, upstream }: SentinelMapping, draw: Draw): void {
  const application = c.application(client);
  const domain = `q${++c.probes}.nowhere.test`;
  const type = draw.of([TYPE.TXT, TYPE.A]);
  const before = { asked: c.sites.asked.length, direct: application.direct.length };
  const answer = application.query(sentinel, domain, type, answerMs(c));
  const asked = c.sites.asked.slice(before.asked).filter((one) => one.domain === domain);
  const direct = application.direct.slice(before.direct).filter((one) => one.domain === domain);
  const way = wayTo(c, client, upstream);
  const told = [
    ...asked.map(({ gateway, to }) => `${to} behind ${gateway}`),
    ...direct.map((one) => `${textOf(one.upstream)} directly`),
  ];
  const isRight =
    way.kind === "tunnel"
      ? direct.length === 0 &&
        asked.length > 0 &&
        asked.every(({ to, gateway }) => to === textOf(upstream) && way.gateways.includes(gateway))
      : asked.length === 0 &&
        direct.length === (way.kind === "direct" ? 1 : 0) &&
        direct.every((one) => textOf(one.upstream) === textOf(upstream));
  const what = `${client}: ${domain} at ${formatIp(sentinel)}, which is ${textOf(upstream)}`;
  if (!isRight) violation(`${what}: expected ${way.kind}, but asked was ${told.join(", ") || "nobody"}`);
  const isFound = way.kind === "tunnel" && type === TYPE.TXT;
  const rcode = way.kind === "failed" ? RCODE.servFail : isFound ? RCODE.noError : RCODE.nxDomain;
  if (answer?.header.rcode !== rcode) violation(`${what}: code ${answer?.header.rcode} instead of ${rcode}`);
  c.labels.add(way.label);
}

type Way =
  | { readonly kind: "direct" | "failed"; readonly label: string }
  | { readonly kind: "tunnel"; readonly label: string; readonly gateways: readonly string[] };

function wayTo(c: Case, client: string, upstream: SentinelMapping["upstream"]): Way {
  if (upstream.kind === "none") return { kind: "failed", label: "nobody to ask" };
  if (upstream.kind === "doh") return { kind: "direct", label: "asked over HTTPS" };
  const direct = { kind: "direct", label: "asked directly" } as const;
  if (c.reference.dns.servers.length === 0) return direct;
  const destination = ip(textOf(upstream));
  const expectation = expect(c.reference, client, { protocol: "udp", destination, port: 53 });
  if (expectation.kind === "prohibited") return { kind: "failed", label: "a server that filters keep away" };
  if (expectation.kind !== "served") return direct;
  const sites = expectation.resources.map(({ site }) => site);
  return { kind: "tunnel", label: "asked through the tunnel", gateways: gatewaysOf(c, sites) };
}
