/**
 * `npm run test:runtimes`: the tests that start programs, with the programs in each runtime; the runner stays the
 * Node that it is (D-28). Takes about the time of the system tests for each, so it is run by hand.
 *
 *   node test/runtimes.mjs [--only NAME,…] [FILTER…]
 *
 * FILTER is a part of a file's path. A runtime that cannot be installed is named and counts as a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { installPinned } from "../scripts/runtimes.mjs";
import { BIN, filesBelow, ROOT } from "../scripts/steps.mjs";

/** What tests start our programs by. */
/** All system tests in one runtime; each has a limit of its own. */
const RUN_MS_MAX = 6 * 3_600_000;
const STARTER = "test/lib/program.ts";
const REPORT = join(ROOT, ".cache", "vitest-runtimes.json");

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
function runIn(name, files) {
  const reason = name === RUNNER ? undefined : installPinned(name);
  if (reason !== undefined)
    return { passed: 0, failed: 1, skipped: 0, names: [`cannot be installed: ${reason}`] };
  rmSync(REPORT, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`];
  spawnSync(join(BIN, "vitest"), ["run", "--no-file-parallelism", ...reporters, ...files], {
    timeout: RUN_MS_MAX,
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    env: { ...process.env, POSTERN_TEST_RUNTIME: name === RUNNER ? "node" : name },
  });
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(
    readFileSync(REPORT, "utf8"),
  );
  const failures = testResults.flatMap(({ name: path, status, assertionResults }) => {
    const file = relative(ROOT, path);
    const tests = assertionResults.filter((test) => test.status === "failed");
    if (status === "failed" && tests.length === 0) return [`${file}: could not run`];
    return tests.map(({ fullName }) => `${file}: ${fullName}`);
  });
  return {
    passed: numPassedTests,
    failed: Math.max(numFailedTests, failures.length),
    skipped: numPendingTests,
    names: failures,
  };
}

const { values, positionals } = parseArgs({ options: { only: { type: "string" } }, allowPositionals: true });
const files = filesThatStart().filter(
  (file) => positionals.length === 0 || positionals.some((part) => file.includes(part)),
);
mkdirSync(dirname(REPORT), { recursive: true });
let isGood = files.length > 0;
for (const name of values.only?.split(",") ?? NAMES) {
  const { passed, failed, skipped, names } = runIn(name, files);
  for (const failure of names) console.log(`FAIL ${name} ${failure}`);
  console.log(`${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  isGood &&= failed === 0;
}
process.exitCode = isGood ? 0 : 1;
