/** Whether the machine was quiet while something was measured (TS-50). */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import asc from "assemblyscript/asc";
import { ASKED } from "./limits.mjs";
import { machineSeconds } from "./processor.mjs";

/** Above these a sample is invalid: what others used of one core, and stolen time. */
const OTHERS_MAX = 0.05;
const STEAL_MAX = 0.02;

/** The probe is slower than its best by more than this: somebody else uses the other half of the core. */
const SLOWER_MAX = 1.08;
const PROBE_ROUNDS = 4_000_000;
const PROBE_TIMES = 3;
/** Enough to have seen an undisturbed moment. */
const CALIBRATION_MS = 5000;

/**
 * Six chains that do not wait for each other: as many instructions per cycle as the core has places for.
 * On a virtual machine a stranger may run on the same core; no counter tells, but half of the places are
 * then gone, which strikes code that uses them all and spares other code.
 */
const PROBE = `export function probe(rounds: i32): i64 {
  let a: i64 = 1, b: i64 = 2, c: i64 = 3, d: i64 = 4, e: i64 = 5, f: i64 = 6;
  for (let i = 0; i < rounds; i++) {
    const n = <i64>i;
    a += n; b ^= n; c -= n; d += n; e ^= n; f -= n;
    a ^= 9; b += 9; c ^= 9; d ^= 9; e += 9; f ^= 9;
  }
  return a ^ b ^ c ^ d ^ e ^ f;
}`;

let runProbe;
let bestProbeMs = Number.POSITIVE_INFINITY;

/**
 * Keeps this process and its children on one processor, so that the probe speaks of the same core as what
 * is measured, and learns how fast the probe can be.
 * @returns the processor
 */
export async function settle() {
  const processor = lastAllowedProcessor();
  execFileSync("taskset", ["-p", "-c", String(processor), String(process.pid)], {
    ...ASKED,
    stdio: "ignore",
  });
  const { binary, stderr } = await asc.compileString(PROBE, { optimizeLevel: 3, runtime: "stub" });
  if (binary === null) throw new Error(`the probe does not compile: ${stderr}`);
  const imports = { env: { abort() {} } };
  runProbe = (await WebAssembly.instantiate(binary, imports)).instance.exports.probe;
  const until = performance.now() + CALIBRATION_MS;
  while (performance.now() < until) probe();
  return processor;
}

/** The first one often serves the interrupts. */
function lastAllowedProcessor() {
  const list = /^Cpus_allowed_list:.*?(\d+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  return Number(list?.[1] ?? 0);
}

/** @returns how much slower than its best the probe is now */
function probe() {
  let fastest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < PROBE_TIMES; i++) {
    const started = performance.now();
    runProbe(PROBE_ROUNDS);
    fastest = Math.min(fastest, performance.now() - started);
  }
  bestProbeMs = Math.min(bestProbeMs, fastest);
  return fastest / bestProbeMs;
}

/**
 * The first undisturbed sample, or the last one with the reason why it is not; `settle` was called before.
 */
export function validSample(work, attempts) {
  for (let attempt = 1; ; attempt++) {
    const sample = sampled(work);
    if (sample.valid || attempt === attempts)
      return attempt === 1 ? sample : { ...sample, repeated: attempt - 1 };
  }
}

/**
 * Does `work`, which keeps this process or its children busy.
 * @returns `{ value, valid, reason? }`
 */
function sampled(work) {
  const slowerBefore = probe();
  const [started, before, ownBefore] = [performance.now(), machineSeconds(), ownSeconds()];
  const value = work();
  const seconds = (performance.now() - started) / 1000;
  const [after, ownAfter] = [machineSeconds(), ownSeconds()];
  const slower = Math.max(slowerBefore, probe());
  const others = (after.processes - before.processes - (ownAfter - ownBefore)) / seconds;
  const steal = (after.steal - before.steal) / seconds;
  if (others > OTHERS_MAX) return { value, valid: false, reason: `others used ${percent(others)} of a core` };
  if (steal > STEAL_MAX) return { value, valid: false, reason: `${percent(steal)} stolen` };
  if (slower > SLOWER_MAX)
    return { value, valid: false, reason: `core shared: probe ${slower.toFixed(2)} times slower` };
  return { value, valid: true };
}

/** User and system seconds of this process and of its children that have ended; 10 ms is the unit. */
function ownSeconds() {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) / 100, 0);
}

function percent(share) {
  return `${(100 * share).toFixed(0)} %`;
}
