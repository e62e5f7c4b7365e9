/**
 * The packet plane under hostile input, in process (TS-38; targets `wireguard-data` and `tso-gro` of TS-42):
 * every input is judged by models made from the specification, and plane and models must agree about each
 * packet, each counter and each entry of the rings.
 *
 * POSTERN_FUZZ_SEED and POSTERN_FUZZ_ROUNDS choose other storms; `npm run test:long -- fuzz` runs many.
 */
import { describe, expect, it } from "vitest";
import { REASONS, type Reason } from "../../bindings/memory/index.ts";
import type { PlaneMode } from "../../bindings/plane/index.ts";
import { type Chance, createChance, fuzz, fuzzOptions } from "./chance.ts";
import { runStorm } from "./storm.ts";

const INPUTS = 1600;
const OPTIONS = fuzzOptions({ seed: 100, rounds: 6 });
/** Some reasons come up in every tenth storm only: so many storms more, as long as one is missing. */
const MORE_ROUNDS = 18;
const WIDE_OPTIONS = fuzzOptions({ seed: 200, rounds: 2 });

/** Reasons that a mode cannot have, or that the storm's set-up excludes: everything else must occur. */
const BEYOND_REACH: Record<PlaneMode, readonly Reason[]> = {
  plain: [
    // Rows of TN-3 that a plain peer lifts.
    "ip-fragment",
    "ip-source-route",
    // It judges by address alone.
    ...(["icmp-quote", "icmp-type", "icmp-error-out", "multicast", "p2p-on-tun"] as const),
    ...(["bad-source", "to-self", "bad-destination", "not-allowed-source", "not-client-ip"] as const),
    ...(["not-a-peer", "not-allowed", "not-granted", "unknown-resource", "unknown-peer"] as const),
    // Its refusals have reasons of their own, and it takes whatever UDP can carry.
    "refuse-rate",
    "udp_too_long",
    // Its paths have no limit, and no flow is decided about.
    ...(["path-too-big", "expired-nat", "fragment-unknown"] as const),
  ],
  client: [
    ...(["wg_no_route", "wg_no_endpoint", "wg_disallowed_source"] as const),
    ...(["not-a-peer", "not-client-ip", "not-granted"] as const),
  ],
  gateway: [
    ...(["wg_no_route", "wg_no_endpoint", "wg_disallowed_source"] as const),
    ...(["bad-source", "to-self", "bad-destination", "not-allowed-source", "unknown-resource"] as const),
  ],
};

/** Of the relay's entry, which `relay.test.ts` storms. */
const OF_RELAY: readonly Reason[] = [
  ...(["relay_unknown", "relay_malformed", "relay_channel_length", "relay_no_channel"] as const),
  ...(["relay_no_binding", "relay_too_long", "relay_punt_full"] as const),
];

/**
 * Always: there is a policy, and rings and budgets are larger than what the storm may hand over between two drains.
 * What the guard refuses once there is a key, `test/unit/plane/guard.test.ts` compares.
 */
const NEVER: readonly Reason[] = [
  ...(["not-configured", "punt-full", "punt-control-full"] as const),
  ...(["flow-rate", "icmp-rate"] as const),
  ...(["wg_bad_mac1", "wg_cookie_asked", "wg_under_load", "wg_source_rate"] as const),
];

/** Seldom: the first fragment must meet a record that refuses it. `test/unit/plane/fragment.test.ts` has it. */
const SELDOM: readonly Reason[] = ["fragment-unknown"];

/** Storms that once found a defect; none is forgotten. */
const REGRESSIONS: readonly { readonly name: string; readonly mode: PlaneMode; readonly seed: number }[] = [];

describe("a storm of hostile input", () => {
  it.each(["plain", "client", "gateway"] as const)(
    "WG-70, TN-1, D-8: changes counters only, each for the right reason (%s)",
    { timeout: 120_000 },
    (mode) => {
      const seen = new Set<string>();
      let passed = 0;
      const storm = (chance: Chance): void => {
        const report = runStorm(chance, mode, INPUTS);
        passed += report.passed;
        for (const reason of report.drops.keys()) seen.add(reason);
      };
      const expected = Object.entries(REASONS)
        .filter(([, { stage }]) => stage === "path")
        .map(([name]) => name)
        .filter(
          (name) =>
            ![...BEYOND_REACH[mode], ...NEVER, ...OF_RELAY, ...SELDOM].some((reason) => reason === name),
        );
      const missing = () => expected.filter((name) => !seen.has(name));
      fuzz(OPTIONS, storm);
      fuzz({ ...OPTIONS, seed: OPTIONS.seed + OPTIONS.rounds, rounds: MORE_ROUNDS }, (chance) => {
        if (missing().length > 0) storm(chance);
      });
      expect(passed).toBeGreaterThan(1000);
      expect(missing()).toEqual([]);
      expect(BEYOND_REACH[mode].filter((name) => seen.has(name))).toEqual([]);
    },
  );

  it.each(["plain", "client", "gateway"] as const)(
    "PF-65, PF-81: the same where keys and blocks are made in advance (%s)",
    { timeout: 120_000 },
    (mode) => {
      fuzz(WIDE_OPTIONS, (chance) => {
        expect(runStorm(chance, mode, INPUTS, "wide").passed).toBeGreaterThan(100);
      });
    },
  );

  it.each(REGRESSIONS)("stays mended: $name", ({ mode, seed }) => {
    runStorm(createChance(seed), mode, INPUTS);
  });
});
