/**
 * Runs cases by the hour: `npm run test:world -- [--hours N | --cases N] [--seed S] [--steps N] [--cover]`.
 *
 * `--cover` names few seeds that come upon everything, for `world.test.ts`.
 *
 * Says every ten seconds how far it is. A case that fails is made small, printed, and kept in `corpus/`, where the
 * everyday tests run it again.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { keep } from "./corpus.ts";
import { coverOf, missingLabels } from "./labels.ts";
import { type Outcome, runSeed } from "./run-case.ts";
import { shrink } from "./shrink.ts";

const CORPUS = join("test", "model", "world", "corpus");
const PROGRESS_MS = 10_000;
/** So few need not have come upon everything. */
const CASES_FOR_LABELS = 300;
const FAILURES_MAX = 10;

interface Sum {
  cases: number;
  steps: number;
  readonly failed: number[];
  readonly labels: Set<string>;
  readonly outcomes: Pick<Outcome, "seed" | "labels">[];
}

function main(): number {
  const { values } = parseArgs({
    options: {
      hours: { type: "string" },
      cases: { type: "string" },
      seed: { type: "string", default: "0" },
      steps: { type: "string" },
      cover: { type: "boolean", default: false },
    },
  });
  const first = Number(values.seed);
  const cases = values.cases ?? (values.hours === undefined ? "1000" : undefined);
  const count = cases === undefined ? Number.POSITIVE_INFINITY : Number(cases);
  const endsAt = values.hours === undefined ? undefined : Date.now() + Number(values.hours) * 3_600_000;
  const options = values.steps === undefined ? {} : { count: Number(values.steps) };
  const sum: Sum = { cases: 0, steps: 0, failed: [], labels: new Set(), outcomes: [] };
  const startedAt = Date.now();
  let saidAt = startedAt;
  for (let seed = first; seed < first + count; seed++) {
    if (endsAt !== undefined && Date.now() >= endsAt) break;
    if (sum.failed.length >= FAILURES_MAX) break;
    const outcome = runSeed(seed, options);
    add(sum, outcome);
    if (values.cover) sum.outcomes.push({ seed, labels: outcome.labels });
    if (Date.now() - saidAt < PROGRESS_MS) continue;
    saidAt = Date.now();
    console.error(lineOf(sum, startedAt));
  }
  if (values.cover) console.log(`seeds that come upon everything: ${coverOf(sum.outcomes).join(", ")}`);
  const missing = sum.cases >= CASES_FOR_LABELS ? missingLabels(sum.labels) : [];
  for (const label of missing) console.error(`never came upon: ${label}`);
  console.log(`${lineOf(sum, startedAt)}; seeds ${first} to ${first + sum.cases - 1}`);
  return sum.failed.length + missing.length === 0 ? 0 : 1;
}

function add(sum: Sum, outcome: Outcome): void {
  sum.cases++;
  sum.steps += outcome.steps.length;
  for (const label of outcome.labels) sum.labels.add(label);
  if (outcome.failure === undefined) return;
  sum.failed.push(outcome.seed);
  const small = shrink(outcome);
  console.error(`seed ${outcome.seed}: ${small.failure}`);
  for (const line of small.lines) console.error(`  ${line}`);
  console.error(`  kept as ${keep(CORPUS, small)}`);
}

function lineOf({ cases, steps, failed }: Sum, startedAt: number): string {
  const seconds = Math.round((Date.now() - startedAt) / 1_000);
  return `${cases} cases, ${steps} steps, ${failed.length} violations, ${seconds} s`;
}

process.exitCode = main();
