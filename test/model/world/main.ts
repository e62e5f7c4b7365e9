/**
 * Runs cases by the hour:
 * `npm run test:world -- [--hours N | --cases N] [--seed S] [--steps N] [--jobs N] [--cover]`.
 *
 * `--cover` names few seeds that come upon everything, for `world.test.ts`. `--jobs` says how many processes share
 * the seeds.
 *
 * Says every ten seconds how far it is. A case that fails is made small, printed, and kept in `corpus/`, where the
 * everyday tests run it again.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { keep } from "./corpus.ts";
import { isJob, type Report, serveJob, shareOut } from "./jobs.ts";
import { coverOf, missingLabels } from "./labels.ts";
import { runSeed } from "./run-case.ts";
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
  readonly reports: Report[];
}

interface Bounds {
  readonly first: number;
  readonly count: number;
  /** On the wall's clock, in milliseconds. */
  readonly endsAt: number;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      hours: { type: "string" },
      cases: { type: "string" },
      seed: { type: "string", default: "0" },
      steps: { type: "string" },
      jobs: { type: "string", default: "1" },
      cover: { type: "boolean", default: false },
    },
  });
  const options = values.steps === undefined ? {} : { count: Number(values.steps) };
  const run = (seed: number): Report => runOne(seed, options);
  if (isJob()) {
    serveJob(run);
    return 0;
  }
  const startedAt = Date.now();
  const bounds = boundsOf(values);
  const sum: Sum = { cases: 0, steps: 0, failed: [], labels: new Set(), reports: [] };
  const seeds = seedsOf(bounds, sum);
  const take = taker(sum, startedAt, values.cover);
  const jobs = Number(values.jobs);
  const lost = jobs > 1 ? await shareOut({ jobs, seeds, take }) : 0;
  if (jobs <= 1) for (const seed of seeds) take(run(seed));
  if (values.cover) console.log(`seeds that come upon everything: ${coverOf(coveredBy(sum)).join(", ")}`);
  const missing = sum.cases >= CASES_FOR_LABELS ? missingLabels(sum.labels) : [];
  for (const label of missing) console.error(`never came upon: ${label}`);
  const { first } = bounds;
  console.log(`${lineOf(sum, startedAt)}; seeds ${first} to ${first + sum.cases - 1}`);
  return sum.failed.length + missing.length + lost === 0 ? 0 : 1;
}

function boundsOf(values: {
  readonly hours?: string | undefined;
  readonly cases?: string | undefined;
  readonly seed: string;
}): Bounds {
  const cases = values.cases ?? (values.hours === undefined ? "1000" : undefined);
  const count = cases === undefined ? Number.POSITIVE_INFINITY : Number(cases);
  const ms = values.hours === undefined ? Number.POSITIVE_INFINITY : Number(values.hours) * 3_600_000;
  return { first: Number(values.seed), count, endsAt: Date.now() + ms };
}

/** One after the other, while there is time, and until enough have failed. */
function* seedsOf({ first, count, endsAt }: Bounds, { failed }: Sum): Generator<number> {
  for (let seed = first; seed < first + count; seed++) {
    if (Date.now() >= endsAt || failed.length >= FAILURES_MAX) return;
    yield seed;
  }
}

function runOne(seed: number, options: { readonly count?: number }): Report {
  const outcome = runSeed(seed, options);
  const report = { seed, steps: outcome.steps.length, labels: [...outcome.labels] };
  if (outcome.failure === undefined) return { ...report, failure: [] };
  const small = shrink(outcome);
  const lines = small.lines.map((line) => `  ${line}`);
  const kept = `  kept as ${keep(CORPUS, small)}`;
  return { ...report, failure: [`seed ${seed}: ${small.failure}`, ...lines, kept] };
}

/** Adds what a case says to the sum, and says from time to time how far it is. */
function taker(sum: Sum, startedAt: number, keepsAll: boolean): (report: Report) => void {
  let saidAt = startedAt;
  return (report) => {
    sum.cases++;
    sum.steps += report.steps;
    for (const label of report.labels) sum.labels.add(label);
    if (keepsAll) sum.reports.push(report);
    if (report.failure.length > 0) sum.failed.push(report.seed);
    for (const line of report.failure) console.error(line);
    if (Date.now() - saidAt < PROGRESS_MS) return;
    saidAt = Date.now();
    console.error(lineOf(sum, startedAt));
  };
}

function coveredBy({ reports }: Sum): readonly { readonly seed: number; readonly labels: Set<string> }[] {
  return reports.map(({ seed, labels }) => ({ seed, labels: new Set(labels) }));
}

function lineOf({ cases, steps, failed }: Sum, startedAt: number): string {
  const seconds = Math.round((Date.now() - startedAt) / 1_000);
  return `${cases} cases, ${steps} steps, ${failed.length} violations, ${seconds} s`;
}

process.exitCode = await main();
