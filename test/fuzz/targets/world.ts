/**
 * The world from bytes (TS-42): a topology of a client, gateways, relays and a portal, and what happens to it. Its
 * oracle is the reference of the model test, with all that must hold after every step (TN-99 to TN-102).
 *
 *     [96 numbers of the topology u8][steps: kind u8, 8 numbers u8]
 */
import { createSeededRandom } from "../../../src/base/index.ts";
import { drawFromNumbers } from "../../model/world/draw.ts";
import { runSteps, TRANSITIONS } from "../../model/world/run-case.ts";
import { drawSetupBy } from "../../model/world/setup.ts";
import type { Step } from "../../model/world/transition.ts";
import type { FuzzTarget } from "../target.ts";

const TOPOLOGY_BYTES = 96;
const NUMBERS = 8;
const STEP_BYTES = 1 + NUMBERS;
/** A step may take a tenth of a second of processor time. */
const STEPS_MAX = 6;
const SEEDS = 3;

export function createTarget(): FuzzTarget {
  return {
    seeds: Array.from({ length: SEEDS }, (_, i) => seedOf(i)),
    words: TRANSITIONS.map((_, kind) => Uint8Array.of(kind, 0, 0, 0, 0, 0, 0, 0, 0)),
    bytesMax: TOPOLOGY_BYTES + STEPS_MAX * STEP_BYTES,
    slowMs: 5_000,
    keptMax: 6,
    run(input) {
      const numbers = [...input.subarray(0, TOPOLOGY_BYTES)];
      const setup = drawSetupBy(numbers[0] ?? 0, drawFromNumbers(numbers.slice(1)));
      const { failure, lines } = runSteps(setup.seed, stepsOf(input), { setup });
      if (failure !== undefined) throw new Error(`${failure}\nafter: ${lines.join("; ")}`);
    },
  };
}

function stepsOf(input: Uint8Array): readonly Step[] {
  const steps: Step[] = [];
  for (let at = TOPOLOGY_BYTES; at < input.length && steps.length < STEPS_MAX; at += STEP_BYTES) {
    const kind = TRANSITIONS[(input[at] ?? 0) % TRANSITIONS.length]?.name ?? "";
    steps.push({ kind, numbers: [...input.subarray(at + 1, at + STEP_BYTES)] });
  }
  return steps;
}

/** The first is the smallest world, in which nothing happens. */
function seedOf(number: number): Uint8Array {
  const bytes = new Uint8Array(TOPOLOGY_BYTES + (number === 0 ? 0 : STEPS_MAX * STEP_BYTES));
  return number === 0 ? bytes : createSeededRandom(number).fill(bytes);
}
