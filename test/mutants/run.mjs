/**
 * Seeded faults (TS-45): does any test notice them?
 *
 *   npm run test:mutants [-- NN ...] [--patches FOLDER]
 *   npm run test:mutants -- --take NN     the changes of the tree, not committed, become the patch's fault
 *
 * Each `NN.patch` is one fault, with what it is and the tests that must notice it in its first lines:
 *
 *     Fault: WireGuard: the replay window accepts a counter equal to the newest
 *     Test: test/unit/plane/replay-window.test.ts
 *     Build: relay                    targets of asconfig.json, or `programs`; absent: `turbofan` for assembly/
 *     Bound: 240                      seconds; absent: 120
 *
 * The tests run in a copy of the tree. First all of them without any fault, where none may fail; then the
 * patches in turn. A fault that no test notices, a patch that does not apply or whose tests do not load, and a
 * run that ends at its bound fail the whole. What is left in `.cache/mutants` are compiled modules, by the
 * hash of their sources.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { applyPatch, copyTree, environmentOf } from "../../scripts/tree-copy.mjs";

const PATCHES = join(ROOT, "test", "mutants");
const CACHE = join(ROOT, ".cache", "mutants");
const COPY = join(CACHE, `tree-${process.pid}`);
const REPORT = join(COPY, ".cache", "report.json");
const BOUND_SECONDS = 120;
const PROGRAMS = "programs";

function readPatch(folder, name) {
  const path = join(folder, name);
  const text = readFileSync(path, "utf8");
  const values = (key) => [...text.matchAll(new RegExp(`^${key}: (.+)$`, "gm"))].map(([, value]) => value);
  const isOfPlane = /^\+\+\+ b\/assembly\//m.test(text);
  const [builds = isOfPlane ? "turbofan" : ""] = values("Build");
  return {
    name: name.replace(/\.patch$/, ""),
    path,
    isEmpty: !/^diff --git /m.test(text),
    fault: values("Fault")[0] ?? "",
    tests: values("Test"),
    builds: builds.split(" ").filter((build) => build !== ""),
    boundMs: 1000 * Number(values("Bound")[0] ?? BOUND_SECONDS),
  };
}

function apply(patch, ...options) {
  return patch.isEmpty ? undefined : applyPatch(COPY, patch.path, ...options);
}

/** Runs a command in the copy; what is still running at the bound is ended with all its children. */
function runInCopy(command, args, boundMs) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: COPY,
      env: environmentOf(COPY),
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let isLate = false;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk) => {
        output += chunk;
      });
    }
    const timer = setTimeout(() => {
      isLate = true;
      process.kill(-child.pid, "SIGKILL");
    }, boundMs);
    child.on("close", (status) => {
      clearTimeout(timer);
      resolve({ status: status ?? 1, output, isLate });
    });
  });
}

/** Compiles modules of the mutated plane, once per state of its sources. Returns what went wrong. */
async function buildFor({ builds }) {
  if (builds.includes(PROGRAMS)) {
    const { status, output } = await runInCopy(process.execPath, ["scripts/build.mjs"], 600_000);
    if (status !== 0) return output;
  }
  for (const target of builds.filter((build) => build !== PROGRAMS)) {
    const name = target === "relay" ? "relay.wasm" : `plane-${target}.wasm`;
    const hash = createHash("sha256")
      .update(target)
      .update(readFileSync(join(COPY, "asconfig.json")));
    // The copy's files: the clone's may be others by now.
    for (const file of readdirSync(join(COPY, "assembly"), { recursive: true }).sort()) {
      if (file.endsWith(".ts")) hash.update(readFileSync(join(COPY, "assembly", file)));
    }
    const kept = join(CACHE, `${hash.digest("hex").slice(0, 20)}.wasm`);
    if (!existsSync(kept)) {
      const { status, output } = await runInCopy(process.execPath, ["scripts/asc.mjs", target], 600_000);
      if (status !== 0) return output;
      copyFileSync(join(COPY, "build", name), kept);
    } else copyFileSync(kept, join(COPY, "build", name));
  }
  return undefined;
}

/** The modules as they are without the fault. */
function restoreModules({ builds }) {
  for (const target of builds.filter((build) => build !== PROGRAMS)) {
    const name = target === "relay" ? "relay" : `plane-${target}`;
    for (const file of [`${name}.wasm`, `.asc-${name}`]) {
      if (existsSync(join(ROOT, "build", file))) {
        copyFileSync(join(ROOT, "build", file), join(COPY, "build", file));
      }
    }
  }
}

/** Runs test files: how many tests passed, and the names of those that failed. */
async function runTests(files, boundMs) {
  rmSync(REPORT, { force: true });
  const args = ["run", "--no-cache", "--reporter=json", `--outputFile=${REPORT}`, ...files];
  const { output, isLate } = await runInCopy(join(ROOT, "node_modules", ".bin", "vitest"), args, boundMs);
  if (isLate) return { fault: `the tests did not end within ${boundMs / 1000} s` };
  if (!existsSync(REPORT)) return { fault: `the tests did not run:\n${output}` };
  const report = JSON.parse(readFileSync(REPORT, "utf8"));
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  if (unloaded.length > 0) return { fault: `cannot be loaded: ${unloaded.map(({ message }) => message)}` };
  const failed = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === "failed").map(({ fullName }) => fullName),
  );
  return { passed: report.numPassedTests, failed };
}

/** One fault, from its patch to the verdict: `{ isNoticed, said }`. */
async function judge(patch) {
  if (patch.tests.length === 0) return { isNoticed: false, said: "names no tests" };
  const refused = apply(patch);
  if (refused !== undefined) return { isNoticed: false, said: `does not apply any more:\n${refused}` };
  try {
    const broken = await buildFor(patch);
    if (broken !== undefined) return { isNoticed: false, said: `does not build:\n${broken}` };
    const { fault, failed } = await runTests(patch.tests, patch.boundMs);
    if (fault !== undefined) return { isNoticed: false, said: fault };
    if (failed.length === 0) return { isNoticed: false, said: `SURVIVES ${patch.tests.join(" ")}` };
    return { isNoticed: true, said: `noticed by ${failed.length}: ${failed[0]}` };
  } finally {
    apply(patch, "--reverse");
    restoreModules(patch);
  }
}

/** Without a fault the tests pass: otherwise nothing that fails later proves anything. */
async function checkUnchanged(patches) {
  const files = [...new Set(patches.flatMap(({ tests }) => tests))];
  const { fault, failed, passed } = await runTests(files, 1000 * 10 * BOUND_SECONDS);
  if (fault !== undefined) return fault;
  if (failed.length > 0) return `fails without any fault: ${failed.join("; ")}`;
  return passed === 0 ? "no test ran" : undefined;
}

/** For a patch that does not apply any more: somebody has made its fault again, by hand. */
function take(name) {
  const path = join(PATCHES, `${name.padStart(2, "0")}.patch`);
  const [head = ""] = existsSync(path) ? readFileSync(path, "utf8").split(/^diff --git /m, 1) : [];
  const { stdout } = spawnSync("git", ["diff", "--no-color", "-U1", "--", "assembly", "bindings", "src"], {
    timeout: 60_000,
    cwd: ROOT,
    encoding: "utf8",
  });
  if (stdout === "") throw new Error("there is no change below assembly, bindings or src to take");
  writeFileSync(path, head + stdout.replace(/^index .*\n/gm, ""));
  console.log(`${path} written; git restore puts the code right again`);
  return 0;
}

async function main(args) {
  if (args[0] === "--take") return take(args[1] ?? "");
  const at = args.indexOf("--patches");
  const [, folder = PATCHES] = at < 0 ? [] : args.splice(at, 2);
  const wanted = args.map((name) => name.padStart(2, "0"));
  const names = readdirSync(folder).filter((name) => name.endsWith(".patch"));
  const patches = names
    .sort()
    .map((name) => readPatch(folder, name))
    .filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  if (patches.length === 0) throw new Error(`no patch in ${folder} has such a name: ${wanted.join(" ")}`);
  rmSync(COPY, { recursive: true, force: true });
  copyTree(COPY);
  const fault = await checkUnchanged(patches);
  if (fault !== undefined) throw new Error(`the tree without faults: ${fault}`);
  let unnoticed = 0;
  for (const patch of patches) {
    const started = Date.now();
    const { isNoticed, said } = await judge(patch);
    if (!isNoticed) unnoticed++;
    const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(6);
    console.log(`${patch.name} ${seconds} s  ${patch.fault}\n             ${said}`);
  }
  console.log(`${patches.length - unnoticed} noticed, ${unnoticed} not`);
  return unnoticed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(COPY, { recursive: true, force: true });
}
