/**
 * Builds what is missing or stale: `build/program` (the programs, bundled), `build/src` and `build/bindings` (tsc),
 * and `build/*.wasm` (asc).
 *
 *   node scripts/build.mjs [--force] [--first]
 *
 * --first makes what a start needs: the programs, and of the plane's modules those that this runtime will use,
 * and the relay's. It leaves `build/.rest` when anything else is missing: the launcher has that made while the
 * program runs.
 *
 * One build at a time: the lock is the launcher's, `.cache/start.lock`.
 *
 * Each part has a stamp whose time is the moment before the part was begun, so that a file saved
 * during a build is built next time. `build/.stamp` carries the time of the last run that found or
 * made everything up to date: the launcher compares it with the sources (`find -newer`).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileWasm, RELAY_TARGET } from "./asc.mjs";
import { bundle, isBundled } from "./bundle.mjs";
import { BIN, filesBelow, newest, ROOT, run, step } from "./steps.mjs";

const BUILD = join(ROOT, "build");
/** Exists while modules are missing that `--first` left out. */
const REST = join(BUILD, ".rest");
/** What `flock` is told to end with when somebody else has the lock. */
const IS_BUSY = 75;
/** Others build before us, and a busy machine takes minutes. */
const BUILD_MS_MAX = 3_600_000;

const PROGRAMS = {
  name: "program",
  title: "build: programs",
  sources: ["src", "bindings", "scripts/bundle.mjs", "package-lock.json"],
  make: bundle,
};
const TYPESCRIPT = {
  name: "src",
  title: "build: src, bindings",
  sources: ["src", "bindings", "tsconfig.json", "package-lock.json"],
  make: compileTypeScript,
};
const PLANE = {
  name: "wasm",
  title: "build: packet plane (wasm)",
  sources: [
    "assembly",
    "asconfig.json",
    "scripts/asc.mjs",
    "scripts/cold.mjs",
    "scripts/gen",
    "package-lock.json",
  ],
  make: compilePlane,
};
const PARTS = [PROGRAMS, TYPESCRIPT, PLANE];

async function compileTypeScript() {
  // Output without a source would still be found by imports, and by the tests.
  for (const room of ["src", "bindings"]) {
    for (const file of filesBelow(join("build", room), ".js")) {
      const source = file.slice("build/".length).replace(/\.js$/, ".ts");
      if (existsSync(join(ROOT, source))) continue;
      for (const suffix of [".js", ".js.map", ".d.ts"]) {
        rmSync(join(ROOT, file.replace(/\.js$/, suffix)), { force: true });
      }
    }
  }
  return await run(join(BIN, "tsc"), ["-p", "tsconfig.json"]);
}

async function compilePlane(targets = []) {
  const failures = await compileWasm({ targets });
  return { status: failures.length === 0 ? 0 : 1, output: failures.join("\n") };
}

/**
 * The modules that the programs would try, from the table by which they choose. They run in this runtime, unless
 * the launcher was told of another one than Node, which does not build.
 */
async function candidates() {
  const { candidatesFor, readRuntimeFacts } = await import(join(BUILD, "program", "candidates.js"));
  const runtime = process.env.POSTERN_RUNTIME;
  const other = runtime === "deno" || runtime === "bun" ? { runtime, hasRelaxedSimd: true } : {};
  return candidatesFor({ ...readRuntimeFacts(), ...other }).candidates.map(({ name }) => name);
}

function stampOf(part) {
  return join(BUILD, `.stamp-${part.name}`);
}

function isStale(part) {
  const stamp = stampOf(part);
  return !existsSync(stamp) || newest(part.sources) > statSync(stamp).mtimeMs;
}

/** @returns the step's status; 0 when nothing was to do */
async function stepIfStale(part, isForced = false) {
  if (!isForced && !isStale(part)) return 0;
  const begun = new Date();
  const status = await step(part.title, () => part.make());
  if (status === 0) stamp(stampOf(part), begun);
  return status;
}

async function buildFirst() {
  if (isStale(TYPESCRIPT) || isStale(PLANE)) writeFileSync(REST, "");
  const status = await buildPrograms();
  if (status !== 0 || !isStale(PLANE)) return status;
  const targets = [...(await candidates()), RELAY_TARGET];
  return await step(`${PLANE.title}: ${targets.join(", ")}`, () => compilePlane(targets));
}

/** Without a bundler the programs are what tsc makes. */
async function buildPrograms() {
  const status = await stepIfStale(PROGRAMS);
  return status !== 0 || isBundled() ? status : await stepIfStale(TYPESCRIPT);
}

async function buildAll(isForced) {
  for (const part of PARTS) {
    const status = await stepIfStale(part, isForced);
    if (status !== 0) return status;
  }
  rmSync(REST, { force: true });
  return 0;
}

async function main(args) {
  mkdirSync(BUILD, { recursive: true });
  const started = new Date();
  const status = args.includes("--first") ? await buildFirst() : await buildAll(args.includes("--force"));
  if (status === 0) stamp(join(BUILD, ".stamp"), started);
  return status;
}

function stamp(path, time) {
  writeFileSync(path, "");
  utimesSync(path, time, time);
}

/**
 * Runs this command line again under the lock; `flock` keeps it as long as the process lives, however
 * it ends. Without `flock` there is no lock.
 */
function runLocked(args) {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  const lock = join(ROOT, ".cache", "start.lock");
  const self = [lock, process.execPath, fileURLToPath(import.meta.url), ...args];
  const options = { stdio: "inherit", env: { ...process.env, POSTERN_IS_LOCKED: "1" } };
  let { error, status } = spawnSync(
    "flock",
    ["--nonblock", "--conflict-exit-code", String(IS_BUSY), ...self],
    { ...options, timeout: BUILD_MS_MAX },
  );
  if (error === undefined && status === IS_BUSY) {
    console.error("build: waiting for another start or build");
    ({ status } = spawnSync("flock", self, { ...options, timeout: BUILD_MS_MAX }));
  }
  return error === undefined ? (status ?? 1) : undefined;
}

const args = process.argv.slice(2);
const locked = process.env.POSTERN_IS_LOCKED === "1" ? undefined : runLocked(args);
process.exitCode = locked ?? (await main(args));
