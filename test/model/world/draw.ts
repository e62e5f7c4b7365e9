/** Choices from a seed, or from the numbers of a step (TN-95). */
import { createStream } from "../../sim/streams.ts";

export interface Draw {
  /** From 0 to `count` − 1. */
  below(count: number): number;
  of<T>(list: readonly T[]): T;
  /** In one of `count` cases. */
  oneIn(count: number): boolean;
  /** Some of them, in their order. */
  some<T>(list: readonly T[], count: number): readonly T[];
}

export function drawFrom(seed: number, label: string): Draw {
  const stream = createStream(seed, label);
  return drawBy((count) => Math.floor(stream.unit() * count));
}

/** Takes one number after another, then zeros: so a step means something also when it has been shortened. */
export function drawFromNumbers(numbers: readonly number[]): Draw {
  let next = 0;
  return drawBy((count) => (numbers[next++] ?? 0) % count);
}

/** One number says all of a small thing, so that many of them need few numbers. */
export function drawFromNumber(number: number): Draw {
  let left = number;
  return drawBy((count) => {
    const chosen = left % count;
    left = Math.floor(left / count);
    return chosen;
  });
}

function drawBy(below: (count: number) => number): Draw {
  const of = <T>(list: readonly T[]): T => {
    const chosen = list[below(list.length)];
    if (chosen === undefined) throw new Error("nothing to choose from");
    return chosen;
  };
  return {
    below,
    of,
    oneIn: (count) => below(count) === 0,
    some(list, count) {
      const left = list.map((_, i) => i);
      const taken: number[] = [];
      while (taken.length < count && left.length > 0) taken.push(...left.splice(below(left.length), 1));
      return taken.sort((a, b) => a - b).flatMap((i) => list.slice(i, i + 1));
    },
  };
}
