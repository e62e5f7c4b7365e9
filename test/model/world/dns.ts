/** Steps about servers: whom the host's programs ask, as hosts and the portal say (TN-98). */
import { formatIp } from "../../../src/base/index.ts";
import type { SentinelMapping } from "../../../src/dns/index.ts";
import { reload } from "./administration.ts";
import type { Case } from "./case.ts";
import type { Reference } from "./reference.ts";
import { drawNameServers } from "./setup.ts";
import { tellResolver } from "./stage.ts";
import { settle, type Transition } from "./transition.ts";

const HOST_SERVERS = [["9.9.9.9"], ["9.9.9.9", "192.0.2.53"], ["2620:fe::fe"], []];
/** Empty: none. */
const SEARCH_DOMAINS = ["office.test", "wiki.test", ""];
const DOH_URL = "https://dns.quad9.net/dns-query";

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
      c.reference.dns.servers = drawNameServers(draw);
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
];

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

export function textOf(upstream: SentinelMapping["upstream"]): string {
  if (upstream.kind === "doh") return upstream.url;
  return upstream.kind === "none" ? "none" : formatIp(upstream.server.address);
}
