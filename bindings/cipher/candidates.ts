/**
 * Which variants of the AEAD a JavaScript runtime should try, and the V8 flags each needs (D-26, PF-52).
 *
 * A pure table over a snapshot of the runtime, so that every row is tested on one machine.
 */
import { readFileSync } from "node:fs";
import { currentRuntime, type Runtime } from "../runtime/index.ts";

/** The variants that a person may ask for (D-26). */
export const CIPHER_NAMES = ["turbofan", "turboshaft", "wide", "jsc"] as const;

export type CipherName = (typeof CIPHER_NAMES)[number];

export interface RuntimeFacts {
  readonly runtime: Runtime;
  /** Major version of Node, or of the Node that the runtime imitates. */
  readonly nodeMajor: number;
  readonly arch: string;
  readonly hasAvx2: boolean;
  readonly hasRelaxedSimd: boolean;
}

export interface Candidate {
  readonly name: CipherName;
  /** V8 flags while the variant is compiled, which is when it is first called; each with the one that takes it back. */
  readonly flags: readonly V8Flag[];
  /**
   * `at-once`: the first call has the final code. `by-use`: V8 begins with its baseline compiler, and the
   * variant must be run until the optimising one has replaced it.
   */
  readonly tierUp: "at-once" | "by-use";
}

export interface V8Flag {
  readonly set: string;
  readonly reset: string;
}

export interface CandidateTable {
  /** Set up, tested and timed, all of them. */
  readonly candidates: readonly Candidate[];
  /** Tried one after the other if no candidate passes. */
  readonly reserve: readonly Candidate[];
}

const SCHEDULING: V8Flag = {
  set: "--turbo-instruction-scheduling",
  reset: "--no-turbo-instruction-scheduling",
};
const REVECTORIZE: V8Flag = {
  set: "--experimental-wasm-revectorize",
  reset: "--no-experimental-wasm-revectorize",
};
/**
 * A function that is called for the first time is compiled by the optimising compiler at once. On Node 26
 * this crashes the process (PF-70).
 */
const OPTIMIZED: V8Flag = { set: "--no-liftoff", reset: "--liftoff" };

/** A module with one `i8x16.relaxed_swizzle`: it validates where relaxed SIMD is known. */
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 0, 253, 15, 65, 0,
  253, 15, 253, 128, 2, 11,
]);

/** What to try on the runtime, the likely best first. */
export function candidatesFor(facts: RuntimeFacts): CandidateTable {
  const plain = (name: CipherName): Candidate => candidateFor(name, facts);
  if (facts.runtime === "bun") return { candidates: [plain("jsc")], reserve: [plain("turbofan")] };
  if (!facts.hasRelaxedSimd) return { candidates: [plain("turbofan")], reserve: [plain("jsc")] };
  const isWide = facts.runtime === "node" && facts.nodeMajor >= 24 && facts.arch === "x64" && facts.hasAvx2;
  return {
    candidates: isWide ? [plain("wide"), plain("turboshaft")] : [plain("turboshaft")],
    reserve: [plain("turbofan"), plain("jsc")],
  };
}

/** One variant with the flags that help it on the runtime, whether or not the runtime would choose it. */
export function candidateFor(name: CipherName, facts: RuntimeFacts): Candidate {
  if (facts.runtime !== "node") return { name, flags: [], tierUp: "by-use" };
  // Known to work on exactly these two; elsewhere baseline code and use are safe.
  const isAtOnce = facts.nodeMajor === 20 || facts.nodeMajor === 24;
  const flags: V8Flag[] = isAtOnce ? [OPTIMIZED] : [];
  // Of the variants only turbofan gains; in newer V8 the flag costs 10 to 20 % (PF-47).
  if (name === "turbofan" && facts.nodeMajor === 20) flags.push(SCHEDULING);
  if (name === "wide" && facts.nodeMajor >= 24) flags.push(REVECTORIZE);
  return { name, flags, tierUp: isAtOnce ? "at-once" : "by-use" };
}

/** Reads the facts of the runtime that executes this. */
export function readRuntimeFacts(): RuntimeFacts {
  const { versions, arch } = process;
  return {
    runtime: currentRuntime(),
    nodeMajor: Number.parseInt(versions.node, 10),
    arch,
    hasAvx2: arch === "x64" && hasCpuFlag("avx2"),
    hasRelaxedSimd: WebAssembly.validate(RELAXED_PROBE),
  };
}

function hasCpuFlag(flag: string): boolean {
  try {
    const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "latin1"));
    return line?.[1]?.split(" ").includes(flag) ?? false;
  } catch {
    // Without /proc nothing is known of the processor: the 128-bit variants run everywhere.
    return false;
  }
}
