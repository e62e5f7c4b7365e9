/**
 * What needs no test runner (layer L0, TS): types of everything including tests, format and lint,
 * and generated files that are what their generators make.
 *
 *   node scripts/check.mjs
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BIN, ROOT, run, step } from "./steps.mjs";

async function main() {
  const statuses = [
    await step("check: types", () => run(join(BIN, "tsc"), ["-p", "tsconfig.test.json"])),
    await step("check: format and lint (biome)", () =>
      run(join(BIN, "biome"), ["check", "--error-on-warnings", "--colors=off"]),
    ),
  ];
  const generator = join(ROOT, "scripts", "generate.mjs");
  if (existsSync(generator)) {
    statuses.push(await step("check: generated files", () => run(process.execPath, [generator, "--check"])));
  }
  return statuses.every((status) => status === 0) ? 0 : 1;
}

process.exitCode = await main();
