/**
 * What a relay costs: processor seconds per gigabyte against coturn (G-10), for trains and for single datagrams.
 *
 *   npm run bench -- relay [--runtime node24|node20|system|PATH] [--pairs 5] [--seconds 4]
 *       [--cells trains,single,held] [--allocations 10000] [--rate 200] [--json]
 *
 * ```
 *   client 10.9.1.2 ── 10.9.1.1 [both relays, one after the other] 203.0.113.1 ── 203.0.113.2 peer
 * ```
 *
 * A client with a channel and its peer send at an even rate that both relays can follow; the devices behind the relay
 * count what came. `held`: memory and processor time of our relay with many allocations of both families and their channels, and how long
 * a ChannelBind takes meanwhile while 1 Gbit/s is relayed (RL-66). Needs root and coturn.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { relayCredentials } from "../../build/src/turn/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { ASKED } from "../lib/limits.mjs";
import { cpuSeconds } from "../lib/processor.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";
import { MAIN } from "../tunnel/arms.mjs";

const LOAD = join(ROOT, "bench", "relay", "load.mjs");
const HOLD = join(ROOT, "bench", "relay", "hold.mjs");
const RELAY = "10.9.1.1";
const CLIENT = "10.9.1.2";
const OUTSIDE = "203.0.113.1";
const PEER = { address: "203.0.113.2", port: 4000 };
const SECRET = "a secret of the benchmark";
const WITHIN_MS = 20_000;
/** What is smaller than this part of what was sent is no fair comparison any more. */
const ARRIVED_MIN = 0.95;

/** A tunnel's datagrams at MTU 1280; a train is what fits into one call. */
const CELLS = {
  "trains, up": { direction: "up", bytes: 1312, count: 44, sendsPerSecond: 400 },
  "trains, down": { direction: "down", bytes: 1312, count: 44, sendsPerSecond: 400 },
  "single, up": { direction: "up", bytes: 1312, count: 1, sendsPerSecond: 15_000 },
  "single, down": { direction: "down", bytes: 1312, count: 1, sendsPerSecond: 15_000 },
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      pairs: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      cells: { type: "string", default: "trains,single,held" },
      allocations: { type: "string", default: "10000" },
      rate: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  return {
    runtime: findRuntime(values.runtime),
    pairs: Number(values.pairs),
    seconds: Number(values.seconds),
    cells: values.cells.split(","),
    allocations: Number(values.allocations),
    ratePerSecond: Number(values.rate),
    seed: Number(values.seed),
    json: values.json,
  };
}

async function buildMachines(lab) {
  const [near, middle, far] = [await lab.add("near"), await lab.add("middle"), await lab.add("far")];
  await lab.connect(
    { namespace: near, device: "wan", addresses: [`${CLIENT}/24`] },
    { namespace: middle, device: "near", addresses: [`${RELAY}/24`] },
  );
  await lab.connect(
    { namespace: far, device: "wan", addresses: [`${PEER.address}/24`] },
    { namespace: middle, device: "far", addresses: [`${OUTSIDE}/24`] },
  );
  return { near, middle, far };
}

function writeSecret(file, text) {
  writeFileSync(file, text);
  chmodSync(file, 0o600);
}

/** More than most hosts allow a process: two sockets an allocation (RL-65). */
function withFiles(command, args) {
  return ["-c", 'ulimit -n 40000; exec "$@"', "sh", command, ...args];
}

/** Both relays share a machine and run the whole time: one works while the other is idle. */
async function startPostern(
  { middle },
  { runtime, more = ["--lowest-port", "50000", "--highest-port", "54999"] },
) {
  writeSecret(join(middle.runFolder, "stamp"), SECRET);
  const args = [
    ...[MAIN, "relay", "--stand-alone", "--stamp-secret-path", "/run/stamp"],
    ...["--public-ip4", OUTSIDE],
    ...more,
  ];
  const child = middle.start({ name: "postern relay", command: "sh", args: withFiles(runtime.path, args) });
  await child.waitForLine(/ ready /, { withinMs: WITHIN_MS, stream: "stderr" });
  const expiry = Math.floor(Date.now() / 1000) + 86_400;
  const credentials = relayCredentials(SECRET, { expiry, salt: "s".repeat(43) });
  return { child, port: 3478, realm: "firezone", ...credentials };
}

async function startCoturn({ middle }) {
  const [username, password] = ["bench", "bench-password"];
  const folder = middle.runFolder;
  // A file, as a password does not belong on a command line.
  writeSecret(
    join(folder, "turn.conf"),
    [
      ...["no-cli", "no-tls", "no-dtls", "lt-cred-mech", "realm=bench", `user=${username}:${password}`],
      ...["listening-port=3479", `listening-ip=${RELAY}`, `relay-ip=${OUTSIDE}`],
      ...["min-port=55000", "max-port=59999", "userdb=/run/turndb", "pidfile=/run/pid"],
      "",
    ].join("\n"),
  );
  const child = middle.start({
    name: "coturn",
    command: "turnserver",
    args: ["-c", "/run/turn.conf", "--log-file", "stdout"],
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  if (!child.isRunning()) throw new Error(`coturn ended: ${child.stdout()}${child.stderr()}`);
  return { child, port: 3479, realm: "bench", username, password };
}

async function startLoad(end, name, plan) {
  const [file, job] = [`${name}.plan`, `${name}.job`];
  writeSecret(join(end.runFolder, file), JSON.stringify(plan));
  const child = end.start({ name, command: process.execPath, args: [LOAD, `/run/${file}`, `/run/${job}`] });
  const [, said] = await child.waitForLine(/^ready (.*)$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { child, jobFile: join(end.runFolder, job), ...JSON.parse(said) };
}

async function openArm(machines, name, start, options, i) {
  const relay = await start(machines, options);
  const { username, password, realm, port } = relay;
  const client = await startLoad(machines.near, `client-${name}`, {
    ...{ own: CLIENT, port: 5000 + i, username, password, realm },
    ...{ server: { address: RELAY, port }, peer: PEER },
  });
  return { name, relay: relay.child, client: { ...client, server: { address: RELAY, port } } };
}

/** Bytes that a device of an end has received. */
function received(child) {
  const text = readFileSync(`/proc/${child.pid}/net/dev`, "utf8");
  return Number(/^\s*wan:\s*(\d+)/m.exec(text)?.[1]);
}

async function measure({ relay, client }, peer, { seconds, load }) {
  const { direction, bytes, count, sendsPerSecond } = load;
  const [from, to] = direction === "up" ? [client, peer] : [peer, client];
  const target = direction === "up" ? client.server : { address: client.address, port: client.port };
  writeFileSync(from.jobFile, JSON.stringify({ to: target, bytes, count, sendsPerSecond, seconds }));
  const [cpuBefore, bytesBefore] = [cpuSeconds(relay.pid), received(to.child)];
  const done = nextLine(from.child, seconds);
  from.child.signal("SIGUSR2");
  const { sent, refused } = await done;
  await new Promise((resolve) => setTimeout(resolve, 200));
  const gigabytes = (received(to.child) - bytesBefore) / 1e9;
  const used = cpuSeconds(relay.pid) - cpuBefore;
  const share = (gigabytes * 1e9) / ((sent - refused) * count * bytes);
  const isValid = share > ARRIVED_MIN;
  return {
    value: used / gigabytes,
    gbps: (gigabytes * 8) / seconds,
    share,
    valid: isValid,
    ...(isValid ? {} : { reason: `${Math.round(share * 100)} % arrived` }),
  };
}

/** Lines are waited for by pattern, and the same comes after every run: they are counted. */
async function nextLine(child, seconds) {
  const linesOf = () => [...child.stdout().matchAll(/^sent (.*)$/gm)];
  const before = linesOf().length;
  const end = performance.now() + (seconds + 10) * 1000;
  while (linesOf().length === before) {
    if (performance.now() > end) throw new Error("the load did not end");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return JSON.parse(linesOf().at(-1)[1]);
}

async function runCell(name, load, { arms, peer, draw, options }) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const arm of shuffled(arms, draw)) {
      const sample = await measure(arm, peer, { seconds: options.seconds, load });
      samples.push({ arm: arm.name, pair, ...sample });
      console.error(
        `${name.padEnd(13)} ${arm.name.padEnd(8)} ${sample.value.toFixed(3)} s/GB at ${sample.gbps.toFixed(2)} Gbit/s`,
      );
    }
  }
  const names = arms.map((arm) => arm.name);
  return cellOf({
    name,
    params: { ...load, seconds: options.seconds },
    unit: "s CPU/GB",
    samples,
    arms: names,
  });
}

const HELD_CHANNELS = 6;
const IDLE_SECONDS = 20;
const OUTSIDE_V6 = "2001:db8::1";
/** What is relayed while channels are bound: 1 Gbit/s in trains, for as long as the binds take. */
const BUSY = { bytes: 1312, count: 44, sendsPerSecond: 2_165, seconds: 10 };
const BINDS = 200;

/** What a relay needs that holds all this and relays nothing, and how fast it binds a channel while it relays (RL-66). */
async function runHeld(options) {
  const lab = createLab();
  try {
    const machines = await buildMachines(lab);
    const { near, middle } = machines;
    await near.ip("route add local 10.10.0.0/16 dev lo");
    await middle.ip(`route add 10.10.0.0/16 via ${CLIENT}`, `addr add ${OUTSIDE_V6}/128 dev lo`);
    const { allocations } = options;
    // One more, for the load.
    const more = ["--allocations-per-user", "0", "--max-allocations", String(allocations + 1)];
    more.push("--public-ip6", OUTSIDE_V6);
    const relay = await startPostern(machines, { ...options, more });
    const emptyMb = residentMb(relay.child);
    const before = cpuSeconds(relay.child.pid);
    const { holder, ...held } = await hold(near, relay, options);
    const setUpUs = ((cpuSeconds(relay.child.pid) - before) / allocations) * 1e6;
    const idleFrom = cpuSeconds(relay.child.pid);
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
    const idlePercent = ((cpuSeconds(relay.child.pid) - idleFrom) / IDLE_SECONDS) * 100;
    const sockets = readdirSync(`/proc/${relay.child.pid}/fd`).length;
    const value = residentMb(relay.child);
    const bind = await bindUnderLoad(machines, relay, holder);
    const isValid = held.failed === 0;
    const sample = {
      ...{ arm: "postern", pair: 0, value, emptyMb, sockets, idlePercent, setUpUs, bind, ...held },
      valid: isValid,
      ...(isValid ? {} : { reason: `${held.failed} failed: ${held.failure}` }),
    };
    console.error(`held ${JSON.stringify(sample)}`);
    const params = { allocations, channels: allocations * HELD_CHANNELS };
    const notes = [
      `${setUpUs.toFixed(0)} µs CPU each with ${HELD_CHANNELS} channels, ${sockets} descriptors`,
      `then ${idlePercent.toFixed(1)} % of a core`,
      `ChannelBind beside ${bind.gbps.toFixed(2)} Gbit/s: median ${bind.medianMs} ms, p99 ${bind.p99Ms}, most ${bind.mostMs}`,
    ].join("; ");
    return cellOf({ name: "held", params, unit: "MiB", samples: [sample], arms: ["postern"], notes });
  } finally {
    await lab.close();
  }
}

async function hold(near, { username, password, realm, port }, { allocations, ratePerSecond }) {
  const peers = Array.from({ length: HELD_CHANNELS }, (_, i) => ({ ...PEER, port: PEER.port + i }));
  const plan = {
    ...{ server: { address: RELAY, port }, username, password, realm, peers, allocations },
    ...{ ratePerSecond, binds: BINDS },
  };
  writeSecret(join(near.runFolder, "hold.plan"), JSON.stringify(plan));
  const args = withFiles(process.execPath, [HOLD, "/run/hold.plan"]);
  const holder = near.start({ name: "holder", command: "sh", args });
  const withinMs = (allocations / ratePerSecond) * 3000 + 60_000;
  const [, said] = await holder.waitForLine(/^held (.*)$/, { withinMs, stream: "stdout" });
  return { holder, ...JSON.parse(said) };
}

async function bindUnderLoad({ near, far }, { child, username, password, realm, port }, holder) {
  const server = { address: RELAY, port };
  const peer = await startLoad(far, "peer", { own: PEER.address, port: PEER.port });
  const load = { own: CLIENT, port: 5000, username, password, realm, server, peer: PEER };
  const client = await startLoad(near, "client", load);
  writeFileSync(client.jobFile, JSON.stringify({ to: server, ...BUSY }));
  const [bytesBefore, cpuBefore] = [received(peer.child), cpuSeconds(child.pid)];
  const done = nextLine(client.child, BUSY.seconds);
  client.child.signal("SIGUSR2");
  holder.signal("SIGUSR2");
  const [, said] = await holder.waitForLine(/^bound (.*)$/, { withinMs: 60_000, stream: "stdout" });
  await done;
  const times = JSON.parse(said).toSorted((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  return {
    gbps: ((received(peer.child) - bytesBefore) * 8) / 1e9 / BUSY.seconds,
    cores: (cpuSeconds(child.pid) - cpuBefore) / BUSY.seconds,
    ...{ medianMs: at(0.5), p99Ms: at(0.99), mostMs: times.at(-1), binds: times.length },
  };
}

function residentMb({ pid }) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

async function main() {
  const options = readOptions();
  const version = spawnSync("turnserver", ["--version"], { ...ASKED, encoding: "utf8" })
    .stdout?.trim()
    .split("\n")
    .at(-1);
  if (version === undefined) throw new Error("the benchmark needs coturn: install the package coturn");
  const result = beginResult("relay", {
    topology: "namespaces joined by veth: a client, both relays, a peer",
    seed: options.seed,
    runtime: `node ${options.runtime.version}`,
    baselines: { coturn: version },
  });
  const lab = createLab();
  try {
    const machines = await buildMachines(lab);
    const peer = await startLoad(machines.far, "peer", { own: PEER.address, port: PEER.port });
    const arms = [
      await openArm(machines, "postern", startPostern, options, 0),
      await openArm(machines, "coturn", startCoturn, options, 1),
    ];
    const draw = createDraw(options.seed);
    for (const [name, load] of Object.entries(CELLS)) {
      if (!options.cells.includes(name.split(",")[0])) continue;
      const cell = await runCell(name, load, { arms, peer, draw, options });
      result.cells.push(cell);
      console.error(`${name}: ${cell.ratio_to.coturn?.median.toFixed(2)} of coturn's processor time`);
    }
  } finally {
    await lab.close();
  }
  if (options.cells.includes("held")) result.cells.push(await runHeld(options));
  endResult(result, options);
}

await main();
