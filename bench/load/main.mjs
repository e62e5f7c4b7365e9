/**
 * Many clients at one gateway: set-up rate, memory per peer, shares of throughput, reconnecting (TS-54, TS-55, G-14).
 *
 *   npm run bench -- load [--runtime node24|node20|system|PATH] [--clients 1,10,100] [--per-process 250] [--at-once 80]
 *       [--seconds 5] [--kinds http,tcp,websocket,ping,dns,share,restart] [--users 1..4] [--seed 1] [--json]
 *   npm run bench -- load --peers 10000 [--runtime …]      memory of peers that have a session and are quiet (`peers.mjs`)
 *   npm run bench -- load --lean 10000 [--per-process 2500] [--runtime …]    the same of a gateway's clients (`lean.mjs`)
 *
 * ```
 *   clients (userspace, several processes) 10.9.0.1 ── veth ── 10.9.0.2 portal and gateway, resource 172.20.0.1
 * ```
 *
 * `--gateway PATH` takes the gateway of another build (its `build/program/main.js`), for a comparison.
 *
 * Each number of clients is a world of its own: they sign in, which the portal limits (PT-72) and nobody counts, and
 * then connect, in each process as many at a time as `--at-once` says: that is the set-up rate. Then each kind of load for
 * `--seconds`, each client with a number of users drawn from `--users`. Clients have a lower priority than gateway and
 * portal, in few processes, since each has its code to compile first. Needs root. TURN has a bench of its own (`relay`).
 */
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { endOnSignals } from "../lib/ending.mjs";
import { cpuSeconds, peakMemoryMb } from "../lib/processor.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { percentile } from "../lib/statistics.mjs";
import { openFar, RESOURCE } from "./far.mjs";
import { openHerd } from "./herd.mjs";
import { measureLean } from "./lean.mjs";
import { residentMb } from "./memory.mjs";
import { measurePeers } from "./peers.mjs";

const KINDS = ["http", "tcp", "websocket", "ping", "dns", "share", "restart"];
/** What each load counts. */
const UNITS = {
  http: "requests/s",
  tcp: "connections/s",
  websocket: "messages/s",
  ping: "echoes/s",
  dns: "lookups/s",
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      clients: { type: "string", default: "1,10,100" },
      "per-process": { type: "string", default: "250" },
      "at-once": { type: "string", default: "80" },
      seconds: { type: "string", default: "5" },
      kinds: { type: "string", default: KINDS.join(",") },
      users: { type: "string", default: "1..4" },
      seed: { type: "string", default: "1" },
      peers: { type: "string" },
      lean: { type: "string" },
      gateway: { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  const kinds = values.kinds.split(",");
  const unknown = kinds.find((kind) => !KINDS.includes(kind));
  if (unknown !== undefined) throw new Error(`no kind '${unknown}'; there are ${KINDS.join(", ")}`);
  const [fewest, most = fewest] = values.users.split("..").map(Number);
  const isMemoryOnly = values.peers !== undefined || values.lean !== undefined;
  return {
    runtime: findRuntime(values.runtime),
    clients: isMemoryOnly ? [] : values.clients.split(",").map(Number),
    peers: values.peers === undefined ? undefined : Number(values.peers),
    lean: values.lean === undefined ? undefined : Number(values.lean),
    program: values.gateway,
    perProcess: Number(values["per-process"]),
    atOnce: Number(values["at-once"]),
    seconds: Number(values.seconds),
    kinds,
    users: [fewest, most],
    seed: Number(values.seed),
    json: values.json,
  };
}

/** All that is measured of one number of clients. */
async function runWorld(count, options, note) {
  const lab = createLab();
  try {
    const far = await openFar(lab, options.runtime, options);
    const gateway = await far.startGateway();
    const herd = await openHerd(far, { count, ...options, resource: RESOURCE, note });
    const empty = residentMb(gateway.pid);
    const cells = [await setUp(herd, { gateway, portal: far.portal }, empty, count)];
    for (const kind of options.kinds) {
      note(`${kind} for ${options.seconds} s`);
      if (kind === "restart") cells.push(await restart(herd, far, gateway, count));
      else if (kind === "share") cells.push(await share(herd, gateway, options.seconds, count));
      else cells.push(await load(kind, herd, gateway, options.seconds, count));
    }
    return cells;
  } finally {
    await lab.close();
  }
}

function oneSample(name, count, unit, value, more = {}) {
  const samples = [{ arm: "postern", pair: 0, value, valid: true, ...more }];
  return cellOf({
    name: `${name}, ${count} clients`,
    params: { clients: count },
    unit,
    samples,
    arms: ["postern"],
  });
}

/**
 * All connect at once; from the first packet to the first answer each. The rate is that of those who had one, until the
 * last of them had: who fails does so at its time-out, behind all others.
 */
async function setUp(herd, { gateway, portal }, emptyMb, count) {
  const used = () => ({
    gateway_cpu_ms_each: cpuSeconds(gateway.pid),
    portal_cpu_ms_each: cpuSeconds(portal.pid),
    clients_cpu_ms_each: herd.cpu(),
  });
  const before = used();
  const { times, failed, failures, lastMs } = await herd.each("connect");
  const after = used();
  const done = Math.max(1, times.length);
  const each = Object.entries(after).map(([name, cpu]) => [name, ((cpu - before[name]) * 1000) / done]);
  const grownMb = residentMb(gateway.pid) - emptyMb;
  return oneSample("set-up", count, "connections/s", times.length / (Math.max(1, lastMs) / 1000), {
    failed,
    failures,
    p50_ms: percentile(times, 0.5),
    p99_ms: percentile(times, 0.99),
    ...Object.fromEntries(each),
    gateway_grown_mb: grownMb,
    gateway_kib_per_peer: (grownMb * 1024) / count,
    gateway_resident_mb: residentMb(gateway.pid),
  });
}

async function load(kind, herd, gateway, seconds, count) {
  const cpu = cpuSeconds(gateway.pid);
  const { done, failed, failures, times } = await herd.each(kind, { seconds });
  return oneSample(kind, count, UNITS[kind], done / seconds, {
    failed,
    failures,
    p50_ms: percentile(times, 0.5),
    p99_ms: percentile(times, 0.99),
    gateway_cpu_share: (cpuSeconds(gateway.pid) - cpu) / seconds,
  });
}

/** Each client takes what it gets; Jain's index is 1 when all get the same. */
async function share(herd, gateway, seconds, count) {
  const { bytes, failed } = await herd.each("share", { seconds });
  const sum = bytes.reduce((a, b) => a + b, 0);
  const squares = bytes.reduce((a, b) => a + b * b, 0);
  return oneSample("share", count, "Jain's index", squares === 0 ? 0 : sum ** 2 / (bytes.length * squares), {
    failed,
    gbps: (sum * 8) / seconds / 1e9,
    gateway_peak_mb: peakMemoryMb(gateway.pid),
  });
}

/** The gateway is stopped and started again; until every client has had an answer. */
async function restart(herd, far, gateway, count) {
  await gateway.stop();
  const started = await far.startGateway();
  const begun = performance.now();
  const { times, failed, failures } = await herd.each("reconnect");
  return oneSample("restart", count, "s until all are back", (performance.now() - begun) / 1000, {
    failed,
    failures,
    p50_ms: percentile(times, 0.5),
    gateway_resident_mb: residentMb(started.pid),
  });
}

const options = readOptions();
endOnSignals();
const result = beginResult("load", {
  topology: "userspace clients, veth, gateway with a TUN device; portal in the gateway's namespace",
  seed: options.seed,
  runtime: options.runtime.version,
});
async function measureMemory(name, measure, count) {
  const lab = createLab();
  try {
    const note = (text) => console.error(`${name}: ${text}`);
    const cell = await measure(lab, { ...options, count, note });
    note(`${cell.samples[0].value.toFixed(1)} ${cell.unit}`);
    result.cells.push(cell);
  } finally {
    await lab.close();
  }
}
if (options.peers !== undefined) await measureMemory("peers", measurePeers, options.peers);
if (options.lean !== undefined) await measureMemory("lean", measureLean, options.lean);
for (const count of options.clients) {
  const cells = await runWorld(count, options, (text) => console.error(`${count} clients: ${text}`));
  for (const cell of cells) {
    const [{ value, failed, failures, p50_ms: p50, p99_ms: p99, ...more }] = cell.samples;
    const { gateway_kib_per_peer: kib, gateway_cpu_ms_each: far, portal_cpu_ms_each: portal } = more;
    const rest = [
      p50 === undefined ? "" : `p50 ${p50.toFixed(1)} ms`,
      p99 === undefined ? "" : `p99 ${p99.toFixed(1)} ms`,
      kib === undefined ? "" : `${kib.toFixed(0)} KiB per peer`,
      portal === undefined
        ? ""
        : `CPU each: gateway ${far.toFixed(1)}, portal ${portal.toFixed(1)}, client ${more.clients_cpu_ms_each.toFixed(1)} ms`,
      failed > 0 ? `${failed} FAILED ${JSON.stringify(failures ?? {})}` : "",
    ].filter((one) => one !== "");
    console.error(
      `${cell.name.padEnd(24)} ${value.toPrecision(3)} ${cell.unit}${rest.map((one) => `, ${one}`).join("")}`,
    );
  }
  result.cells.push(...cells);
}
endResult(result, options);
