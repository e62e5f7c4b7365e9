/**
 * Runs benchmarks: `npm run bench` all that bench/RESULTS.md shows, `npm run bench -- PART [OPTIONS]`
 * one of them, `npm run bench -- --list` names them.
 *
 * A part is a folder with a `main.mjs`. All take `--json` (the result of TS-59 as the last line of
 * stdout) and write nothing outside `.cache/`, or with `--record` `bench/results/`.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../scripts/steps.mjs";
import { runInOurPlace } from "./lib/ending.mjs";
import { MEASURED, WORKED } from "./lib/limits.mjs";
import { RECORDED } from "./lib/result.mjs";

const BENCH = join(ROOT, "bench");
/** With their defaults; the others need arguments. */
const REPEATED = ["aead", "plane", "handshake", "tunnel"];

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

/** What a run took when it was last recorded, in minutes. */
function minutesOf(name) {
  const files = readdirSync(RECORDED).filter((file) => file.includes(`-${name}`));
  const newest = files.sort().at(-1);
  if (newest === undefined) return undefined;
  return Math.ceil(JSON.parse(readFileSync(join(RECORDED, newest), "utf8")).duration_s / 60);
}

function list() {
  console.error("usage: npm run bench [-- PART] [OPTIONS] [--record]\n");
  for (const part of parts()) console.error(`  ${part.padEnd(11)} ${summaryOf(part)}`);
}

function runPart(name, args, env) {
  const main = join(BENCH, name, "main.mjs");
  return runInOurPlace(process.execPath, [main, ...args], { ...MEASURED, env });
}

async function main(args) {
  const isRecord = args.includes("--record");
  const [name, ...rest] = args.filter((arg) => arg !== "--record");
  if (name === "--list" || (name !== undefined && !parts().includes(name))) {
    if (name !== "--list") console.error(`bench: no part '${name}'`);
    list();
    return name === "--list" ? 0 : 2;
  }
  const build = [join(ROOT, "scripts", "build.mjs")];
  const built = await runInOurPlace(process.execPath, build, { ...WORKED, stdio: ["ignore", 2, 2] });
  if (built !== 0) return built;
  const env = { ...process.env, ...(isRecord ? { POSTERN_BENCH_RECORD: "1" } : {}) };
  if (name !== undefined) return await runPart(name, rest, env);
  const minutes = REPEATED.map((part) => `${part} ${minutesOf(part) ?? "?"}`).join(", ");
  console.error(`bench: all that bench/RESULTS.md shows; minutes when last recorded: ${minutes}`);
  let worst = 0;
  for (const part of REPEATED) {
    const status = await runPart(part, [], env);
    // Ended by a signal, which is for all of them.
    if (status > 128) return status;
    worst = Math.max(worst, status);
  }
  return worst;
}

process.exitCode = await main(process.argv.slice(2));
