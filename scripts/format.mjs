/**
 * Formats everything and mends what Biome can mend safely.
 *
 *   node scripts/format.mjs
 */
import { join } from "node:path";
import { checkAssembly } from "./assembly-style.mjs";
import { BIN, run } from "./steps.mjs";

const results = [
  await run(join(BIN, "biome"), ["check", "--write", "--error-on-warnings", "--colors=off"]),
  await checkAssembly({ isWrite: true }),
];
for (const { status, output } of results) if (status !== 0) process.stderr.write(output);
process.exitCode = results.some(({ status }) => status !== 0) ? 1 : 0;
