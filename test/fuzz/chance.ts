/** Chance for fuzzing: all of it follows from one number, which a failure names (TS-38, TS-40). */
import { createSeededRandom, randomU32 } from "../../src/base/index.ts";

export interface Chance {
  /** Uniform enough in [0, limit). */
  below(limit: number): number;
  /** Uniform in [low, high], both included. */
  between(low: number, high: number): number;
  /** True once in `n` times. */
  isOneIn(n: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(length: number): Uint8Array<ArrayBuffer>;
}

export function createChance(seed: number): Chance {
  const random = createSeededRandom(seed);
  const below = (limit: number): number => randomU32(random) % limit;
  return {
    below,
    between: (low, high) => low + below(high - low + 1),
    isOneIn: (n) => below(n) === 0,
    pick<T>(list: readonly T[]): T {
      const at = below(list.length);
      if (at >= list.length) throw new Error("nothing to pick from");
      // Below the length, just checked: the element may itself be undefined.
      return list[at] as T;
    },
    bytes: (length) => random.fill(new Uint8Array(length)),
  };
}

export interface FuzzOptions {
  /** The first round's seed; the others count up from it. */
  readonly seed: number;
  readonly rounds: number;
}

/** What the environment asks for instead of the defaults: POSTERN_FUZZ_SEED, POSTERN_FUZZ_ROUNDS. */
export function fuzzOptions(defaults: FuzzOptions): FuzzOptions {
  const read = (name: string, otherwise: number): number => {
    const text = process.env[name];
    return text === undefined ? otherwise : Number(text);
  };
  return {
    seed: read("POSTERN_FUZZ_SEED", defaults.seed),
    rounds: read("POSTERN_FUZZ_ROUNDS", defaults.rounds),
  };
}

/** Runs the rounds; what one throws names the seed that repeats exactly that round. */
export function fuzz({ seed, rounds }: FuzzOptions, round: (chance: Chance, seed: number) => void): void {
  for (let i = 0; i < rounds; i++) {
    try {
      round(createChance(seed + i), seed + i);
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`POSTERN_FUZZ_SEED=${seed + i} POSTERN_FUZZ_ROUNDS=1: ${what}`, { cause });
    }
  }
}
