/** Ends in one network, and ends of which one lacks an address family (TS-30, 8 to 10). */
import { expect, it } from "vitest";
import type { Office } from "../lib/office.ts";
import { describeWith } from "../lib/requirements.ts";
import { findPath, type PathScenario, SCENARIO_MS_MAX } from "../lib/scenario.ts";

const ONLY_IPV4 = { client: "ipv4", gateway: "ipv4" } as const;

const SCENARIOS: readonly PathScenario[] = [
  {
    name: "8: in one LAN: direct by the addresses of the hosts",
    nats: { client: { kind: "port-restricted" }, gateway: "same LAN", families: ONLY_IPV4 },
    path: "direct",
    causes: ["direct"],
    expectPair: (pair) => {
      expect(pair?.local).toBe("host 172.30.0.100:52625");
      expect(pair?.remote).toContain("172.30.0.101:52625");
    },
  },
  {
    name: "8: in one LAN whose hosts are kept apart, hairpin on: direct by the router's outside",
    nats: { client: { kind: "hairpin" }, gateway: "same LAN", families: ONLY_IPV4 },
    path: "direct",
    causes: ["direct"],
    prepare: keepApart,
    expectPair: (pair) => expect(pair?.remote).toContain("203.0.113.30:"),
  },
  {
    name: "9: a gateway whose only way out is IPv6: direct",
    nats: {
      client: { kind: "symmetric" },
      gateway: { kind: "symmetric" },
      families: { client: "both", gateway: "ipv6" },
    },
    path: "direct",
    causes: ["direct"],
    expectPair: (pair) => expect(pair?.remote).toContain("[2001:db8:113:31::100]:52625"),
  },
  {
    name: "10: a client without IPv4 and a gateway without IPv6: relayed across families",
    nats: {
      client: { kind: "port-restricted" },
      gateway: { kind: "port-restricted" },
      families: { client: "ipv6", gateway: "ipv4" },
    },
    path: "relayed",
    causes: ["relayed-no-pair"],
  },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "paths of one family", () => {
  for (const scenario of SCENARIOS) {
    it(`TS-30.${scenario.name}`, { timeout: SCENARIO_MS_MAX }, () => findPath(scenario));
  }
});

/** As a guest network does. */
async function keepApart({ router }: Office): Promise<void> {
  for (const port of ["lan100", "lan101"]) await router.ip(`link set ${port} type bridge_slave isolated on`);
}
