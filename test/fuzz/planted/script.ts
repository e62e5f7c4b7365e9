/** A defect behind three bytes, in TypeScript: the loop must find it. */
import type { FuzzTarget } from "../target.ts";

export function createTarget(): FuzzTarget {
  return {
    seeds: [new Uint8Array(8)],
    bytesMax: 16,
    run(input) {
      if (input[2] === 0xa7 && input[3] === 0x1b && input[5] === 0xe4) throw new Error("planted");
    },
  };
}
