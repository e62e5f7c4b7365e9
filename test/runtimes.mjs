/**
 * `npm run test:runtimes`: the tests that start programs, with the programs in each runtime; the runner stays the
 * Node that it is (D-28). Takes about the time of the system tests for each, so it is run by hand.
 *
 *   node test/runtimes.mjs [--only NAME,…] [--resume] [--table] [FILTER…]
 *
 * FILTER is a part of a file's path. File after file, each result is kept at once in `.cache/runtimes.json`: `--resume`
 * leaves out what has passed there, `--table` runs nothing and prints what is kept, as docs/long-runs.md has it. A
 * runtime that cannot be installed is named and counts as a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { installPinned } from "../scripts/runtimes.mjs";
import { BIN, filesBelow, ROOT } from "../scripts/steps.mjs";

/** What tests start our programs by. */
const STARTER = "test/lib/program.ts";
/** The longest file takes two minutes on a quiet machine. */
const FILE_MS_MAX = 15 * 60_000;
const REPORT = join(ROOT, ".cache", "vitest-runtimes.json");
/** By runtime, then by file: counts, the names of what failed, seconds, load. */
const KEPT = join(ROOT, ".cache", "runtimes.json");

const RUNNER = `node${process.versions.node.split(".")[0]}`;
const NAMES = [...new Set([RUNNER, "node24", "node26", "deno", "bun"])];

/** Test files that start programs, by themselves or by what they import. */
function filesThatStart() {
  const files = filesBelow("test", ".ts");
  const starting = new Set([STARTER]);
  for (let before = 0; before < starting.size; ) {
    before = starting.size;
    for (const file of files) if (importsOf(file).some((name) => starting.has(name))) starting.add(file);
  }
  return [...starting]
    .filter((file) => /^test\/(system|interop)\/.*(?<!\.long)\.test\.ts$/.test(file))
    .sort();
}

function importsOf(file) {
  const found = readFileSync(join(ROOT, file), "utf8").matchAll(/from "(\.[^"]+)"/g);
  return [...found].map(([, name]) => relative(ROOT, join(ROOT, dirname(file), name)));
}

/** @returns counts, and the names of what failed */
function runFile(name, file) {
  rmSync(REPORT, { force: true });
  const startedAt = performance.now();
  const load = Math.round(loadavg()[0]);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`];
  spawnSync(join(BIN, "vitest"), ["run", ...reporters, file], {
    timeout: FILE_MS_MAX,
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, POSTERN_TEST_RUNTIME: name === RUNNER ? "node" : name },
  });
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const { numPassedTests: passed, numPendingTests: skipped, testResults } = readReport();
  const names = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter((test) => test.status === "failed").map(({ fullName }) => fullName),
  );
  // A file fails without one of its tests where what all of them need could not be set up.
  const isWhole = testResults.length > 0 && testResults.every(({ status }) => status === "passed");
  if (!isWhole && names.length === 0) names.push("could not run, or not to its end");
  return { passed, failed: names.length, skipped, names, seconds, load };
}

/** Without one vitest was ended by its limit. */
function readReport() {
  try {
    return JSON.parse(readFileSync(REPORT, "utf8"));
  } catch {
    return { numPassedTests: 0, numPendingTests: 0, testResults: [] };
  }
}

function readKept() {
  try {
    return JSON.parse(readFileSync(KEPT, "utf8"));
  } catch {
    return {};
  }
}

/** Runs what `--resume` does not leave out. @returns whether nothing failed */
function runAll(names, files, { isResumed }) {
  const kept = readKept();
  let isGood = files.length > 0;
  for (const name of names) {
    const reason = name === RUNNER ? undefined : installPinned(name);
    if (reason !== undefined) {
      console.log(`FAIL ${name} cannot be installed: ${reason}`);
      isGood = false;
      continue;
    }
    kept[name] ??= {};
    for (const file of files) {
      if (isResumed && kept[name][file]?.failed === 0) continue;
      const result = runFile(name, file);
      kept[name][file] = result;
      writeFileSync(KEPT, JSON.stringify(kept, null, 1));
      for (const failure of result.names) console.log(`FAIL ${name} ${file}: ${failure}`);
      console.log(`${name} ${file}: ${cellOf(result)}, ${result.seconds} s, load ${result.load}`);
      isGood &&= result.failed === 0;
    }
  }
  return isGood;
}

function cellOf({ passed, failed, skipped }) {
  const parts = [
    [passed, "passed"],
    [failed, "failed"],
    [skipped, "skipped"],
  ];
  return (
    parts.flatMap(([count, word]) => (count > 0 ? [`${count} ${word}`] : [])).join(", ") || "nothing run"
  );
}

/** What is kept of these files, a line for each. */
function tableOf(names, files) {
  const kept = readKept();
  const lines = files.map((file) =>
    [file, ...names.map((name) => kept[name]?.[file]).map((result) => (result ? cellOf(result) : ""))].join(
      " | ",
    ),
  );
  return [
    `| file | ${names.join(" | ")} |`,
    `| --- ${"| --- ".repeat(names.length)}|`,
    ...lines.map((line) => `| ${line} |`),
  ];
}

const { values, positionals } = parseArgs({
  options: { only: { type: "string" }, resume: { type: "boolean" }, table: { type: "boolean" } },
  allowPositionals: true,
});
const names = values.only?.split(",") ?? NAMES;
const files = filesThatStart().filter(
  (file) => positionals.length === 0 || positionals.some((part) => file.includes(part)),
);
mkdirSync(dirname(REPORT), { recursive: true });
const isGood = values.table === true || runAll(names, files, { isResumed: values.resume === true });
console.log(tableOf(names, files).join("\n"));
process.exitCode = isGood ? 0 : 1;
