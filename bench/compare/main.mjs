/**
 * This build against the build of another checkout or this tree without something, and against itself, in alternating runs.
 *
 *   npm run bench -- compare --against DIR [--runtime node24|node20|system|PATH] [--pairs 20] [--seconds 4]
 *       [--cells plane,tcp] [--mtu 1420] [--json]
 *   npm run bench -- compare --without pf-79|aead [--again] [OPTIONS]
 *
 * DIR is a checkout that has been built. Every cell has three arms: `now`, `again` (the same build once
 * more, which shows what chance does) and `before`. `plane` runs each checkout's own `bench/plane`, the other cells are
 * those of `tunnel`. --without builds the other arm, `without`, by itself (`without.mjs`); there is no `again` unless
 * --again asks for it. `pf-79` has cells, pairs and seconds that end within six minutes on one runtime.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals, endWithUs } from "../lib/ending.mjs";
import { ASKED } from "../lib/limits.mjs";
import { beginResult, cellOf, endResult, pairRatios } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, meanOfRatios, shuffled } from "../lib/statistics.mjs";
import { openPosternWg } from "../tunnel/arms.mjs";
import { planFor, printCell, runCell } from "../tunnel/cells.mjs";
import { openServers, tcp } from "../tunnel/loads.mjs";
import { buildWithout, CannotBuild, THINGS } from "./without.mjs";

const OPTIONS = {
  against: { type: "string" },
  without: { type: "string" },
  again: { type: "boolean", default: false },
  runtime: { type: "string", default: "node24" },
  pairs: { type: "string" },
  seconds: { type: "string" },
  cells: { type: "string" },
  mtu: { type: "string" },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
  record: { type: "boolean", default: false },
};
/** Against another checkout; `tunnel` is what `tcp` was called. */
const DEFAULTS = { cells: "plane,tunnel", mtu: "1420", pairs: "20", seconds: "4" };
/** Round trips of one run, one each 10 ms. */
const PINGS = 200;
/** One run of `bench/plane` warms up and measures four loads. */
const PLANE_WITHIN_MS = 120_000;

/** What a checkout's build starts; until 2026-11-29 nothing was bundled. */
function mainOf(root) {
  const bundled = join(root, "build", "program", "main.js");
  return existsSync(bundled) ? bundled : join(root, "build", "src", "cli", "main.js");
}

/** What is compared: `{ name, roots by arm, baselines, defaults }`; `undefined`: nothing that exists. */
function subjectOf({ against, without, again }, runtime) {
  if (without !== undefined && THINGS[without] !== undefined) {
    const { defaults } = THINGS[without];
    const roots = { now: ROOT, ...(again && { again: ROOT }), without: buildWithout(without, runtime) };
    return { name: `without-${without}`, roots, baselines: { without }, defaults };
  }
  if (against === undefined || !existsSync(mainOf(against))) return undefined;
  const roots = { now: ROOT, again: ROOT, before: resolve(against) };
  return { name: "compare", roots, baselines: { before: commitOf(roots.before) }, defaults: DEFAULTS };
}

async function main() {
  endOnSignals();
  const { values } = parseArgs({ options: OPTIONS });
  const runtime = findRuntime(values.runtime);
  const subject = subjectOf(values, runtime);
  if (subject === undefined) {
    const things = Object.keys(THINGS).join(" or ");
    console.error(
      `bench: --against wants the folder of another checkout that has been built, --without ${things}`,
    );
    return 2;
  }
  const { cells, mtu, pairs, seconds } = { ...subject.defaults, ...values };
  const options = {
    pairs: Number(pairs),
    seconds: Number(seconds),
    cells: new Set(cells.split(",").map((cell) => (cell === "tunnel" ? "tcp" : cell))),
    pings: PINGS,
    mtus: mtu.split(",").map(Number),
    runtime,
    roots: subject.roots,
    draw: createDraw(Number(values.seed)),
    say: (line) => console.error(line),
  };
  const result = beginResult(subject.name, {
    topology: "two network namespaces joined by veth, one tunnel process each; plane: one thread, in memory",
    mtu: options.mtus,
    pinning: "none",
    seed: Number(values.seed),
    runtime: `node ${runtime.version}`,
    baselines: subject.baselines,
  });
  if (options.cells.has("plane")) result.cells.push(...(await comparePlanes(options)));
  for (const one of options.mtus) result.cells.push(...(await compareTunnels(one, options)));
  endResult(result, values);
  return 0;
}

async function comparePlanes({ pairs, roots, runtime, draw }) {
  const arms = Object.keys(roots);
  const samples = new Map();
  const units = new Map();
  for (let pair = 0; pair < pairs; pair++) {
    for (const arm of shuffled(arms, draw)) {
      for (const { name, params, unit, median } of await runPlane(roots[arm], runtime.path)) {
        units.set(name, { params, unit });
        samples.set(name, [...(samples.get(name) ?? []), { arm, pair, value: median, valid: true }]);
      }
    }
    console.error(`plane: pair ${pair + 1} of ${pairs}`);
  }
  const cells = [...samples].map(([name, list]) =>
    cellOf({ name: `plane, ${name}`, ...units.get(name), samples: list, arms }),
  );
  // What only the other checkout knows is left out.
  for (const cell of cells) if (cell.arms.now !== undefined) printCell(cell, arms);
  return cells;
}

/** The cells of one short run of a checkout's own `bench/plane`; ours without those that others may not have. */
async function runPlane(root, runtime) {
  const main = join(root, "bench", "plane", "main.mjs");
  const args = [main, "--pairs", "1", "--ms", "250", "--json", ...(root === ROOT ? ["--without-flows"] : [])];
  // Its own result is part of this one.
  const env = { ...process.env, POSTERN_BENCH_RECORD: "0" };
  const running = promisify(execFile)(runtime, args, { cwd: root, timeout: PLANE_WITHIN_MS, env });
  endWithUs(running.child);
  const { stdout } = await running.catch(({ signal, stderr }) => {
    const last = stderr.trim().split("\n").at(-1);
    if (!signal) throw new Error(`bench/plane of ${root} failed: ${last}`);
    const seconds = PLANE_WITHIN_MS / 1_000;
    throw new Error(
      `bench/plane of ${root} was ended by ${signal}: it has ${seconds} s, wait for a quiet machine`,
    );
  });
  return JSON.parse(stdout.trim().split("\n").at(-1)).cells;
}

/**
 * All tunnels are up at the same time, each in namespaces of its own; an idle one costs nothing. Datagrams and round trips
 * are measured at the first MTU only.
 */
async function compareTunnels(mtu, options) {
  const { roots, runtime, mtus, draw } = options;
  const cells = mtu === mtus[0] ? options.cells : new Set(options.cells.has("tcp") ? ["tcp"] : []);
  const plan = planFor(mtu, { ...options, cells });
  if (plan.length === 0) return [];
  const lab = createLab();
  try {
    const arms = [];
    for (const [name, root] of Object.entries(roots)) {
      const arm = await openPosternWg(lab, { mtu, runtime, name, main: mainOf(root) });
      await openServers(arm);
      for (const direction of ["up", "down"]) await tcp(arm, { direction, seconds: 2 });
      arms.push(arm);
    }
    const measured = [];
    for (const one of plan) {
      const cell = await runCell(one, arms, options, draw);
      const notes = [cell.notes, ...meansOf(cell)].filter((note) => note !== "").join("; ");
      if (notes !== "") console.error(`  ${notes}`);
      measured.push({ ...cell, notes });
    }
    return measured;
  } finally {
    await lab.close();
  }
}

/** Differences of a few per cent are less than what one pair varies by: the mean says more of them than the median. */
function meansOf({ samples, arms }) {
  const [subject, ...others] = Object.keys(arms);
  const said = (other, key, title) => {
    const found = meanOfRatios(pairRatios(samples, subject, other, key));
    if (found === undefined) return [];
    return [`${title}${found.mean.toFixed(3)} ± ${(found.mean * found.error).toFixed(3)} of ${other}`];
  };
  return others.flatMap((other) => [
    ...said(other, "value", "mean "),
    ...said(other, "cpu_s_per_gb", "CPU per GB "),
  ]);
}

function commitOf(root) {
  return spawnSync("git", ["rev-parse", "HEAD"], { ...ASKED, cwd: root, encoding: "utf8" }).stdout.trim();
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof CannotBuild)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
