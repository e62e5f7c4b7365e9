/**
 * The choice of the AEAD's variant at start (D-26).
 *
 * The runtime's candidates are compiled with their V8 flags, tested, and timed for some milliseconds; the
 * fastest that passes is used. One that fails is never used, and the caller says so once at WARN.
 *
 * V8 compiles a function of WebAssembly when it is first called. So the flags, which hold for the process,
 * touch just what the test runs, and are taken back when it is done: everything else of the plane, and all
 * JavaScript, is compiled without experiments (PF-70, PF-71). Call this before there are other threads.
 */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { PosternError } from "../src/base/index.ts";
import {
  type Candidate,
  candidateFor,
  candidatesFor,
  KERNEL_NAMES,
  type KernelName,
  type RuntimeFacts,
  readRuntimeFacts,
} from "./kernel-candidates.ts";
import {
  createOracle,
  findFault,
  measureSpeed,
  type Oracle,
  openBench,
  type Speed,
  warmUp,
} from "./kernel-check.ts";

export type { KernelName } from "./kernel-candidates.ts";

export interface KernelOptions {
  /** A variant's name (`--kernel`, POSTERN_KERNEL): only this one is tried. */
  readonly kernel?: string | undefined;
  /** The bytes of a variant's module; by default those of the build. */
  readonly readModule?: (name: KernelName) => Uint8Array<ArrayBuffer>;
  /** The runtime's facts; by default those of this one. */
  readonly facts?: RuntimeFacts;
}

export type CandidateReport =
  | ({ readonly name: KernelName; readonly ok: true } & Speed)
  | { readonly name: KernelName; readonly ok: false; readonly reason: string };

export interface KernelChoice {
  readonly name: KernelName;
  /** The whole packet plane with this variant. */
  readonly module: WebAssembly.Module;
  /** All that were tried, for `status`; those with `ok: false` are worth a WARN each. */
  readonly candidates: readonly CandidateReport[];
  readonly setUpMs: number;
}

type Trial = CandidateReport & { readonly module?: WebAssembly.Module };

/**
 * Sets up, tests and times the candidates, and returns the fastest.
 * @throws PosternError `kernel-unknown` if `options.kernel` names none, `kernel-unusable` if none passes
 */
export function chooseKernel(options: KernelOptions = {}): KernelChoice {
  const started = performance.now();
  const facts = options.facts ?? readRuntimeFacts();
  const readModule = options.readModule ?? readBuiltModule;
  const oracle = createOracle();
  const attempt = (candidate: Candidate): Trial => tryCandidate(candidate, readModule, oracle);

  const { candidates, reserve } = wantedCandidates(options.kernel, facts);
  const trials = candidates.map(attempt);
  for (const candidate of reserve) {
    if (trials.some((trial) => trial.ok)) break;
    trials.push(attempt(candidate));
  }
  const best = fastest(trials);
  if (best?.module === undefined) throw unusable(trials);
  return {
    name: best.name,
    module: best.module,
    candidates: trials.map(toReport),
    setUpMs: performance.now() - started,
  };
}

function wantedCandidates(wanted: string | undefined, facts: RuntimeFacts) {
  if (wanted === undefined || wanted === "") return candidatesFor(facts);
  const name = KERNEL_NAMES.find((known) => known === wanted);
  if (name === undefined) {
    throw new PosternError(
      "kernel-unknown",
      `there is no kernel "${wanted}"`,
      `use one of ${KERNEL_NAMES.join(", ")}, or leave the choice to the program`,
    );
  }
  return { candidates: [candidateFor(name, facts)], reserve: [] };
}

function tryCandidate(
  candidate: Candidate,
  readModule: (name: KernelName) => Uint8Array<ArrayBuffer>,
  oracle: Oracle,
): Trial {
  const { name } = candidate;
  for (const flag of candidate.flags) setFlagsFromString(flag.set);
  try {
    const module = new WebAssembly.Module(readModule(name));
    const bench = openBench(module);
    if (candidate.tierUp === "by-use") warmUp(bench);
    const fault = findFault(bench, oracle);
    if (fault !== undefined) return { name, ok: false, reason: fault };
    return { name, ok: true, module, ...measureSpeed(bench) };
  } catch (error) {
    // Does not compile here, traps, or is not in the build: any of them only costs this candidate.
    return { name, ok: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    resetFlags(candidate);
  }
}

/** Leaves V8 as it was. */
function resetFlags(candidate: Candidate): void {
  for (const flag of candidate.flags) setFlagsFromString(flag.reset);
}

/** By the time that sealing a byte and opening a byte take together. */
function fastest(trials: readonly Trial[]): Trial | undefined {
  const cost = (trial: Trial) =>
    trial.ok ? 1 / trial.sealGBps + 1 / trial.openGBps : Number.POSITIVE_INFINITY;
  const passed = trials.filter((trial) => trial.ok);
  return passed.reduce<Trial | undefined>(
    (best, trial) => (best === undefined || cost(trial) < cost(best) ? trial : best),
    undefined,
  );
}

function toReport(trial: Trial): CandidateReport {
  const { module: _, ...report } = trial;
  return report;
}

function unusable(trials: readonly Trial[]): PosternError {
  const reasons = trials.map((trial) => `${trial.name}: ${trial.ok ? "passed" : trial.reason}`);
  return new PosternError(
    "kernel-unusable",
    `no kernel of the packet plane can be used (${reasons.join("; ")})`,
    "build again with `npm run build`; if that does not help, run on another version of Node",
  );
}

/** The build folder is beside `bindings` for the sources, and above it for what tsc made of them. */
function readBuiltModule(name: KernelName): Uint8Array<ArrayBuffer> {
  const folder = import.meta.url.endsWith(".ts") ? "../build/" : "../";
  return new Uint8Array(readFileSync(new URL(`${folder}plane-${name}.wasm`, import.meta.url)));
}
