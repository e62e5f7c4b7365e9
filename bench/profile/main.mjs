/**
 * Where the processor time of a tunnel goes, by perf (TS-61).
 *
 *   npm run bench -- profile [--runtime node24|node20|system|PATH] [--mtu 1420] [--direction up|down] [--seconds 5]
 *       [--streams 1] [--frequency 499] [--top 12] [--json]
 *
 * Two ends of `postern wg` on veth carry iperf3; perf looks at all their threads meanwhile, with V8's map of the
 * code that it has made (`--perf-basic-prof`). Cells are shares of the samples: of the workers in all that the
 * programs use, and of each kind of code; `notes` has the dearest places. Without perf the control thread's own
 * profile of V8 can be had: `NODE_OPTIONS=--cpu-prof postern wg …`. Needs root, perf and iperf3.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals, endWithUs, removeWithUs } from "../lib/ending.mjs";
import { ASKED, WORKED } from "../lib/limits.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { openPosternWg } from "../tunnel/arms.mjs";
import { openServers } from "../tunnel/loads.mjs";

/** TCP has found its rate, and V8 has optimised. */
const WARM_MS = 3000;
const OUTPUT_BYTES_MAX = 1 << 29;

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      mtu: { type: "string", default: "1420" },
      direction: { type: "string", default: "up" },
      seconds: { type: "string", default: "5" },
      streams: { type: "string", default: "1" },
      frequency: { type: "string", default: "499" },
      top: { type: "string", default: "12" },
      json: { type: "boolean", default: false },
    },
  });
  if (!["up", "down"].includes(values.direction)) throw new Error("--direction is up or down");
  if (spawnSync("perf", ["--version"], ASKED).status !== 0)
    throw new Error("perf is not installed (linux-perf)");
  return {
    runtime: findRuntime(values.runtime),
    mtu: Number(values.mtu),
    isDown: values.direction === "down",
    seconds: Number(values.seconds),
    streams: values.streams,
    frequency: values.frequency,
    top: Number(values.top),
    json: values.json,
  };
}

/** What perf saw: thread, symbol and file of each sample. */
async function record(file, pids, { seconds, frequency }) {
  // The clock rather than cycles: virtual machines often have no counters.
  const how = ["-q", "-e", "cpu-clock", "-F", frequency, "-o", file, "-p", pids.join(",")];
  const perf = endWithUs(
    spawn("perf", ["record", ...how, "--", "sleep", String(seconds)], { stdio: ["ignore", "ignore", 2] }),
  );
  const status = await new Promise((resolve) => perf.on("exit", resolve));
  if (status !== 0) throw new Error("perf record failed; see /proc/sys/kernel/perf_event_paranoid");
  const { stdout } = spawnSync("perf", ["script", "-i", file, "-F", "pid,tid,ip,sym,dso"], {
    ...WORKED,
    encoding: "utf8",
    maxBuffer: OUTPUT_BYTES_MAX,
    stdio: ["ignore", "pipe", "ignore"],
  });
  return [...stdout.matchAll(/^\s*(\d+)\/(\d+)\s+[0-9a-f]+ (.*) \((\S+)\)$/gm)].map(
    ([, pid, tid, symbol, object]) => ({ pid: Number(pid), tid: Number(tid), symbol, object }),
  );
}

/**
 * The kind of code, and its name. The compiler has put the AEAD and the paths into the two loops' turns, so that
 * WebAssembly is told apart by worker, not by function.
 */
function placeOf({ symbol, object }) {
  if (object.startsWith("[kernel")) return { kind: "kernel", name: symbol };
  const wasm = /wasm-function\[(\d+)\]/.exec(symbol);
  if (wasm !== null) return { kind: "WebAssembly", name: `function ${wasm[1]}` };
  if (object.startsWith("/tmp/perf-"))
    return { kind: "JavaScript", name: withoutRoot(symbol.replace(/^JS:/, "")) };
  return { kind: "runtime, FFI and C library", name: symbol };
}

/** Results say nothing of where the clone lies. */
function withoutRoot(name) {
  return name.replaceAll(`file://${ROOT}/`, "");
}

/** Of each process the two busiest threads besides its own, which start in this order. */
function workersOf(samples, pids) {
  const roles = new Map();
  for (const [i, pid] of pids.entries()) {
    const threads = countBy(
      samples.filter((one) => one.pid === pid && one.tid !== pid).map(({ tid }) => tid),
    );
    const tids = threads.slice(0, 2).map(([tid]) => tid);
    const end = i === 0 ? "near" : "far";
    for (const [j, tid] of tids.sort((x, y) => x - y).entries())
      roles.set(tid, `${end}, ${j === 0 ? "egress" : "ingress"}`);
  }
  return roles;
}

function countBy(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a);
}

function shareCell(name, part, whole, notes = "") {
  const samples = [{ arm: "postern", pair: 0, value: (100 * part) / Math.max(1, whole), valid: true }];
  return cellOf({ name, params: {}, unit: "% of samples", samples, arms: ["postern"], notes });
}

function cellsOf(samples, pids, top) {
  const all = samples.length;
  const inWorkers = samples.filter(({ pid, tid }) => pid !== tid);
  const cells = [shareCell("workers' threads", inWorkers.length, all)];
  for (const [tid, role] of workersOf(samples, pids)) {
    const own = samples.filter((sample) => sample.tid === tid);
    const kinds = countBy(own.map((sample) => placeOf(sample).kind));
    cells.push(shareCell(role, own.length, all, percents(kinds, all)));
  }
  const places = samples.map(placeOf);
  for (const [kind, count] of countBy(places.map((place) => place.kind))) {
    const names = countBy(places.filter((place) => place.kind === kind).map(({ name }) => name));
    cells.push(shareCell(kind, count, all, percents(names.slice(0, top), all)));
  }
  return cells;
}

function percents(counts, all) {
  return counts.map(([name, n]) => `${name} ${((100 * n) / all).toFixed(1)}`).join(", ");
}

/** The ends run with V8's map of code, nothing else does. */
async function openArm(lab, options) {
  const before = process.env.NODE_OPTIONS;
  process.env.NODE_OPTIONS = `${before ?? ""} --perf-basic-prof`.trim();
  try {
    return await openPosternWg(lab, options);
  } finally {
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
  }
}

/** The variant that the program has chosen, from what it prints of itself. */
async function cipherOf(child) {
  child.signal("SIGUSR2");
  const [, name] = await child.waitForLine(/"cipher":"(\w+)"/, { withinMs: 5000, stream: "stdout" });
  return name;
}

async function main() {
  endOnSignals();
  const options = readOptions();
  const lab = createLab();
  const folder = removeWithUs(mkdtempSync(join(tmpdir(), "postern-profile-")));
  let pids = [];
  try {
    console.error("profile: opening both ends");
    const arm = await openArm(lab, options);
    pids = arm.processes.map(({ pid }) => pid);
    await openServers(arm);
    const time = Math.ceil(options.seconds + WARM_MS / 1000 + 10);
    const direction = options.isDown ? ["-R"] : [];
    const args = ["-c", arm.address, "-t", String(time), "-P", options.streams, ...direction];
    arm.near.start({ name: "load", command: "iperf3", args });
    await new Promise((resolve) => setTimeout(resolve, WARM_MS));
    console.error(`profile: recording for ${options.seconds} s`);
    const samples = await record(join(folder, "perf.data"), pids, options);
    if (samples.length === 0) throw new Error("perf saw nothing");
    const cipher = await cipherOf(arm.processes[0]);
    const result = beginResult("profile", {
      topology: `two ends of postern wg, veth, TCP ${options.isDown ? "down" : "up"}, ${options.streams} streams`,
      mtu: options.mtu,
      runtime: `${options.runtime.version}, cipher ${cipher}`,
    });
    result.cells.push(...cellsOf(samples, pids, options.top));
    for (const { name, median, notes } of result.cells) {
      console.error(`${name.padEnd(28)} ${median.toFixed(1).padStart(5)} %  ${notes}`);
    }
    endResult(result, options);
  } finally {
    await lab.close();
    rmSync(folder, { recursive: true });
    for (const pid of pids) rmSync(`/tmp/perf-${pid}.map`, { force: true });
  }
}

await main();
