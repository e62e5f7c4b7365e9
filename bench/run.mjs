/**
 * Runs a benchmark: `npm run bench -- PART [OPTIONS]`; without a part it lists them.
 *
 * A part is a folder with a `main.mjs`. All take `--json` (the result of TS-59 as the last line of
 * stdout) and write nothing outside `bench/results/` and `.cache/`.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../scripts/steps.mjs";

const BENCH = join(ROOT, "bench");

function parts() {
  return readdirSync(BENCH).filter((name) => existsSync(join(BENCH, name, "main.mjs")));
}

/** The first sentence of a part's head comment. */
function summaryOf(name) {
  const text = readFileSync(join(BENCH, name, "main.mjs"), "utf8");
  const comment = /\/\*\*\s*\n?([\s\S]*?)\*\//.exec(text)?.[1] ?? "";
  return comment
    .replace(/^\s*\*\s?/gm, "")
    .split(/\.(\s|$)/)[0]
    .replace(/\s+/g, " ")
    .trim();
}

function main([name, ...args]) {
  if (name === undefined || !parts().includes(name)) {
    if (name !== undefined) console.error(`bench: no part '${name}'`);
    console.error("usage: npm run bench -- PART [OPTIONS]\n");
    for (const part of parts()) console.error(`  ${part.padEnd(11)} ${summaryOf(part)}`);
    return name === undefined ? 0 : 2;
  }
  const build = spawnSync(process.execPath, [join(ROOT, "scripts", "build.mjs")], {
    stdio: ["ignore", 2, 2],
  });
  if (build.status !== 0) return 1;
  const main = join(BENCH, name, "main.mjs");
  return spawnSync(process.execPath, [main, ...args], { stdio: "inherit" }).status ?? 1;
}

process.exitCode = main(process.argv.slice(2));
