/**
 * Fuzzing by coverage (TS-39 to TS-44).
 *
 *   npm run test:fuzz                              what the everyday command does: corpora and crashes once more
 *   npm run test:fuzz -- --time 600                each target in turn for so many seconds; corpora grow
 *       --target NAME[,NAME]   only these            --seed N    default: the time of day
 *       --runs N               at most so many       --module FILE   a target that lies elsewhere; keeps nothing
 *
 * A finding is written to `crashes/TARGET/HASH`, cut down to what it needs, and ends the target. The everyday
 * command repeats it from then on.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { BIN, ROOT, run } from "../../scripts/steps.mjs";
import { bundleTarget } from "./loop/bundle.mjs";

const FOLDER = join(ROOT, "test", "fuzz");
const CACHE = join(ROOT, ".cache", "fuzz");
/** An input that has not come back after that time never will. */
const HANG_MS = 20_000;
const INPUT_BYTES_MAX = 1 << 17;

export function targetNames() {
  return readdirSync(join(FOLDER, "targets"))
    .filter((name) => name.endsWith(".ts"))
    .map((name) => name.slice(0, -".ts".length));
}

/** Bundles `module` as it is now and imports what packs corpora, from the same sources. */
async function fuzzTarget({ name, module, seed, timeMs, runsMax, corpus }) {
  const { path, blocks } = await bundleTarget(module, join(CACHE, name));
  const watched = new SharedArrayBuffer(8 + INPUT_BYTES_MAX);
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: {
      path,
      options: {
        ...{ seed, timeMs, runsMax, corpus, watched },
        scriptBlocks: blocks.length,
        cache: join(CACHE, "wasm"),
      },
    },
  });
  return await watch(worker, watched);
}

/** The outcome, or what the loop was at when it stopped coming back. */
function watch(worker, watched) {
  const words = new Uint32Array(watched, 0, 2);
  return new Promise((resolve, reject) => {
    let last = -1;
    const timer = setInterval(() => {
      const runs = Atomics.load(words, 0);
      if (runs !== last || runs === 0) {
        last = runs;
        return;
      }
      const input = new Uint8Array(watched, 8).slice(0, words[1]);
      const finding = { kind: "hangs", message: `does not come back within ${HANG_MS / 1000} s`, input };
      void worker.terminate();
      resolve({ runs, kept: [], finding, reached: [], blocks: 0 });
    }, HANG_MS);
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", () => clearInterval(timer));
  });
}

async function archives() {
  const { path } = await bundleTarget("test/fuzz/loop/archive.ts", join(CACHE, "archive"), "whole");
  return await import(pathToFileURL(path).href);
}

function readCorpus(name, { unpackCorpus }) {
  const path = join(FOLDER, "corpus", `${name}.tar.gz`);
  return existsSync(path) ? unpackCorpus(readFileSync(path)) : [];
}

function keep(name, outcome, { packCorpus, nameOf }) {
  const { finding, kept } = outcome;
  if (finding !== undefined) {
    const folder = join(FOLDER, "crashes", name);
    mkdirSync(folder, { recursive: true });
    const path = join(folder, nameOf(finding.input));
    writeFileSync(path, finding.input);
    return path;
  }
  mkdirSync(join(FOLDER, "corpus"), { recursive: true });
  const path = join(FOLDER, "corpus", `${name}.tar.gz`);
  writeFileSync(path, packCorpus(kept));
  return path;
}

function report(name, outcome, seconds, seed) {
  const { runs, kept, finding, reached, blocks } = outcome;
  const rate = Math.round(runs / seconds);
  console.log(
    `${name.padEnd(20)} seed ${seed}: ${runs} runs in ${Math.round(seconds)} s (${rate}/s), ` +
      `${reached.length} of ${blocks} blocks, ${kept.length} inputs`,
  );
  if (finding !== undefined) console.log(`FINDING: ${finding.kind}: ${finding.message}`);
}

async function main(args) {
  if (args.length === 0) {
    const { status } = await run(join(BIN, "vitest"), ["run", "test/fuzz/replay.test.ts"], { show: true });
    return status;
  }
  const { values } = parseArgs({
    args,
    options: {
      time: { type: "string", default: "60" },
      target: { type: "string" },
      seed: { type: "string", default: String(Date.now() % 0x1_0000_0000) },
      runs: { type: "string", default: "Infinity" },
      module: { type: "string" },
    },
  });
  const seed = Number(values.seed);
  const limits = { seed, timeMs: 1000 * Number(values.time), runsMax: Number(values.runs) };
  if (values.module !== undefined) {
    const outcome = await fuzzTarget({ name: "planted", module: values.module, corpus: [], ...limits });
    console.log(JSON.stringify(outcome.finding ?? null));
    return outcome.finding === undefined ? 0 : 1;
  }
  const names = values.target?.split(",") ?? targetNames();
  const unknown = names.filter((name) => !targetNames().includes(name));
  if (unknown.length > 0) throw new Error(`no such target: ${unknown}; there are ${targetNames().join(" ")}`);
  const archive = await archives();
  let findings = 0;
  for (const name of names) {
    const started = performance.now();
    const module = `test/fuzz/targets/${name}.ts`;
    const outcome = await fuzzTarget({ name, module, corpus: readCorpus(name, archive), ...limits });
    report(name, outcome, (performance.now() - started) / 1000, seed);
    console.log(`  ${keep(name, outcome, archive)}`);
    if (outcome.finding !== undefined) findings++;
  }
  return findings === 0 ? 0 : 1;
}

if (!isMainThread && workerData?.path !== undefined) {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  globalThis.gc = runInNewContext("gc");
  const { run: runTarget } = await import(pathToFileURL(workerData.path).href);
  parentPort.postMessage(await runTarget(workerData.options));
} else if (isMainThread && process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
