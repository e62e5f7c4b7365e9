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
import { setFlagsFromString } from "node:v8";
import { PosternError } from "../../src/base/index.ts";
import { readBuiltModule } from "../runtime/index.ts";
import {
  type Candidate,
  CIPHER_NAMES,
  type CipherName,
  candidateFor,
  candidatesFor,
  type RuntimeFacts,
  readRuntimeFacts,
} from "./candidates.ts";
import {
  type Bench,
  createOracle,
  findFault,
  measureSpeeds,
  type Oracle,
  openBench,
  type Speed,
  warmUp,
} from "./self-test.ts";

export type { CipherName } from "./candidates.ts";

export interface CipherOptions {
  /** A variant's name (`--cipher`, POSTERN_CIPHER): only this one is tried. */
  readonly cipher?: string | undefined;
  /** The bytes of a variant's module; by default those of the build. */
  readonly readModule?: (name: CipherName) => Uint8Array<ArrayBuffer>;
  /** The runtime's facts; by default those of this one. */
  readonly facts?: RuntimeFacts;
}

export type CandidateReport =
  | ({ readonly name: CipherName; readonly ok: true } & Speed)
  | { readonly name: CipherName; readonly ok: false; readonly reason: string };

export interface CipherChoice {
  readonly name: CipherName;
  /** The whole packet plane with this variant. */
  readonly module: WebAssembly.Module;
  /** All that were tried, for `status`; those with `ok: false` come first and are worth a WARN each. */
  readonly candidates: readonly CandidateReport[];
  readonly setUpMs: number;
}

/** What passed its test and can be timed, or why it did not. */
type Trial = Passed | { readonly name: CipherName; readonly ok: false; readonly reason: string };
interface Passed {
  readonly name: CipherName;
  readonly ok: true;
  readonly module: WebAssembly.Module;
  readonly bench: Bench;
}

/**
 * A later candidate replaces an earlier, likelier one only if it is faster by this factor. On a busy
 * processor of two threads the timing shows nothing: of 30 starts, 3 chose a variant of 0.7 times the speed.
 */
const PREFERENCE = 1.1;

/**
 * Sets up, tests and times the candidates, and returns the fastest.
 * @throws PosternError `cipher-unknown` if `options.cipher` names none, `cipher-unusable` if none passes
 */
export function chooseCipher(options: CipherOptions = {}): CipherChoice {
  const started = performance.now();
  const facts = options.facts ?? readRuntimeFacts();
  const readModule = options.readModule ?? ((name) => readBuiltModule(`plane-${name}`));
  const oracle = createOracle();
  const attempt = (candidate: Candidate): Trial => tryCandidate(candidate, readModule, oracle);

  const { candidates, reserve } = wantedCandidates(options.cipher, facts);
  const trials = candidates.map(attempt);
  for (const candidate of reserve) {
    if (trials.some((trial) => trial.ok)) break;
    trials.push(attempt(candidate));
  }
  const timed = measureSpeeds(trials.filter((trial) => trial.ok));
  const best = chooseFastest(timed);
  if (best === undefined) throw unusable(trials);
  return {
    name: best.name,
    module: best.module,
    candidates: [
      ...trials.filter((trial) => !trial.ok),
      ...timed.map(({ name, ok, sealGBps, openGBps }) => ({ name, ok, sealGBps, openGBps })),
    ],
    setUpMs: performance.now() - started,
  };
}

function wantedCandidates(wanted: string | undefined, facts: RuntimeFacts) {
  if (wanted === undefined || wanted === "") return candidatesFor(facts);
  const name = CIPHER_NAMES.find((known) => known === wanted);
  if (name === undefined) {
    throw new PosternError(
      "cipher-unknown",
      `there is no cipher variant "${wanted}"`,
      `use one of ${CIPHER_NAMES.join(", ")}, or leave the choice to the program`,
    );
  }
  return { candidates: [candidateFor(name, facts)], reserve: [] };
}

function tryCandidate(
  candidate: Candidate,
  readModule: (name: CipherName) => Uint8Array<ArrayBuffer>,
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
    return { name, ok: true, module, bench };
  } catch (error) {
    // Does not compile here, traps, or is not in the build: each costs only this candidate.
    return { name, ok: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    resetFlags(candidate);
  }
}

/** Leaves V8 as it was. */
function resetFlags(candidate: Candidate): void {
  for (const flag of candidate.flags) setFlagsFromString(flag.reset);
}

/**
 * The fastest by the time that sealing a byte and opening a byte take together.
 * @param timed the likeliest first; it stays unless another is faster by more than the noise
 */
export function chooseFastest<T extends Speed>(timed: readonly T[]): T | undefined {
  const cost = (speed: Speed) => 1 / speed.sealGBps + 1 / speed.openGBps;
  return timed.reduce<T | undefined>(
    (best, next) => (best === undefined || cost(next) * PREFERENCE < cost(best) ? next : best),
    undefined,
  );
}

function unusable(trials: readonly Trial[]): PosternError {
  const reasons = trials.map((trial) => `${trial.name}: ${trial.ok ? "passed" : trial.reason}`);
  return new PosternError(
    "cipher-unusable",
    `no cipher variant of the packet plane can be used (${reasons.join("; ")})`,
    "build again with `npm run build`; if that does not help, run on another version of Node",
  );
}
