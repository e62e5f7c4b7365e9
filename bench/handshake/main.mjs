/**
 * Handshakes per second of one responder, and what a flood of them leaves of existing traffic, against
 * wireguard-go (G-12).
 *
 *   npm run bench -- handshake [--runtime node24|node20|system|PATH] [--peers 500] [--rounds 5]
 *       [--pairs 5] [--flood 50000] [--seconds 8] [--cells responder,flood,genuine] [--threads 1,2] [--json]
 *
 * Responder: a caller in another namespace plays many peers, each at an address of its own, and answers
 * cookies; the first round only warms up. Flood: `flooded.mjs`. Genuine: `genuine.mjs`.
 * With --threads there is an arm of Postern for each number of worker pairs (PG-176). Needs root, iperf3 and wireguard-tools.
 */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals } from "../lib/ending.mjs";
import { cpuSeconds } from "../lib/processor.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";
import { MAIN, openPosternWg, openWireguardGo, threadsOf } from "../tunnel/arms.mjs";
import { openServers } from "../tunnel/loads.mjs";
import { findWireguardGo } from "../tunnel/wireguard-go.mjs";
import { addStranger, measureFlooded } from "./flooded.mjs";
import { addCaller, measureGenuine } from "./genuine.mjs";

const CALLER = join(ROOT, "bench", "handshake", "caller.mjs");
const PORT = 5555;
const WARM_UP = 1;
const WINDOW = 16;
const WITHIN_MS = 60_000;
const MTU = 1420;

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      peers: { type: "string", default: "500" },
      rounds: { type: "string", default: "5" },
      pairs: { type: "string", default: "5" },
      flood: { type: "string", default: "50000" },
      seconds: { type: "string", default: "8" },
      arms: { type: "string", default: "postern,wireguard-go" },
      cells: { type: "string", default: "responder,flood,genuine" },
      threads: { type: "string" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  return {
    runtime: findRuntime(values.runtime),
    peers: Number(values.peers),
    rounds: Number(values.rounds),
    pairs: Number(values.pairs),
    rate: Number(values.flood),
    seconds: Number(values.seconds),
    arms: values.arms.split(","),
    cells: values.cells.split(","),
    // Without the option the program decides, and cells have their plain names.
    threads: values.threads?.split(",").map(Number),
    seed: Number(values.seed),
    json: values.json,
  };
}

/** The responder's configuration; a fresh one for each run, since a responder remembers stamps. */
function configuration(privateKey, keys) {
  const lines = ["[Interface]", `PrivateKey = ${privateKey}`, `ListenPort = ${PORT}`];
  for (const [i, { publicKey }] of keys.entries()) {
    lines.push("[Peer]", `PublicKey = ${publicKey}`, `AllowedIPs = 10.8.${i >> 8}.${i & 255}/32`);
  }
  return `${lines.join("\n")}\n`;
}

async function startPostern(end, config, { runtime, threads }) {
  writeSecret(join(end.runFolder, "wg0.conf"), config);
  const args = [MAIN, "wg", "/run/wg0.conf", ...threadsOf(threads)];
  const child = end.start({ name: "postern wg", command: runtime.path, args });
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return child;
}

async function startWireguardGo(end, config, { program }) {
  writeSecret(join(end.runFolder, "wg0.conf"), config);
  const env = { ...process.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1", LOG_LEVEL: "error" };
  const child = end.start({ name: "wireguard-go", command: program, args: ["-f", "wg0"], env });
  const wait =
    "for i in $(seq 200); do wg setconf wg0 /run/wg0.conf 2>/dev/null && exit 0; sleep 0.05; done; exit 1";
  await end.run("sh", ["-c", wait], { withinMs: WITHIN_MS });
  await end.ip("link set wg0 up");
  return child;
}

/** One run: a fresh responder, `peers × (rounds − 1)` handshakes. */
async function measure(lab, role, start, options) {
  const near = await lab.add(`${role}-near`);
  const far = await lab.add(`${role}-far`);
  await lab.connect(
    { namespace: near, device: "wan", addresses: ["10.9.0.1/24"] },
    { namespace: far, device: "wan", addresses: ["10.9.0.2/24"] },
  );
  await near.ip("route add local 10.10.0.0/16 dev lo");
  await far.ip("route add 10.10.0.0/16 via 10.9.0.1");
  const keys = JSON.parse(await near.run(process.execPath, [CALLER, "prepare", String(options.peers)]));
  const privateKey = (await far.run("wg", ["genkey"])).trim();
  writeSecret(join(far.runFolder, "key"), `${privateKey}\n`);
  const responder = (await far.run("sh", ["-c", "wg pubkey < /run/key"])).trim();
  const child = await start(far, configuration(privateKey, keys), options);
  const plan = { responder, keys, rounds: options.rounds, window: WINDOW, warmUp: WARM_UP };
  writeSecret(join(near.runFolder, "plan.json"), JSON.stringify(plan));
  const args = [CALLER, "call", "/run/plan.json", "10.9.0.2", String(PORT)];
  const caller = near.start({ name: "caller", command: process.execPath, args });
  await caller.waitForLine(/^warm$/, { withinMs: WITHIN_MS });
  const before = cpuSeconds(child.pid);
  caller.signal("SIGUSR2");
  const ended = child.exited.then(() => {
    throw new Error(`the responder ended: ${child.stderr()}`);
  });
  const [line] = await Promise.race([caller.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS }), ended]);
  const used = cpuSeconds(child.pid) - before;
  await child.stop();
  const { responses, cookies, resent, lost, elapsedMs } = JSON.parse(line);
  const isValid = lost === 0;
  return {
    value: responses / (elapsedMs / 1000),
    cpu_us_per_handshake: (used / responses) * 1e6,
    responses,
    cookies,
    resent,
    lost,
    valid: isValid,
    ...(isValid ? {} : { reason: `${lost} lost` }),
  };
}

function writeSecret(file, text) {
  writeFileSync(file, text);
  chmodSync(file, 0o600);
}

/** The responder alone: handshakes per second. */
async function runResponder(arms, draw, options) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const { name, start } of shuffled(arms, draw)) {
      const lab = createLab();
      try {
        const sample = await measure(lab, name.slice(0, 4), start, options);
        samples.push({ arm: name, pair, ...sample });
        console.error(
          `${name.padEnd(14)} ${sample.value.toFixed(0)}/s, ${sample.cpu_us_per_handshake.toFixed(0)} µs CPU each`,
        );
      } finally {
        await lab.close();
      }
    }
  }
  const { peers, rounds } = options;
  const params = { peers, rounds: rounds - WARM_UP, window: WINDOW };
  const names = arms.map(({ name }) => name);
  return cellOf({ name: "responder", params, unit: "handshakes/s", samples, arms: names });
}

/** The share of a TCP stream that goes on under a flood. */
async function runFlood(arms, draw, options) {
  const { rate, seconds } = options;
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const { name, open } of shuffled(arms, draw)) {
      const lab = createLab();
      try {
        const arm = await open(lab, options);
        await openServers(arm);
        const sample = await measureFlooded(arm, await addStranger(lab, arm), { rate, seconds });
        samples.push({ arm: name, pair, ...sample });
        console.error(
          `${name.padEnd(14)} ${(sample.value * 100).toFixed(0)} % left: ${sample.gbps_under_flood.toFixed(2)} of ${sample.gbps_beside_flood.toFixed(2)} Gbit/s`,
        );
      } finally {
        await lab.close();
      }
    }
  }
  const names = arms.map(({ name }) => name);
  const notes = "share of what the same flood of a closed port leaves";
  return cellOf({ name: "flood", params: { rate, seconds }, unit: "share", samples, arms: names, notes });
}

/** How long 19 of 20 genuine handshakes wait during a flood at one tenth of the rate, and at the rate. */
async function runGenuine(arms, draw, options, rate) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const { name, open } of shuffled(arms, draw)) {
      const lab = createLab();
      try {
        const arm = await open(lab, options);
        const sample = await measureGenuine(await addCaller(lab, arm), await addStranger(lab, arm), rate);
        samples.push({ arm: name, pair, ...sample });
        console.error(
          `${name.padEnd(14)} flood of ${rate}/s: ${sample.in_time} of ${sample.tries} within 100 ms, ${sample.value.toFixed(1)} ms for 19 in 20; ${sample.initiations_per_s.toFixed(0)}/s sent, ${sample.cookies_per_s.toFixed(0)}/s answered`,
        );
      } finally {
        await lab.close();
      }
    }
  }
  const names = arms.map(({ name }) => name);
  const notes = "longest of 19 in 20; 1000: no response";
  return cellOf({
    name: `genuine, flood ${rate}/s`,
    params: { rate },
    unit: "ms",
    samples,
    arms: names,
    notes,
  });
}

/** One for each number of worker pairs, which are told apart by it where several are measured. */
function posternArms(threads) {
  if (threads === undefined) return [{ name: "postern", start: startPostern, open: openPosternWg }];
  return threads.map((count) => ({
    name: `postern ${count}`,
    start: (end, config, options) => startPostern(end, config, { ...options, threads: count }),
    open: (lab, options) => openPosternWg(lab, { ...options, threads: count }),
  }));
}

async function main() {
  endOnSignals();
  const options = readOptions();
  const baseline = findWireguardGo();
  const program = baseline?.path;
  const result = beginResult("handshake", {
    topology: "namespaces joined by veth: a caller that plays all peers, or a stranger beside a tunnel",
    mtu: MTU,
    seed: options.seed,
    runtime: `node ${options.runtime.version}`,
    baselines: { "wireguard-go": baseline?.version },
  });
  const arms = posternArms(options.threads);
  if (baseline !== undefined && options.arms.includes("wireguard-go")) {
    arms.push({ name: "wireguard-go", start: startWireguardGo, open: openWireguardGo });
  }
  const draw = createDraw(options.seed);
  const { threads: lists, ...rest } = options;
  const all = { ...rest, program, mtu: MTU };
  if (options.cells.includes("responder")) result.cells.push(await runResponder(arms, draw, all));
  if (options.cells.includes("flood")) result.cells.push(await runFlood(arms, draw, all));
  if (options.cells.includes("genuine")) {
    for (const rate of [options.rate / 10, options.rate])
      result.cells.push(await runGenuine(arms, draw, all, rate));
  }
  // Beside the cells of one pair, which they do not replace in the report.
  if (lists !== undefined)
    for (const cell of result.cells) cell.name += `, ${lists.join(" and ")} worker pairs`;
  for (const { name, ratio_to } of result.cells) {
    for (const [other, ratio] of Object.entries(ratio_to)) {
      if (ratio === undefined) continue;
      const range = `[${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}]`;
      console.error(`${name}: ratio ${ratio.median.toFixed(2)} ${range} to ${other}`);
    }
  }
  endResult(result, options);
}

await main();
