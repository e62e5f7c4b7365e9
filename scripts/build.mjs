/**
 * Builds what is missing or stale: `build/src`, `build/bindings` (tsc) and `build/plane-*.wasm` (asc).
 *
 *   node scripts/build.mjs [--force]
 *
 * Each part has a stamp whose time is the moment before the part was begun, so that a file saved
 * during a build is built next time. `build/.stamp` carries the time of the last run that found or
 * made everything up to date: the launcher compares it with the sources (`find -newer`).
 */
import { existsSync, mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BIN, filesBelow, newest, ROOT, run, step } from "./steps.mjs";

const BUILD = join(ROOT, "build");
const PARTS = [
  {
    name: "src",
    title: "build: src, bindings",
    sources: ["src", "bindings", "tsconfig.json", "package-lock.json"],
    make: compileTypeScript,
  },
  {
    name: "wasm",
    title: "build: packet plane (wasm)",
    sources: ["assembly", "asconfig.json", "scripts/asc.mjs", "scripts/gen", "package-lock.json"],
    make: compilePlane,
  },
];

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

async function compilePlane() {
  const script = join(ROOT, "scripts", "asc.mjs");
  if (!existsSync(script)) return { status: 0, output: "" };
  return await run(process.execPath, [script]);
}

function stampOf(part) {
  return join(BUILD, `.stamp-${part.name}`);
}

function isStale(part) {
  const stamp = stampOf(part);
  return !existsSync(stamp) || newest(part.sources) > statSync(stamp).mtimeMs;
}

async function main() {
  mkdirSync(BUILD, { recursive: true });
  const isForced = process.argv.includes("--force");
  const started = new Date();
  for (const part of PARTS) {
    if (!isForced && !isStale(part)) continue;
    const begun = new Date();
    const status = await step(part.title, part.make);
    if (status !== 0) return status;
    stamp(stampOf(part), begun);
  }
  stamp(join(BUILD, ".stamp"), started);
  return 0;
}

function stamp(path, time) {
  writeFileSync(path, "");
  utimesSync(path, time, time);
}

process.exitCode = await main();
