import { describe, expect, test } from "vitest";
import {
  candidateFor,
  candidatesFor,
  type RuntimeFacts,
  readRuntimeFacts,
} from "../../../../bindings/cipher/candidates.ts";

const NODE_24: RuntimeFacts = {
  runtime: "node",
  nodeMajor: 24,
  arch: "x64",
  hasAvx2: true,
  hasRelaxedSimd: true,
};
const NODE_20: RuntimeFacts = { ...NODE_24, nodeMajor: 20, hasRelaxedSimd: false };

const names = (facts: RuntimeFacts) => candidatesFor(facts).candidates.map(({ name }) => name);
const flags = (facts: RuntimeFacts) =>
  candidatesFor(facts).candidates.map((candidate) => candidate.flags.map(({ set }) => set));

describe("D-26: candidates of a runtime", () => {
  test.each([
    ["Node 20", NODE_20, ["turbofan"]],
    ["Node 22", { ...NODE_24, nodeMajor: 22 }, ["turboshaft"]],
    ["Node 24", NODE_24, ["wide", "turboshaft"]],
    ["Node 26", { ...NODE_24, nodeMajor: 26 }, ["wide", "turboshaft"]],
    ["Node 24 without AVX2", { ...NODE_24, hasAvx2: false }, ["turboshaft"]],
    ["Node 24 on arm64", { ...NODE_24, arch: "arm64", hasAvx2: false }, ["turboshaft"]],
    ["Deno", { ...NODE_24, runtime: "deno" }, ["turboshaft"]],
    ["Bun", { ...NODE_24, runtime: "bun" }, ["jsc"]],
  ] as const)("PF-52: %s tries %s", (_, facts, expected) => {
    expect(names(facts)).toEqual(expected);
  });

  test("PF-52: only Node 20 schedules instructions", () => {
    expect(flags(NODE_20)[0]).toContain("--turbo-instruction-scheduling");
    expect(candidateFor("turbofan", NODE_24).flags.map(({ set }) => set)).not.toContain(
      "--turbo-instruction-scheduling",
    );
  });

  test("PF-67: the wide variant is compiled with the revectoriser, the other without", () => {
    expect(flags(NODE_24)[0]).toContain("--experimental-wasm-revectorize");
    expect(flags(NODE_24)[1]).not.toContain("--experimental-wasm-revectorize");
  });

  test("PF-70: baseline compilation is switched off on Node 20 and 24, never on 22 or 26", () => {
    for (const [nodeMajor, isOff] of [
      [20, true],
      [22, false],
      [24, true],
      [26, false],
    ] as const) {
      const candidate = candidateFor("turboshaft", { ...NODE_24, nodeMajor });
      expect(candidate.flags.some(({ set }) => set === "--no-liftoff")).toBe(isOff);
      expect(candidate.tierUp).toBe(isOff ? "at-once" : "by-use");
    }
  });

  test("PF-70: every flag that is set can be taken back", () => {
    for (const facts of [NODE_20, NODE_24]) {
      for (const { set, reset } of candidatesFor(facts).candidates.flatMap((candidate) => candidate.flags)) {
        expect(reset).toBe(set.startsWith("--no-") ? `--${set.slice(5)}` : `--no-${set.slice(2)}`);
      }
    }
  });

  test("the reserve holds a variant that needs neither a flag nor relaxed SIMD", () => {
    for (const facts of [NODE_20, NODE_24, { ...NODE_24, runtime: "bun" } as const]) {
      const { candidates, reserve } = candidatesFor(facts);
      expect(reserve.some(({ name }) => name === "jsc" || name === "turbofan")).toBe(true);
      for (const { name } of reserve)
        expect(candidates.map((candidate) => candidate.name)).not.toContain(name);
    }
  });

  test("the facts of this runtime are those of a Node", () => {
    const facts = readRuntimeFacts();
    expect(facts.runtime).toBe("node");
    expect(facts.nodeMajor).toBe(Number(process.versions.node.split(".")[0]));
    expect(facts.hasRelaxedSimd).toBe(facts.nodeMajor >= 22);
  });
});
