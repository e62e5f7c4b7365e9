/**
 * What needs no test runner (layer L0, TS): types of everything including tests, format and lint,
 * the length of functions, and generated files that are what their generators make.
 *
 *   node scripts/check.mjs
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkAssembly } from "./assembly-style.mjs";
import { checkFunctions } from "./functions.mjs";
import { BIN, ROOT, run, step } from "./steps.mjs";

/** What makes files of the tree from others. docs/commands.md is compared in a test. */
const GENERATORS = [
  ["generated files", "scripts/generate.mjs"],
  ["bench/RESULTS.md", "bench/report.mjs"],
];

async function main() {
  const statuses = [
    await step("check: types", () => run(join(BIN, "tsc"), ["-p", "tsconfig.test.json"])),
    await step("check: format and lint (biome)", () =>
      run(join(BIN, "biome"), ["check", "--error-on-warnings", "--colors=off"]),
    ),
    await step("check: format and lint of assembly", checkAssembly),
    await step("check: length of functions", checkFunctions),
  ];
  for (const [what, generator] of GENERATORS) {
    const path = join(ROOT, generator);
    if (!existsSync(path)) continue;
    statuses.push(await step(`check: ${what}`, () => run(process.execPath, [path, "--check"])));
  }
  return statuses.every((status) => status === 0) ? 0 : 1;
}

process.exitCode = await main();
