/**
 * `npm run test:world -- [--hours N | --cases N] [--seed S] [--steps N] [--jobs N] [--cover]`: the model test by the
 * hour (TS-67).
 *
 * Bundles `test/model/world/main.ts`, because Node 20 does not read TypeScript, and runs it.
 */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { rolldown } from "rolldown";
import { ROOT, run } from "../scripts/steps.mjs";

/** As deep as the sources that look for the WebAssembly from where they are. */
const FILE = join(ROOT, ".cache", "world", "run", "main.js");
/** A case leaves much behind: with more room for what is young, a tenth less time goes into collecting it. */
const FLAGS = ["--enable-source-maps", "--max-semi-space-size=32"];

async function bundle() {
  mkdirSync(dirname(FILE), { recursive: true });
  const build = await rolldown({
    input: join(ROOT, "test", "model", "world", "main.ts"),
    cwd: ROOT,
    platform: "node",
    external: [/^node:/, /^koffi$/],
    transform: { target: "node20" },
    logLevel: "warn",
  });
  await build.write({ file: FILE, format: "esm", sourcemap: true, codeSplitting: false });
  await build.close();
}

await bundle();
const { status } = await run(process.execPath, [...FLAGS, FILE, ...process.argv.slice(2)], { show: true });
process.exitCode = status;
