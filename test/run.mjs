/**
 * `npm test`: everything in order, closed by one line with the sum (TS-66, TS-69).
 *
 *   node test/run.mjs          packages, build, checks, as-pect, vitest
 *   node test/run.mjs --long   only test/**\/*.long.test.ts: minutes to hours, run by hand
 *
 * `.npmrc` switches scripts off, so there is no pretest: this one program does it all. A step that
 * fails counts as one failed test; what can still run after it does.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { installPinned } from "../scripts/runtimes.mjs";
import { BIN, filesBelow, ROOT, run, step } from "../scripts/steps.mjs";
import { ALONE } from "./alone.mjs";
import { nameLeft, putBack, takeTraces } from "./traces.mjs";

/** An ordinary user's PATH lacks the folders where ip and nft may lie (PG-173). */
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin` };

const REPORT = join(ROOT, ".cache", "vitest.json");

/** Adds up what the steps report. */
function createTally() {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  return {
    sum,
    /** Names of what failed and what was skipped, said again at the end. */
    named: [],
    add(counts) {
      for (const key of Object.keys(sum)) sum[key] += counts[key] ?? 0;
    },
  };
}

/** Prints what a script says by itself: it has its own progress lines. */
async function runScript(tally, path, args = []) {
  const { status } = await run(process.execPath, [join(ROOT, path), ...args], { show: true });
  if (status !== 0) fail(tally, path);
  return status === 0;
}

/** Counts one failure and keeps its name. */
function fail(tally, name) {
  tally.add({ failed: 1 });
  tally.named.push(`FAIL ${name}`);
}

async function runAsPect(tally) {
  if (!existsSync(join(ROOT, "as-pect.config.js")) || filesBelow("assembly", ".spec.ts").length === 0) return;
  let result = { status: 1, output: "" };
  await step("test: AssemblyScript (as-pect)", async () => {
    result = await run(join(BIN, "asp"), ["--summary", "--no-logo"]);
    return result;
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the colours of a terminal
  const text = result.output.replace(/\x1b\[[0-9;]*m/g, "");
  const counts = [...text.matchAll(/\[Tests\]\s*:?\s*(\d+)\s*\/\s*(\d+)/g)].map((match) => ({
    passed: Number(match[1]),
    failed: Number(match[2]) - Number(match[1]),
  }));
  for (const count of counts) tally.add(count);
  const isSilent = counts.length === 0 || counts.every((count) => count.passed + count.failed === 0);
  const isCounted = counts.some((count) => count.failed > 0);
  if ((result.status !== 0 && !isCounted) || isSilent) fail(tally, "as-pect");
  if (isCounted) tally.named.push("FAIL as-pect");
}

const TUN = "/dev/net/tun";
const UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount"];

/**
 * What comes before a command so that the tests may make network namespaces. An ordinary user gets some of
 * its own, as for the demo (PG-87): they vanish with the last process.
 */
function namespacePrefix() {
  if (process.geteuid() === 0) return [];
  if (
    spawnSync(UNSHARE[0], [...UNSHARE.slice(1), "true"], { timeout: 60_000, env: ENVIRONMENT }).status !== 0
  )
    return [];
  const script = 'mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link set lo up && exec "$@"';
  return [...UNSHARE, "sh", "-c", script, "sh"];
}

/** What will be skipped, and how to change it: better known before a minute of building. */
function announceSkips() {
  if (process.geteuid() !== 0) {
    console.error(
      namespacePrefix().length > 0
        ? "tests run in a user namespace; what needs real root is skipped"
        : "tests in network namespaces are skipped: neither root nor allowed to make user namespaces",
    );
  }
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK);
  } catch {
    console.error(`tests with a TUN device are skipped: no access to ${TUN}; as root: chmod 0666 ${TUN}`);
  }
}

/** Tests with another runtime use the pinned one, if the registry has it; else they are skipped. */
function announceMissing(name) {
  const reason = installPinned(name);
  if (reason !== undefined)
    console.error(`tests with ${name} are skipped: it cannot be installed: ${reason}`);
}

async function runVitest(tally, args) {
  mkdirSync(join(ROOT, ".cache"), { recursive: true });
  rmSync(REPORT, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`];
  const [command, ...rest] = [...namespacePrefix(), join(BIN, "vitest"), "run", ...reporters, ...args];
  const { status } = await run(command, rest, { show: true, env: ENVIRONMENT });
  if (!existsSync(REPORT)) {
    fail(tally, `vitest ${args.join(" ")}: no report`);
    return;
  }
  const report = JSON.parse(readFileSync(REPORT, "utf8"));
  const counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
  tally.add(counts);
  // A file that cannot be loaded has no failed test, and a run without tests is not a success.
  const isFailureUncounted = status !== 0 && counts.failed === 0;
  const isEmpty = counts.passed + counts.failed + counts.skipped === 0;
  if (isFailureUncounted || isEmpty) fail(tally, `vitest ${args.join(" ")}`);
  for (const file of report.testResults) {
    const path = relative(ROOT, file.name);
    if (file.status === "failed" && file.assertionResults.length === 0) tally.named.push(`FAIL ${path}`);
    for (const { status, fullName } of file.assertionResults) {
      if (status !== "passed")
        tally.named.push(`${status === "failed" ? "FAIL" : "SKIP"} ${path}: ${fullName}`);
    }
  }
}

/**
 * Whole programs in network namespaces mostly wait, so two files run at a time; those that measure or flood have the
 * machine for themselves (TS-68).
 */
function vitestRuns(isLong, filters) {
  if (isLong) return [["--config", "vitest.long.config.ts", ...filters]];
  const reporter = `--reporter=${join(ROOT, "test", "hung-files.mjs")}`;
  if (filters.length > 0) return [[reporter, ...filters]];
  const alone = Object.keys(ALONE);
  return [
    [reporter, "test/unit", "test/model", "test/sim", "test/fuzz"],
    [reporter, "test/system", "test/interop", ...alone.flatMap((path) => ["--exclude", path])],
    [reporter, "--no-file-parallelism", ...alone],
  ];
}

async function main() {
  const tally = createTally();
  const isLong = process.argv.includes("--long");
  const filters = process.argv.slice(2).filter((argument) => argument !== "--long");
  announceSkips();
  await run("sh", [join(ROOT, "scripts", "debian-packages.sh")], { show: true });
  for (const name of isLong ? [] : ["deno", "bun"]) announceMissing(name);
  const isBuilt = await runScript(tally, "scripts/build.mjs");
  if (!isLong) {
    await runScript(tally, "scripts/check.mjs");
    await runAsPect(tally);
  }
  // Tests that start programs run what is in build/: without it they only repeat one failure.
  const before = takeTraces();
  for (const args of isBuilt ? vitestRuns(isLong, filters) : []) await runVitest(tally, args);
  putBack(before);
  for (const trace of nameLeft(before, takeTraces())) fail(tally, `the run left on this host: ${trace}`);
  // Every skip is named (TS-69), and every failure where it is found without searching pages of output.
  for (const line of tally.named.sort().reverse()) console.error(line);
  const { passed, failed, skipped } = tally.sum;
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main();
