/**
 * Compiles the packet plane, one module for each target of asconfig.json, where its inputs changed.
 *
 *   node scripts/asc.mjs [--force] [--aead] [TARGET ...]
 *
 * --aead compiles the AEAD alone, to .cache/aead-TARGET.wasm: for work on them.
 *
 * A module's inputs are the sources of the plane (of the AEAD alone: its folder), the configuration with what
 * it names, and the compiler's version; their hash stands in build/.asc-NAME. A module appears under its name only when it is complete.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { filesBelow, ROOT } from "./steps.mjs";

const PLANE = "assembly/index.ts";
const RELAY = "assembly/relay/index.ts";
const AEAD = "assembly/crypto/exports.ts";
/** The target that is no cipher variant: its module encrypts nothing. */
export const RELAY_TARGET = "relay";
/** A compilation keeps one core busy and takes some 300 MB. */
const WORKERS_MAX = 2;

function inputsHash(folder, config) {
  const hash = createHash("sha256");
  const compiler = createRequire(import.meta.url)("assemblyscript/package.json").version;
  hash.update(`${compiler}\n${JSON.stringify(config)}\n`);
  const sources = filesBelow(folder, ".ts").filter((file) => !file.includes("__tests__"));
  const transforms = config.flatMap(({ transform = [] }) => transform);
  for (const file of [...transforms, ...sources.sort()]) {
    hash.update(`${file}\n`).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest("hex");
}

function entryOf(target) {
  return target === RELAY_TARGET ? RELAY : PLANE;
}

/** What there is to compile: `{ target, entry, outFile, stamp, hash }`. */
function jobsFor({ targets, isAead, isForced }) {
  const config = JSON.parse(readFileSync(join(ROOT, "asconfig.json"), "utf8"));
  const names = Object.keys(config.targets).filter((target) => !isAead || target !== RELAY_TARGET);
  const jobs = names.map((target) => {
    const options = config.targets[target];
    const entry = isAead ? AEAD : entryOf(target);
    const outFile = isAead ? options.outFile.replace("build/plane-", ".cache/aead-") : options.outFile;
    return {
      target,
      entry,
      outFile,
      stamp: join(ROOT, "build", `.asc-${basename(outFile, ".wasm")}`),
      hash: inputsHash(dirname(isAead ? AEAD : PLANE), [config.options, options]),
    };
  });
  const unknown = targets.filter((name) => !jobs.some((job) => job.target === name));
  if (unknown.length > 0) throw new Error(`asconfig.json has no target ${unknown.join(", ")}`);
  return jobs.filter((job) => {
    if (targets.length > 0 && !targets.includes(job.target)) return false;
    const isFresh =
      existsSync(join(ROOT, job.outFile)) &&
      existsSync(job.stamp) &&
      readFileSync(job.stamp, "utf8") === job.hash;
    return isForced || !isFresh;
  });
}

/**
 * Compiles targets, two at a time.
 * @param targets names in asconfig.json; none: all
 * @returns what the compiler said of each failed one; empty on success
 */
export async function compileWasm({ targets = [], isAead = false, isForced = false } = {}) {
  for (const folder of ["build", ".cache"]) mkdirSync(join(ROOT, folder), { recursive: true });
  const jobs = jobsFor({ targets, isAead, isForced });
  const failures = [];
  const next = jobs.values();
  const lane = async () => {
    for (const job of next) {
      const said = await compileInWorker(job);
      if (said !== undefined) failures.push(`${job.outFile}: ${said}`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(WORKERS_MAX, jobs.length) }, lane));
  return failures;
}

function compileInWorker(job) {
  return new Promise((resolve) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: job });
    worker.on("message", resolve);
    worker.on("error", (error) => resolve(error.stack ?? error.message));
  });
}

/** Runs in a worker thread: one compilation. */
async function compile({ target, entry, outFile, stamp, hash }) {
  const { default: asc } = await import("assemblyscript/asc");
  const unfinished = `${outFile}.${process.pid}`;
  const { error, stderr } = await asc.main([
    entry,
    "--target",
    target,
    "--outFile",
    unfinished,
    "--baseDir",
    ROOT,
  ]);
  if (error) return `${error.message}\n${stderr.toString()}`;
  renameSync(join(ROOT, unfinished), join(ROOT, outFile));
  writeFileSync(stamp, hash);
  return undefined;
}

async function main(args) {
  const failures = await compileWasm({
    targets: args.filter((arg) => !arg.startsWith("--")),
    isAead: args.includes("--aead"),
    isForced: args.includes("--force"),
  });
  for (const said of failures) process.stderr.write(`${said}\n`);
  return failures.length === 0 ? 0 : 1;
}

if (!isMainThread && workerData?.outFile !== undefined) {
  parentPort.postMessage(await compile(workerData));
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
