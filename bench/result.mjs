/**
 * What all benchmarks share: the machine's description, cells of paired samples, and the result file
 * (TS-50, TS-59).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch, availableParallelism, cpus, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** Above these a sample is invalid (TS-50): what others used of one core, and stolen time. */
const OTHERS_MAX = 0.05;
const STEAL_MAX = 0.02;
/** A baseline that spreads more makes its cell invalid (TS-50). */
const SPREAD_MAX = 0.15;
/** Units of /proc/stat and /proc/self/stat. */
const TICKS_PER_SECOND = 100;

/** The middle of the sorted values, the mean of both middle ones of an even number. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  return sorted.length % 2 === 1 ? upper : (sorted[(sorted.length >> 1) - 1] + upper) / 2;
}

function textOf(path) {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "unknown";
  }
}

function git(...args) {
  try {
    return execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

/** The field `env`: what the numbers depend on besides the code. */
export function environment(baselines = {}) {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    arch: arch(),
    memory_bytes: totalmem(),
    governor: textOf("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    virtualised: /^flags.*\bhypervisor\b/m.test(textOf("/proc/cpuinfo")),
    runtime: `node ${process.versions.node} (V8 ${process.versions.v8})`,
    baselines,
    rmem_max: textOf("/proc/sys/net/core/rmem_max"),
    wmem_max: textOf("/proc/sys/net/core/wmem_max"),
  };
}

/** Processor time in seconds: of everybody, stolen, and of this process with its ended children. */
function processorSeconds() {
  const [user, nice, system, , , irq, softIrq, steal] = textOf("/proc/stat")
    .split("\n")[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map((ticks) => Number(ticks) / TICKS_PER_SECOND);
  const fields = textOf("/proc/self/stat").split(") ")[1].split(" ");
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / TICKS_PER_SECOND, 0);
  return { all: user + nice + system + irq + softIrq, steal, own };
}

/**
 * Does `work` and says whether the machine was quiet meanwhile.
 * @returns `{ value, valid, reason? }`
 */
export function sampled(work) {
  const [started, before] = [performance.now(), processorSeconds()];
  const value = work();
  const after = processorSeconds();
  const seconds = (performance.now() - started) / 1000;
  const others = (after.all - before.all - (after.own - before.own)) / seconds;
  const steal = (after.steal - before.steal) / seconds;
  if (others > OTHERS_MAX) return { value, valid: false, reason: `others used ${percent(others)} of a core` };
  if (steal > STEAL_MAX) return { value, valid: false, reason: `${percent(steal)} stolen` };
  return { value, valid: true };
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}

/**
 * A cell: arms measured in rounds, each arm once a round; the first arm is the baseline.
 * @param samples as they came, each `{ arm, value, valid, reason? }`
 */
export function cell({ name, params, unit, arms, samples }) {
  const valuesOf = (arm) => samples.filter((sample) => sample.arm === arm).map(({ value }) => value);
  const [baseline] = arms;
  const base = valuesOf(baseline);
  const spread = (Math.max(...base) - Math.min(...base)) / median(base);
  const notes = samples.some(({ valid }) => !valid)
    ? ["some samples are invalid: the machine was not quiet"]
    : [];
  if (spread > SPREAD_MAX) notes.push(`invalid: the baseline spreads by ${percent(spread)}`);
  return {
    name,
    params,
    unit,
    samples,
    arms: Object.fromEntries(arms.map((arm) => [arm, summary(valuesOf(arm))])),
    ratio_to: {
      [baseline]: Object.fromEntries(
        arms.slice(1).map((arm) => [arm, summary(valuesOf(arm).map((value, i) => value / base[i]))]),
      ),
    },
    notes,
  };
}

function summary(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Writes bench/results/<date>-<name>.json and returns its path. */
export function saveResult({ name, started, seed, env, topology, mtu, pinning, cells }) {
  const result = {
    schema: 1,
    git: git("rev-parse", "HEAD"),
    dirty: git("status", "--porcelain") !== "",
    version: JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).version,
    started: started.toISOString(),
    duration_s: (Date.now() - started.getTime()) / 1000,
    seed,
    env,
    topology,
    mtu,
    pinning,
    cells,
  };
  const file = join("bench", "results", `${started.toISOString().slice(0, 10)}-${name}.json`);
  mkdirSync(join(ROOT, "bench", "results"), { recursive: true });
  writeFileSync(join(ROOT, file), `${JSON.stringify(result, undefined, 1)}\n`);
  return file;
}
