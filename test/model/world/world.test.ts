/**
 * The model test (TN-94 to TN-103): what the tunnel's machines do in a world that changes under them is what the
 * reference says. By the hour: `npm run test:world -- --hours 1`.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PLANE_KINDS } from "../../twin/driven-plane.ts";
import { keptCases } from "./corpus.ts";
import { EVERYDAY_SEEDS, missingLabels } from "./labels.ts";
import { type Outcome, runSeed, runSteps, TRANSITIONS } from "./run-case.ts";

const CORPUS = join("test", "model", "world", "corpus");
const labels = new Set<string>();

function expectNoViolation({ seed, failure, lines, trace }: Outcome): void {
  if (failure === undefined) return;
  expect.unreachable(`seed ${seed}: ${failure}\n${lines.join("\n")}\n${trace}`);
}

describe("the tunnel in a world that changes", () => {
  it.each(keptCases(CORPUS))("TS-19: a case that failed once ($name)", { timeout: 60_000 }, (kept) => {
    expectNoViolation(runSteps(kept.seed, kept.steps));
  });

  it.each(EVERYDAY_SEEDS)(
    "TN-94, TN-100, TN-101, TN-102: does what the reference says (seed %i)",
    { timeout: 60_000 },
    (seed) => {
      const outcome = runSeed(seed);
      for (const label of outcome.labels) labels.add(label);
      expectNoViolation(outcome);
    },
  );

  it("TS-18: all kinds of steps and outcomes occur, and it would be noticed if one did not", () => {
    expect(missingLabels(labels)).toEqual([]);
    for (const { name } of TRANSITIONS) {
      const without = new Set([...labels].filter((label) => label !== `step: ${name}`));
      expect(missingLabels(without)).toEqual([`step: ${name}`]);
    }
  });

  it.each(EVERYDAY_SEEDS.slice(-3))(
    "TN-103: the twin of the plane and the WebAssembly send the same bytes (seed %i)",
    { timeout: 60_000 },
    (seed) => {
      const [twin, module] = PLANE_KINDS.map((planeKind) => runSeed(seed, { fault: { planeKind } }));
      expect(module?.failure).toBeUndefined();
      expect(module?.lines).toEqual(twin?.lines);
      expect(module?.traceHash).toBe(twin?.traceHash);
    },
  );

  it("TS-7, TN-94: the same seed, the same world, steps and bytes", { timeout: 60_000 }, () => {
    const hashes = (): readonly string[] =>
      EVERYDAY_SEEDS.slice(0, 2).map((seed) => {
        const { traceHash, lines } = runSeed(seed);
        return `${traceHash} ${lines.join("; ")}`;
      });
    expect(hashes()).toEqual(hashes());
  });
});
