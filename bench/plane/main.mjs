/**
 * The plane in memory, frames to datagrams and back, one thread (D-15).
 *
 *   npm run bench -- plane [--runtime node20|node24|PATH] [--cipher NAME] [--pairs 7] [--ms 400] [--buffers 1]
 *     [--load TEXT] [--without-flows] [--json]
 *
 * Of a gateway, mode and MTU of the product, two more cells per load: what goes by flow records and is translated
 * both ways, against what prefixes let pass (G-4).
 *
 * --load TEXT runs the loads whose name has it, --without-flows none of a gateway.
 * --buffers N reads frames into N buffers in turn, as a pool would hand them out (PG-56).
 *
 * Per load two cells: what enters the plane's egress per second, and what its ingress takes. The baseline
 * is the AEAD alone on packets of that length: the ratio is the share of the time that is cryptography,
 * so what is left of 1 is what validation, tables, splitting, checksums and joining cost.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chooseCipher, openBench, openMany, sealMany } from "../../build/bindings/cipher/index.js";
import { ip } from "../../build/src/base/index.js";
import { runInOurPlace } from "../lib/ending.mjs";
import { MEASURED } from "../lib/limits.mjs";
import { settle, validSample } from "../lib/quiet.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";
import { tcpFrame, udpFrame } from "./frames.mjs";
import { BY_FLOW, CIDR, createLoopback } from "./loopback.mjs";

/** A disturbed sample is repeated so often (TS-50). */
const ATTEMPTS = 10;

const OPTIONS = {
  runtime: { type: "string" },
  cipher: { type: "string" },
  pairs: { type: "string", default: "7" },
  ms: { type: "string", default: "400" },
  buffers: { type: "string", default: "1" },
  load: { type: "string", default: "" },
  "without-flows": { type: "boolean", default: false },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
};

/** `text`: plaintext per packet in bytes, as it is sealed (padded where the mode pads). */
const LOADS = [
  { name: "tcp super-frames, MTU 1420", mtu: 1420, text: 1420, frames: [tcpFrame(1380)] },
  { name: "tcp super-frames, MTU 1280", mtu: 1280, text: 1280, frames: [tcpFrame(1240)] },
  { name: "udp 1200 bytes, one by one", mtu: 1420, text: 1232, frames: Array(43).fill(udpFrame(1200)) },
  { name: "udp 64 bytes, one by one", mtu: 1420, text: 96, frames: Array(64).fill(udpFrame(64)) },
];

/** One datagram of each of so many flows in turn: nothing is known from the one before. */
const MANY = 1000;
const FLOW_LOADS = [
  { name: "gateway, tcp super-frames", frames: [tcpFrame(1240)], ports: [[0, 0]] },
  { name: "gateway, udp 1200 bytes", frames: Array(43).fill(udpFrame(1200)), ports: [[5000, 5001]] },
  {
    name: `gateway, udp 64 bytes, ${MANY} flows`,
    frames: Array.from({ length: MANY }, (_, i) => udpFrame(64, 5000 + i)),
    ports: Array.from({ length: MANY }, (_, i) => [5000 + i, 5001]),
  },
];

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.runtime !== undefined) return runOn(findRuntime(values.runtime).path);

  const { name, module } = chooseCipher({ cipher: values.cipher });
  const bench = openBench(module);
  const result = beginResult(`plane-${process.version.split(".")[0]}`, {
    topology: "one thread, in memory",
    pinning: `processor ${await settle()}`,
    seed: Number(values.seed),
    runtime: `${process.version}, V8 ${process.versions.v8}, cipher ${name}`,
    baselines: {},
  });
  const draw = createDraw(Number(values.seed));
  const wanted = ({ name }) => name.includes(values.load);
  for (const load of LOADS.filter(wanted))
    result.cells.push(...cellsFor(load, { module, bench, draw, values }));
  const flowLoads = values["without-flows"] ? [] : FLOW_LOADS;
  for (const load of flowLoads.filter(wanted))
    result.cells.push(...flowCellsFor(load, { module, draw, values }));
  console.error(table(result.cells));
  endResult(result, values);
  return 0;
}

/** Runs this part on another runtime, with the same options. */
function runOn(path) {
  const args = process.argv.slice(2);
  const at = args.findIndex((arg) => arg.startsWith("--runtime"));
  args.splice(at, args[at] === "--runtime" ? 2 : 1);
  return runInOurPlace(path, [fileURLToPath(import.meta.url), ...args], MEASURED);
}

/** By flow against by prefix, in turn. */
function flowCellsFor(load, { module, draw, values }) {
  const options = { mtu: 1280, mode: "gateway", buffers: Number(values.buffers) };
  const loopbacks = {
    postern: createLoopback(module, { ...options, tables: BY_FLOW, flows: flowsOf(load) }),
    prefix: createLoopback(module, { ...options, tables: CIDR }),
  };
  const milliseconds = Number(values.ms);
  for (const loopback of Object.values(loopbacks)) measurePlane(loopback, load, milliseconds);
  const samples = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const arms = Object.entries(loopbacks).map(([arm, loopback]) => () => ({
      arm,
      pair,
      ...validSample(() => measurePlane(loopback, load, milliseconds), ATTEMPTS),
    }));
    for (const measure of shuffled(arms, draw)) samples.push(measure());
  }
  for (const loopback of Object.values(loopbacks)) expectNoLoss(load, loopback);
  return ["egress", "ingress"].map((path) =>
    cellOf({
      name: `${load.name}: ${path} by flow, translated`,
      params: { mtu: 1280, flows: load.ports.length },
      unit: "Mpackets/s",
      arms: ["postern", "prefix"],
      samples: samples.map((sample) => ({ ...sample, value: sample.value[path].mpps })),
    }),
  );
}

/**
 * What leaves is a reply from 10.0.0.1 that becomes one of 10.0.0.3; arriving, that is a client's packet to
 * 10.0.0.2, which becomes one to 10.0.0.4.
 */
function flowsOf({ frames, ports }) {
  const protocol = frames[0].bytes[10 + 9];
  return ports.flatMap(([source, destination]) => [
    {
      protocol,
      client: { address: ip("10.0.0.2"), port: destination },
      remote: { address: ip("10.0.0.3"), port: source },
      outside: { address: ip("10.0.0.1"), port: destination },
      in: "nat",
      slot: 0,
    },
    {
      protocol,
      client: { address: ip("10.0.0.3"), port: source },
      remote: { address: ip("10.0.0.2"), port: destination },
      outside: { address: ip("10.0.0.4"), port: source },
      out: "nat",
      slot: 0,
    },
  ]);
}

function expectNoLoss({ name }, loopback) {
  const { egress, ingress } = loopback.counters();
  for (const { drops, counters } of [egress, ingress]) {
    if (Object.keys(drops).length > 0) throw new Error(`${name}: dropped ${JSON.stringify(drops)}`);
    if (counters.packets_punted > 0)
      throw new Error(`${name}: ${counters.packets_punted} packets without a record`);
  }
}

function cellsFor(load, { module, bench, draw, values }) {
  const loopback = createLoopback(module, { mtu: load.mtu, buffers: Number(values.buffers) });
  const milliseconds = Number(values.ms);
  measurePlane(loopback, load, milliseconds);
  const samples = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const arms = [
      () => ({
        arm: "postern",
        pair,
        ...validSample(() => measurePlane(loopback, load, milliseconds), ATTEMPTS),
      }),
      () => ({ arm: "aead", pair, ...validSample(() => measureAead(bench, load, milliseconds), ATTEMPTS) }),
    ];
    for (const measure of shuffled(arms, draw)) samples.push(measure());
  }
  expectNoLoss(load, loopback);
  return ["egress", "ingress"].map((path) =>
    cellOf({
      name: `${load.name}: ${path}`,
      params: { mtu: load.mtu, bytes: load.text },
      unit: "Mpackets/s",
      arms: ["postern", "aead"],
      samples: samples.map((sample) => ({
        ...sample,
        value: sample.value[path].mpps,
        gbps: sample.value[path].gbps,
      })),
      notes: `${gigabytes(samples, path)} GB/s of packets`,
    }),
  );
}

/**
 * Packets and bytes per second of our processor time, as `bench/aead` counts it: others on the machine cost
 * less that way. The clock divides that time between the two paths.
 */
function measurePlane(loopback, { frames }, milliseconds) {
  const packets = frames.reduce((sum, frame) => sum + frame.packets, 0);
  const bytes = frames.map((frame) => frame.bytes);
  const sums = { egressMs: 0, ingressMs: 0, outBytes: 0 };
  const processor = startProcessorClock();
  let runs = 0;
  for (; processor.ms() < milliseconds; runs++) {
    const { egressMs, ingressMs, outBytes } = loopback.run(bytes);
    sums.egressMs += egressMs;
    sums.ingressMs += ingressMs;
    sums.outBytes += outBytes;
  }
  const scale = processor.ms() / (sums.egressMs + sums.ingressMs);
  const [outMs, inMs] = [sums.egressMs * scale, sums.ingressMs * scale];
  const inBytes = runs * bytes.reduce((sum, { length }) => sum + length - 10, 0);
  return {
    egress: { mpps: (runs * packets) / outMs / 1e3, gbps: inBytes / outMs / 1e6 },
    ingress: { mpps: (runs * packets) / inMs / 1e3, gbps: sums.outBytes / inMs / 1e6 },
  };
}

/** The AEAD alone on the same number of bytes per packet, in batches as the loops have them. */
function measureAead(bench, { text }, milliseconds) {
  const messages = 32 * Math.ceil(50_000 / (text + 100));
  const speed = (work) => {
    const processor = startProcessorClock();
    let rounds = 0;
    for (; processor.ms() < milliseconds / 2; rounds++) work(bench, text, messages);
    const mpps = (rounds * messages) / processor.ms() / 1e3;
    return { mpps, gbps: (mpps * text) / 1e3 };
  };
  return { egress: speed(sealMany), ingress: speed(openMany) };
}

function startProcessorClock() {
  const started = process.cpuUsage();
  return {
    ms() {
      const { user, system } = process.cpuUsage(started);
      return (user + system) / 1000;
    },
  };
}

function gigabytes(samples, path) {
  const own = samples.filter(({ arm }) => arm === "postern").map(({ value }) => value[path].gbps);
  return [...own].sort((a, b) => a - b)[own.length >> 1].toFixed(2);
}

function table(cells) {
  const head = ["", "Mpackets/s", "baseline", "", "ratio", "notes"];
  const rows = cells.map((cell) => {
    const [baseline] = Object.keys(cell.ratio_to);
    const numbers = [cell.arms.postern, cell.arms[baseline]].map(({ median }) => median.toFixed(3));
    return [cell.name, ...numbers, baseline, cell.ratio_to[baseline].median.toFixed(3), cell.notes ?? ""];
  });
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

process.exitCode = await main();
