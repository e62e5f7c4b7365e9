/**
 * This build against the build of another checkout, and against itself, in alternating runs.
 *
 *   npm run bench -- compare --against DIR [--runtime node24|node20|system|PATH] [--pairs 20] [--seconds 4]
 *       [--cells plane,tunnel] [--mtu 1420] [--json]
 *
 * DIR is a checkout that has been built. Every cell has three arms: `now`, `again` (the same build once
 * more, which shows what chance does) and `before`. `plane` runs each checkout's own `bench/plane`.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs, promisify } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals, endWithUs } from "../lib/ending.mjs";
import { ASKED } from "../lib/limits.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";
import { openPosternWg } from "../tunnel/arms.mjs";
import { openServers, tcp } from "../tunnel/loads.mjs";

const OPTIONS = {
  against: { type: "string" },
  runtime: { type: "string", default: "node24" },
  pairs: { type: "string", default: "20" },
  seconds: { type: "string", default: "4" },
  cells: { type: "string", default: "plane,tunnel" },
  mtu: { type: "string", default: "1420" },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
  record: { type: "boolean", default: false },
};
const ARMS = ["now", "again", "before"];
/** One run of `bench/plane` warms up and measures four loads. */
const PLANE_WITHIN_MS = 120_000;

/** What a checkout's build starts; until 2026-11-29 nothing was bundled. */
function mainOf(root) {
  const bundled = join(root, "build", "program", "main.js");
  return existsSync(bundled) ? bundled : join(root, "build", "src", "cli", "main.js");
}

async function main() {
  endOnSignals();
  const { values } = parseArgs({ options: OPTIONS });
  if (values.against === undefined || !existsSync(mainOf(values.against))) {
    console.error("bench: --against wants the folder of another checkout that has been built");
    return 2;
  }
  const options = {
    ...values,
    pairs: Number(values.pairs),
    seconds: Number(values.seconds),
    runtime: findRuntime(values.runtime),
    roots: { now: ROOT, again: ROOT, before: resolve(values.against) },
    draw: createDraw(Number(values.seed)),
  };
  const result = beginResult("compare", {
    topology: "two network namespaces joined by veth, one tunnel process each; plane: one thread, in memory",
    mtu: [Number(values.mtu)],
    pinning: "none",
    seed: Number(values.seed),
    runtime: `node ${options.runtime.version}`,
    baselines: { before: commitOf(options.roots.before) },
  });
  const cells = new Set(values.cells.split(","));
  if (cells.has("plane")) result.cells.push(...(await comparePlanes(options)));
  if (cells.has("tunnel")) result.cells.push(...(await compareTunnels(options)));
  for (const cell of result.cells) print(cell);
  endResult(result, values);
  return 0;
}

async function comparePlanes({ pairs, roots, runtime, draw }) {
  const samples = new Map();
  const units = new Map();
  for (let pair = 0; pair < pairs; pair++) {
    for (const arm of shuffled(ARMS, draw)) {
      for (const { name, params, unit, median } of await runPlane(roots[arm], runtime.path)) {
        units.set(name, { params, unit });
        samples.set(name, [...(samples.get(name) ?? []), { arm, pair, value: median, valid: true }]);
      }
    }
    console.error(`plane: pair ${pair + 1} of ${pairs}`);
  }
  return [...samples].map(([name, list]) =>
    cellOf({ name: `plane, ${name}`, ...units.get(name), samples: list, arms: ARMS }),
  );
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

/** All three tunnels are up at the same time, each in namespaces of its own; an idle one costs nothing. */
async function compareTunnels({ pairs, seconds, roots, runtime, mtu, draw }) {
  const lab = createLab();
  try {
    const arms = [];
    for (const name of ARMS) {
      const main = mainOf(roots[name]);
      const arm = await openPosternWg(lab, { mtu: Number(mtu), runtime, name, main });
      await openServers(arm);
      for (const direction of ["up", "down"]) await tcp(arm, { direction, seconds: 2 });
      arms.push(arm);
    }
    const cells = [];
    for (const direction of ["up", "down"]) {
      const samples = [];
      for (let pair = 0; pair < pairs; pair++) {
        for (const arm of shuffled(arms, draw)) {
          samples.push({ arm: arm.name, pair, ...(await tcp(arm, { direction, seconds })) });
        }
        console.error(`tunnel, ${direction}: pair ${pair + 1} of ${pairs}`);
      }
      const params = { mtu: Number(mtu), direction, seconds };
      cells.push(cellOf({ name: `tcp-${direction}-${mtu}`, params, unit: "Gbit/s", samples, arms: ARMS }));
    }
    return cells;
  } finally {
    await lab.close();
  }
}

function commitOf(root) {
  return spawnSync("git", ["rev-parse", "HEAD"], { ...ASKED, cwd: root, encoding: "utf8" }).stdout.trim();
}

/** A load that the other checkout does not know has no ratio to it; one that only that knows is left out. */
function print({ name, unit, ratio_to: ratios, arms }) {
  if (arms.now === undefined) return;
  const of = (arm) => {
    const ratio = ratios[arm];
    if (ratio === undefined) return `none of ${arm}`;
    return `${ratio.median.toFixed(3)}× ${arm} [${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}]`;
  };
  console.error(`${name.padEnd(44)} ${arms.now.median.toFixed(3)} ${unit}: ${of("before")}, ${of("again")}`);
}

process.exitCode = await main();
