/**
 * Writes bench/RESULTS.md from the result files in bench/results/ and the remarks in bench/REMARKS.md.
 *
 *   node bench/report.mjs [--check]
 *
 * Figures are never typed (TS-60). Of each cell of a benchmark on one runtime the newest is shown.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../scripts/steps.mjs";
import { median } from "./lib/statistics.mjs";

const BENCH = join(ROOT, "bench");
const TARGET = join(BENCH, "RESULTS.md");

/** By benchmark and runtime: what is told of the newest run, and the newest measurement of each cell. */
function groups() {
  const folder = join(BENCH, "results");
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".json")) : [];
  const found = new Map();
  for (const file of names.sort()) {
    const result = JSON.parse(readFileSync(join(folder, file), "utf8"));
    // Older runs say "kernel" for the cipher variant; recorded files stay as they were written.
    result.env.runtime = result.env.runtime.replace(/, kernel (\w+)$/, ", cipher $1");
    const key = `${result.name}, ${result.env.runtime}`;
    const group = found.get(key) ?? { cells: new Map() };
    for (const cell of result.cells) {
      // Until there were cells for single messages, all were of runs.
      const name =
        result.name === "aead" ? cell.name.replace(/^(seal|open) (\d+)$/, "$1 in runs $2") : cell.name;
      // The long runs that look for stalls have no other arm: a comparison is not replaced by them.
      const known = group.cells.get(name);
      const isAlone = armsOf(cell) < 2 && known !== undefined && armsOf(known.cell) > 1;
      const place = isAlone ? `${name}, alone` : name;
      const { git, dirty, started, env } = result;
      group.cells.set(place, { place, file, git, dirty, started, cpu: env.cpu, cell });
    }
    const baselines = { ...group.result?.env.baselines, ...result.env.baselines };
    found.set(key, { ...group, result: { ...result, env: { ...result.env, baselines } } });
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group);
}

function armsOf(cell) {
  return Object.keys(cell.arms).length;
}

function section({ result, cells }) {
  const { env, name, started, topology } = result;
  const baselines = Object.entries(env.baselines).map(([key, value]) => `${key} ${value}`);
  return [
    `## ${name} on ${env.runtime}`,
    "",
    `${started.slice(0, 10)}; ${env.cpu}, ${env.cores} cores, Linux ${env.kernel}; ${[...baselines, topology].filter(Boolean).join("; ")}.`,
    "",
    "| cell | unit | medians | ratio of pairs: median [min – max] | CPU per GB, ratio | invalid samples, notes | commit |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...[...cells.values()].map((cell) => row(cell, result)),
    "",
  ];
}

/** A cell of an earlier run, or of another machine, than the one in the head says so. */
function row({ place, cell, file, git, dirty, started, cpu }, { started: newest, env }) {
  const medians = Object.entries(cell.arms).map(([arm, values]) => `${arm} ${number(values?.median)}`);
  const ratios = Object.entries(cell.ratio_to)
    .filter(([, ratio]) => ratio !== undefined && ratio !== null)
    .map(
      ([arm, ratio]) => `**${number(ratio.median)}** [${number(ratio.min)} – ${number(ratio.max)}] of ${arm}`,
    );
  const costs = Object.values(cell.cpu_ratio_to ?? {})
    .filter((ratio) => ratio !== undefined && ratio !== null)
    .map((ratio) => number(ratio.median));
  const invalid = cell.samples.filter((sample) => sample.valid === false).length;
  const columns = [
    place,
    cell.unit,
    medians.join(", "),
    ratios.join("; ") || "–",
    costs.join("; ") || "–",
    [
      `${invalid} of ${cell.samples.length}`,
      ...sizes(cell),
      ...(cell.notes ? [cell.notes] : []),
      ...(started.slice(0, 10) === newest.slice(0, 10) ? [] : [started.slice(0, 10)]),
      ...(cpu === env.cpu ? [] : [cpu]),
    ].join("; "),
    `[${git.slice(0, 8)}${dirty ? " with changes" : ""}](results/${file})`,
  ];
  return `| ${columns.join(" | ")} |`;
}

/** Batches of our arm (G-6) and its memory (G-14), where a cell has them. */
function sizes(cell) {
  const [subject] = Object.keys(cell.arms);
  const ours = cell.samples.filter(({ arm }) => arm === subject);
  const of = (key) => ours.flatMap((sample) => sample[key] ?? []);
  const [sends, writes, megabytes] = [of("datagrams_per_send"), of("bytes_per_tun_write"), of("memory_mb")];
  return [
    ...(sends.length > 0 ? [`${number(median(sends))} datagrams per send`] : []),
    ...(writes.length > 0 ? [`${number(median(writes) / 1000)} KB per TUN write`] : []),
    ...(megabytes.length > 0 ? [`at most ${Math.max(...megabytes)} MB resident`] : []),
  ];
}

/** Three significant digits, without an exponent. */
function number(value) {
  return value === undefined || value === null ? "–" : String(Number(value.toPrecision(3)));
}

function main() {
  const remarks = join(BENCH, "REMARKS.md");
  const text = [
    "# Results",
    "",
    "Generated by `node bench/report.mjs` from `bench/results/` and `bench/REMARKS.md`; do not edit.",
    "",
    "Every figure is a ratio to something measured in the same run on the same machine: runs alternate",
    "in drawn order, and the median of the ratios of pairs is what counts. A sample is invalid when other",
    "processes used more than 5 % of a core or the hypervisor took more than 2 %; a cell whose baseline",
    "spreads by more than 15 % says so. `npm run bench` repeats all, `npm run bench -- PART` one of them.",
    "",
    ...groups().flatMap(section),
    ...(existsSync(remarks) ? [readFileSync(remarks, "utf8").trim(), ""] : []),
  ].join("\n");
  if (!process.argv.includes("--check")) {
    writeFileSync(TARGET, text);
    return 0;
  }
  const isCurrent = existsSync(TARGET) && readFileSync(TARGET, "utf8") === text;
  if (!isCurrent) console.error("bench/RESULTS.md is not what node bench/report.mjs makes");
  return isCurrent ? 0 : 1;
}

process.exitCode = main();
