/** What runs in the thread of a target: `run.mjs` starts it, gives it these, and watches. */
import type { CreateTarget } from "../target.ts";
import { countWasm, openCounters } from "./counters.ts";
import { type Outcome, runLoop } from "./loop.ts";

export interface ProcessOptions {
  readonly seed: number;
  readonly timeMs: number;
  readonly runsMax: number;
  readonly corpus: readonly Uint8Array[];
  /** How many counters the bundle carries. */
  readonly scriptBlocks: number;
  /** A folder for instrumented modules. */
  readonly cache: string;
  /** `[number of the run u32][length u32][input]`: what runs at the moment. */
  readonly watched: SharedArrayBuffer;
}

export async function runProcess(
  createTarget: CreateTarget,
  options: ProcessOptions,
): Promise<Outcome & { readonly blocks: number }> {
  const counters = openCounters(options.scriptBlocks);
  await countWasm(counters, options.cache);
  const target = createTarget();
  const words = new Uint32Array(options.watched, 0, 2);
  const bytes = new Uint8Array(options.watched, 8);
  const begin = (input: Uint8Array): void => {
    words[1] = Math.min(input.length, bytes.length);
    bytes.set(input.subarray(0, bytes.length));
    Atomics.add(words, 0, 1);
  };
  const outcome = runLoop({ ...options, target, counters, begin });
  return { ...outcome, blocks: counters.end };
}
