/** Result files (TS-59): one object with the environment and cells of samples. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../scripts/steps.mjs";
import { ASKED } from "./limits.mjs";
import { summary } from "./statistics.mjs";

/** Results from which bench/RESULTS.md is made. */
export const RECORDED = join(ROOT, "bench", "results");

/**
 * Begins a result.
 * @param about `{ topology, mtu, pinning, seed, runtime, baselines }`, what the part knows
 */
export function beginResult(name, about) {
  const { runtime, baselines, ...rest } = about;
  return {
    schema: 1,
    name,
    git: git("rev-parse", "HEAD"),
    dirty: git("status", "--porcelain", "--untracked-files=no") !== "",
    version: JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
    started: new Date().toISOString(),
    duration_s: 0,
    ...rest,
    env: environment(runtime, baselines),
    cells: [],
  };
}

/**
 * A cell from its samples.
 * @param samples `{ arm, pair, value, valid, reason?, cpu_s_per_gb?, … }` in the order in which they ran
 * @param arms names of the arms; the cell is about the first, the others are baselines
 */
export function cellOf({ name, params, unit, samples, arms, notes }) {
  const of = (arm, key = "value") =>
    samples.filter((sample) => sample.arm === arm && sample[key] !== undefined).map((sample) => sample[key]);
  const [subject, ...baselines] = arms;
  const ratios = {};
  const cpuRatios = {};
  for (const baseline of baselines) {
    ratios[baseline] = summary(pairRatios(samples, subject, baseline, "value"));
    cpuRatios[baseline] = summary(pairRatios(samples, subject, baseline, "cpu_s_per_gb"));
  }
  return {
    name,
    params,
    unit,
    samples,
    ...summary(of(subject)),
    arms: Object.fromEntries(arms.map((arm) => [arm, summary(of(arm))])),
    ratio_to: ratios,
    cpu_s_per_gb: Object.fromEntries(arms.map((arm) => [arm, summary(of(arm, "cpu_s_per_gb"))])),
    cpu_ratio_to: cpuRatios,
    notes: notes ?? "",
  };
}

/** Subject through baseline, pair by pair. */
export function pairRatios(samples, subject, baseline, key) {
  const ratios = [];
  for (const sample of samples) {
    if (sample.arm !== subject) continue;
    const other = samples.find((candidate) => candidate.arm === baseline && candidate.pair === sample.pair);
    if (sample[key] !== undefined && other?.[key] > 0) ratios.push(sample[key] / other[key]);
  }
  return ratios;
}

/** Ends a result: writes the file, prints it when asked for. */
export function endResult(result, { json }) {
  result.duration_s = Math.round((Date.now() - Date.parse(result.started)) / 1000);
  // What is published is recorded on purpose; other runs are the runner's own (TS-59).
  const folder = process.env.POSTERN_BENCH_RECORD === "1" ? RECORDED : join(ROOT, ".cache", "bench");
  mkdirSync(folder, { recursive: true });
  const stamp = result.started.slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  const file = join(folder, `${stamp}-${result.name}.json`);
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
  console.error(`written: ${file.slice(ROOT.length + 1)}`);
  if (json) console.log(JSON.stringify(result));
}

function environment(runtime, baselines) {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    virtualised: /^flags.*\bhypervisor\b/m.test(read("/proc/cpuinfo") ?? ""),
    runtime: runtime ?? process.version,
    baselines: baselines ?? {},
    sysctls: {
      rmem_max: Number(read("/proc/sys/net/core/rmem_max")),
      wmem_max: Number(read("/proc/sys/net/core/wmem_max")),
    },
  };
}

function read(path) {
  return existsSync(path) ? readFileSync(path, "utf8").trim() : undefined;
}

function git(...args) {
  try {
    return execFileSync("git", args, {
      ...ASKED,
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return "unknown";
  }
}
