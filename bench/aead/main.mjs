/**
 * ChaCha20-Poly1305 against OpenSSL's, one thread (G-5).
 *
 *   npm run bench -- aead [--runtime node20|node24|PATH] [--cipher NAME] [--pairs 5]
 *                         [--sizes 64,1280,1420,16384] [--attempts 25] [--verify] [--json]
 *
 * The variant that a start would choose is verified before and after. Two ways, with cells of their own:
 *
 *   in runs   as the plane's loops do it with datagrams of one length in a row: sealing in batches of 32 with deferred
 *             tags, and where the variant makes keys or blocks in advance, with those of as many as it makes at a time
 *   singly    each message by itself, its tag at once, nothing in advance: what the first of a run costs
 *
 * OpenSSL is `openssl speed`, which seals, message by message under one key with nothing else to do; where the processor has AVX-512, which V8 does not use, it is
 * measured a second time without. All run on one processor, where a probe tells whether a stranger on the
 * host shares the core. --verify ends before the measurement. Needs `npm run build` and taskset.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  chooseCipher,
  createOracle,
  findFault,
  openBench,
  openMany,
  openSingly,
  sealMany,
  sealSingly,
} from "../../build/bindings/cipher/index.js";
import { runInOurPlace } from "../lib/ending.mjs";
import { ASKED, MEASURED } from "../lib/limits.mjs";
import { settle, validSample } from "../lib/quiet.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled, spread } from "../lib/statistics.mjs";

/** PF-50: 0 to 699, every 7th to 1,500, every 23rd to 2,200. */
const LENGTHS = Array.from({ length: 2200 }, (_, i) => i).filter(
  (i) => i < 700 || (i < 1500 && i % 7 === 0) || i % 23 === 0,
);
/** What is measured of ours, one cell per size each. */
const OPERATIONS = [
  { name: "seal in runs", operation: "seal", batch: 32, work: sealMany },
  { name: "open in runs", operation: "open", batch: 32, work: openMany },
  { name: "seal singly", operation: "seal", batch: 1, work: sealSingly },
  { name: "open singly", operation: "open", batch: 1, work: openSingly },
];
const SPREAD_MAX = 0.15;
/** Short enough to end within one state of the machine. */
const ARM_MS = 200;

const OPTIONS = {
  runtime: { type: "string" },
  cipher: { type: "string" },
  pairs: { type: "string", default: "5" },
  sizes: { type: "string", default: "64,1280,1420,16384" },
  seed: { type: "string", default: "1" },
  // An invalid sample is repeated, then kept and reported (TS-50).
  attempts: { type: "string", default: "25" },
  verify: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
};

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.runtime !== undefined) return runOn(findRuntime(values.runtime).path);

  const { name, module, candidates, setUpMs } = chooseCipher({ cipher: values.cipher });
  const bench = openBench(module);
  if (!isVerified(bench)) return 1;
  const tried = candidates.map((c) =>
    c.ok ? `${c.name} ${c.sealGBps.toFixed(2)}` : `${c.name}: ${c.reason}`,
  );
  console.error(
    `${process.version}: ${name} verified (${tried.join(", ")}; chosen in ${setUpMs.toFixed(0)} ms)`,
  );
  if (values.verify) return 0;

  const result = beginResult("aead", {
    topology: "one thread",
    pinning: `processor ${await settle()}`,
    seed: Number(values.seed),
    runtime: `${process.version}, V8 ${process.versions.v8}, cipher ${name}`,
    baselines: { openssl: execFileSync("openssl", ["version"], { ...ASKED, encoding: "utf8" }).trim() },
  });
  const draw = createDraw(Number(values.seed));
  for (const size of values.sizes.split(",").map(Number)) {
    result.cells.push(...cellsFor(bench, size, Number(values.pairs), Number(values.attempts), draw));
  }
  if (!isVerified(bench)) return 1;
  console.error(table(result.cells));
  endResult(result, values);
  return 0;
}

/** Runs this part on another runtime, with the same options. */
function runOn(path) {
  const args = process.argv.slice(2);
  const at = args.findIndex((arg) => arg.startsWith("--runtime"));
  args.splice(at, args[at] === "--runtime" ? 2 : 1);
  return runInOurPlace(path, [fileURLToPath(import.meta.url), ...args], MEASURED);
}

function isVerified(bench) {
  const fault = findFault(bench, createOracle(), LENGTHS);
  if (fault !== undefined) console.error(fault);
  return fault === undefined;
}

function openSslGBps(size, env) {
  const args = ["speed", "-evp", "chacha20-poly1305", "-bytes", String(size), "-seconds", "1"];
  const said = execFileSync("openssl", args, {
    ...ASKED,
    encoding: "utf8",
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const thousands = /([\d.]+)k\s*$/.exec(said);
  if (thousands === null) throw new Error(`openssl speed said: ${said}`);
  return Number(thousands[1]) / 1e6;
}

/** OpenSSL's ways on this processor: as it is, and as it would be without AVX-512. */
function openSslArms() {
  const hasAvx512 = /^flags.*\bavx512f\b/m.test(readFileSync("/proc/cpuinfo", "latin1"));
  // The bits of leaf 7's EBX for AVX-512 F, DQ, IFMA, CD, BW and VL, cleared (OPENSSL_ia32cap(3)).
  const withoutAvx512 = { OPENSSL_ia32cap: ":~0xd0230000" };
  return { openssl: {}, ...(hasAvx512 ? { "openssl-avx2": withoutAvx512 } : {}) };
}

/**
 * GB/s of our processor time, which is what `openssl speed` divides by too: others on the machine cost
 * less that way.
 */
function posternGBps(bench, work, size) {
  const messages = 32 * Math.ceil(50_000 / (size + 100));
  const started = process.cpuUsage();
  let [rounds, microseconds] = [0, 0];
  for (; microseconds < 1000 * ARM_MS; rounds++) {
    work(bench, size, messages);
    const { user, system } = process.cpuUsage(started);
    microseconds = user + system;
  }
  return (rounds * messages * size) / microseconds / 1000;
}

/** One sample of each arm in an order that is drawn; of ours one of each operation. */
function measurePair(bench, size, pair, attempts, draw) {
  const arms = Object.entries(openSslArms()).map(([arm, env]) => ({
    arm,
    operations: OPERATIONS.map(({ name }) => name),
    work: () => openSslGBps(size, env),
  }));
  for (const { name, work } of OPERATIONS)
    arms.push({ arm: "postern", operations: [name], work: () => posternGBps(bench, work, size) });
  return shuffled(arms, draw).map(({ arm, operations, work }) => ({
    operations,
    sample: { arm, pair, ...validSample(work, attempts) },
  }));
}

/** The cells of one size: sealing and opening, all against OpenSSL's sealing. */
function cellsFor(bench, size, pairs, attempts, draw) {
  const measured = [];
  for (let pair = 0; pair < pairs; pair++) measured.push(...measurePair(bench, size, pair, attempts, draw));
  return OPERATIONS.map(({ name, operation, batch }) => {
    const samples = measured.flatMap(({ operations, sample }) => (operations.includes(name) ? [sample] : []));
    const notes = [];
    if (samples.some(({ valid }) => !valid)) notes.push("machine not quiet in some samples");
    const base = samples.filter(({ arm }) => arm === "openssl").map(({ value }) => value);
    if (spread(base) > SPREAD_MAX) notes.push("invalid: baseline spreads by more than 15 %");
    return cellOf({
      name: `${name} ${size}`,
      params: { operation, bytes: size, batch },
      unit: "GB/s",
      arms: ["postern", ...Object.keys(openSslArms())],
      samples,
      notes: notes.join("; "),
    });
  });
}

function table(cells) {
  const arms = Object.keys(cells[0].arms);
  const head = ["", ...arms.map((arm) => `${arm} GB/s`), ...arms.slice(1).map((arm) => `to ${arm}`), "notes"];
  const rows = cells.map((cell) => [
    cell.name,
    ...arms.map((arm) => cell.arms[arm].median.toFixed(3)),
    ...arms.slice(1).map((arm) => cell.ratio_to[arm].median.toFixed(3)),
    cell.notes,
  ]);
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

process.exitCode = await main();
