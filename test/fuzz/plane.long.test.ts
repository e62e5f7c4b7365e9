/**
 * Storms without end, for the night: `npm run test:long -- fuzz`. Each run begins elsewhere unless
 * POSTERN_FUZZ_SEED says where; POSTERN_FUZZ_ROUNDS is the number of storms per mode.
 */
import { randomInt } from "node:crypto";
import { expect, it } from "vitest";
import { fuzz, fuzzOptions } from "./chance.ts";
import { runStorm } from "./storm.ts";

const INPUTS = 5000;
const OPTIONS = fuzzOptions({ seed: randomInt(2 ** 31), rounds: 200 });

it.each(["plain", "client", "gateway"] as const)("TS-43: storms for the night (%s)", (mode) => {
  let storms = 0;
  fuzz(OPTIONS, (chance) => {
    runStorm(chance, mode, INPUTS);
    storms++;
  });
  expect(storms).toBe(OPTIONS.rounds);
});
