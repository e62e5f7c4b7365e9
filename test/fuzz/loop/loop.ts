/**
 * The loop (TS-40): change an input that was worth keeping, run it, keep the new one if it reached a pair of block and
 * number of hits (as a power of two) that none before it had reached.
 */
import { type Chance, createChance } from "../chance.ts";
import type { FuzzTarget } from "../target.ts";
import type { Counters } from "./counters.ts";
import { createMutator } from "./mutate.ts";

/** No input takes longer (TS-38), where the target does not say otherwise. */
const SLOW_MS = 100;
/** What cutting down a finding may take, in runs of an input that is as slow as may be. */
const REDUCING_MS = 200_000;
/** What a target may hold on to beyond what it held after warming up. */
const GROWTH_BYTES_MAX = 64 << 20;
const [WARM_RUNS, LOOK_RUNS] = [20_000, 100_000];

export interface Finding {
  readonly kind: "throws" | "slow" | "grows" | "hangs";
  readonly message: string;
  readonly input: Uint8Array;
}

export interface LoopOptions {
  readonly target: FuzzTarget;
  readonly counters: Counters;
  readonly seed: number;
  readonly timeMs: number;
  readonly runsMax: number;
  readonly corpus: readonly Uint8Array[];
  /** Told of each input before it runs: whoever watches keeps it if it never comes back. */
  readonly begin: (input: Uint8Array) => void;
}

export interface Outcome {
  readonly runs: number;
  /** A set cover of what was kept: the smallest inputs that reach everything. */
  readonly kept: readonly Uint8Array[];
  readonly finding: Finding | undefined;
  /** Blocks that were reached. */
  readonly reached: readonly number[];
}

interface Kept {
  readonly input: Uint8Array;
  chosen: number;
}

interface Loop extends LoopOptions {
  readonly chance: Chance;
  /** By block: a bit for each power of two of hits. */
  readonly seen: Uint32Array;
  readonly kept: Kept[];
  runs: number;
}

export function runLoop(options: LoopOptions): Outcome {
  const { target, seed, timeMs, runsMax, corpus, counters } = options;
  const chance = createChance(seed);
  const seen = new Uint32Array(counters.blocks.length);
  const loop: Loop = { ...options, chance, seen, kept: [], runs: 0 };
  const { words = [], mend, bytesMax } = target;
  const mutator = createMutator({ chance, words, mend, bytesMax });
  const isGrowing = growthOf();
  let finding: Finding | undefined;
  for (const input of [...target.seeds, ...corpus]) {
    finding ??= attempt(loop, input, "keep");
  }
  const end = performance.now() + timeMs;
  while (finding === undefined && loop.runs < runsMax && performance.now() < end) {
    const inputs = loop.kept.map(({ input }) => input);
    for (let i = 0; i < 64 && finding === undefined && loop.runs < runsMax; i++) {
      const input = mutator.mutate(choose(loop).input, inputs);
      finding = attempt(loop, input, "if new");
      if (finding === undefined && isGrowing(loop.runs))
        finding = { kind: "grows", message: "memory", input };
    }
  }
  if (finding !== undefined) finding = reduce(loop, finding);
  const kept = finding === undefined ? coverOf(loop) : loop.kept.map(({ input }) => input);
  const reached = [...seen.keys()].filter((block) => (seen[block] ?? 0) !== 0);
  return { runs: loop.runs, kept, finding, reached };
}

/** Runs an input; remembers it where that is wanted. */
function attempt(loop: Loop, input: Uint8Array, keep: "keep" | "if new"): Finding | undefined {
  const finding = execute(loop, input);
  if (finding !== undefined) return finding;
  const isNew = note(loop, loop.seen) > 0;
  if (isNew || keep === "keep") loop.kept.push({ input, chosen: 0 });
  return undefined;
}

function execute(loop: Loop, input: Uint8Array): Finding | undefined {
  const { target, counters, begin } = loop;
  loop.runs++;
  begin(input);
  counters.blocks.fill(0, 0, counters.end);
  const { slowMs = SLOW_MS } = target;
  const started = performance.now();
  try {
    target.run(input);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { kind: "throws", message, input };
  }
  if (performance.now() - started < slowMs) return undefined;
  const takesMs = Math.min(...[1, 2, 3].map(() => processorMs(() => target.run(input))));
  return takesMs < slowMs ? undefined : { kind: "slow", message: `takes ${takesMs} ms`, input };
}

/** On a busy machine the clock says nothing. */
function processorMs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return Math.round((user + system) / 1000);
}

/** How much the last run reached that is not in `seen`, which has it afterwards. */
function note({ counters }: Loop, seen: Uint32Array): number {
  const { blocks, end } = counters;
  let fresh = 0;
  for (let i = 0; i < end; i++) {
    const hits = blocks[i] ?? 0;
    if (hits === 0) continue;
    const bit = 1 << (31 - Math.clz32(hits));
    const before = seen[i] ?? 0;
    if ((before & bit) !== 0) continue;
    seen[i] = before | bit;
    fresh++;
  }
  return fresh;
}

/** Of three: what was chosen least, and of these the smallest. */
function choose({ chance, kept }: Loop): Kept {
  let best = chance.pick(kept);
  for (let i = 0; i < 2; i++) {
    const other = chance.pick(kept);
    const isLess =
      other.chosen < best.chosen || (other.chosen === best.chosen && other.input.length < best.input.length);
    if (isLess) best = other;
  }
  best.chosen++;
  return best;
}

/** The smallest inputs first, each if it reaches what those before it do not. */
function coverOf(loop: Loop): readonly Uint8Array[] {
  const seen = new Uint32Array(loop.seen.length);
  const sorted = loop.kept.map(({ input }) => input).sort(bySizeThenBytes);
  const cover = sorted.filter((input) => execute(loop, input) === undefined && note(loop, seen) > 0);
  const { keptMax } = loop.target;
  return keptMax === undefined ? cover : mostOf(loop, cover, keptMax);
}

/** So few, each the one that adds most to those before it. */
function mostOf(loop: Loop, inputs: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  const { blocks, end } = loop.counters;
  const left = inputs.map((input) => {
    execute(loop, input);
    return { input, reached: [...blocks.subarray(0, end).keys()].filter((block) => blocks[block] !== 0) };
  });
  const seen = new Set<number>();
  const chosen: Uint8Array[] = [];
  while (chosen.length < count && left.length > 0) {
    const adds = left.map(({ reached }) => reached.filter((block) => !seen.has(block)).length);
    const [best] = left.splice(adds.indexOf(Math.max(...adds)), 1);
    if (best === undefined) break;
    for (const block of best.reached) seen.add(block);
    chosen.push(best.input);
  }
  return chosen;
}

function bySizeThenBytes(a: Uint8Array, b: Uint8Array): number {
  return a.length - b.length || Buffer.compare(a, b);
}

/** Cuts away whatever the finding does not need. */
function reduce(loop: Loop, finding: Finding): Finding {
  if (finding.kind === "grows") return finding;
  let least = finding;
  const runsMax = Math.round(REDUCING_MS / (loop.target.slowMs ?? SLOW_MS));
  for (let size = least.input.length >> 1, left = runsMax; size > 0; size >>= 1) {
    for (let at = 0; at < least.input.length && left > 0; left--) {
      const { input } = least;
      const shorter = Buffer.concat([input.subarray(0, at), input.subarray(at + size)]);
      const same = execute(loop, new Uint8Array(shorter));
      if (same?.kind === finding.kind && firstLine(same) === firstLine(finding)) least = same;
      else at += size;
    }
  }
  return least;
}

function firstLine({ message }: Finding): string {
  return message.split("\n", 1)[0]?.replace(/\d+/g, "") ?? "";
}

/** Looks at the heap once in a while, after collecting what is garbage. */
function growthOf(): (runs: number) => boolean {
  const { gc } = globalThis;
  let base: number | undefined;
  return (runs) => {
    if (gc === undefined || runs < WARM_RUNS || runs % LOOK_RUNS !== WARM_RUNS % LOOK_RUNS) return false;
    gc();
    const { heapUsed, external } = process.memoryUsage();
    base ??= heapUsed + external;
    return heapUsed + external - base > GROWTH_BYTES_MAX;
  };
}
