/**
 * The path that is found between two cones, with the real programs and a relay (TS-30); `relayed.test.ts` has those of
 * symmetric NATs.
 */
import { it } from "vitest";
import { describeWith } from "../lib/requirements.ts";
import { findPath, type PathScenario, SCENARIO_MS_MAX } from "../lib/scenario.ts";

/** Otherwise both ends would have public IPv6 addresses and need no NAT to be overcome. */
const families = { client: "ipv4", gateway: "ipv4" } as const;

const SCENARIOS: readonly PathScenario[] = [
  {
    name: "2: both behind port-restricted cones: direct",
    nats: { client: { kind: "port-restricted" }, gateway: { kind: "port-restricted" }, families },
    path: "direct",
    causes: ["direct"],
  },
  {
    name: "3: both behind full cones: direct",
    nats: { client: { kind: "full-cone" }, gateway: { kind: "full-cone" }, families },
    path: "direct",
    causes: ["direct"],
  },
  {
    name: "3: both behind address-restricted cones: direct",
    nats: { client: { kind: "address-restricted" }, gateway: { kind: "address-restricted" }, families },
    path: "direct",
    causes: ["direct"],
  },
  {
    name: "3: ports not kept on either side: direct",
    nats: { client: { kind: "port-not-kept" }, gateway: { kind: "port-not-kept" }, families },
    path: "direct",
    causes: ["direct"],
  },
];

describeWith(["root", "netns", "tun", "nft", "ipv6", "build"], "paths between NATs", () => {
  for (const scenario of SCENARIOS) {
    it(`TS-30.${scenario.name}`, { timeout: SCENARIO_MS_MAX }, () => findPath(scenario));
  }
});
