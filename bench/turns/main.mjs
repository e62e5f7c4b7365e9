/**
 * The packet plane of this build against that of another checkout, in one process, in turns of a few milliseconds.
 *
 *   npm run bench -- turns --against DIR [--runtime node24|node20|system|PATH] [--cipher NAME]
 *       [--turns 150] [--ms 3] [--load TEXT]
 *
 * Whatever else the machine does strikes both arms alike, so that differences of one in a hundred show where runs
 * one after the other spread by ten. What is left is luck of a process (where code and buffers lie, up to 3 % of
 * egress of single datagrams): run it several times. DIR is a checkout that has been built.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { ROOT } from "../../scripts/steps.mjs";
import { runInOurPlace } from "../lib/ending.mjs";
import { MEASURED } from "../lib/limits.mjs";
import { findRuntime } from "../lib/runtime.mjs";

const OPTIONS = {
  against: { type: "string" },
  runtime: { type: "string" },
  cipher: { type: "string" },
  turns: { type: "string", default: "150" },
  ms: { type: "string", default: "3" },
  load: { type: "string", default: "" },
};
/** Before the first turn, so that what is called often has its final code. */
const WARM_UP_MS = 400;
const LOADS = [
  { name: "tcp super-frames, MTU 1420", mtu: 1420, frames: (make) => [make.tcpFrame(1380)] },
  { name: "tcp super-frames, MTU 1280", mtu: 1280, frames: (make) => [make.tcpFrame(1240)] },
  { name: "udp 1200 bytes, one by one", mtu: 1420, frames: (make) => Array(43).fill(make.udpFrame(1200)) },
  { name: "udp 64 bytes, one by one", mtu: 1420, frames: (make) => Array(64).fill(make.udpFrame(64)) },
  { name: "udp 20 bytes, one by one", mtu: 1420, frames: (make) => Array(64).fill(make.udpFrame(20)) },
];

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.against === undefined) {
    console.error("bench: --against wants the folder of another checkout that has been built");
    return 2;
  }
  if (values.runtime !== undefined) return runOn(findRuntime(values.runtime).path);
  const checkouts = [];
  // One after the other: choosing a variant sets flags of the engine, and takes them back.
  for (const root of [ROOT, resolve(values.against)]) checkouts.push(await openCheckout(root, values.cipher));
  console.error(`node ${process.version}, ${checkouts.map(({ cipher }) => cipher).join(" against ")}`);
  for (const load of LOADS.filter(({ name }) => name.includes(values.load))) compare(checkouts, load, values);
  return 0;
}

/** Runs this file on another runtime, with the same options. */
function runOn(path) {
  const args = process.argv.slice(2);
  const at = args.findIndex((arg) => arg.startsWith("--runtime"));
  args.splice(at, args[at] === "--runtime" ? 2 : 1);
  return runInOurPlace(path, [fileURLToPath(import.meta.url), ...args], MEASURED);
}

/** A checkout's own plane, frames and loopback; until 2026-11-21 the cipher was called kernel. */
async function openCheckout(root, wanted) {
  const load = (path) => import(pathToFileURL(join(root, path)).href);
  const make = await load("bench/plane/frames.mjs");
  const { createLoopback } = await load("bench/plane/loopback.mjs");
  if (existsSync(join(root, "build/bindings/kernel.js"))) {
    const { chooseKernel } = await load("build/bindings/kernel.js");
    const { name, module } = chooseKernel({ kernel: wanted });
    return { make, createLoopback, module, cipher: name };
  }
  const { chooseCipher } = await load("build/bindings/cipher/index.js");
  const { name, module } = chooseCipher({ cipher: wanted });
  return { make, createLoopback, module, cipher: name };
}

function compare(checkouts, { name, mtu, frames }, { turns, ms }) {
  const arms = checkouts.map(({ make, createLoopback, module }) => {
    const made = frames(make);
    const loopback = createLoopback(module, { mtu });
    const bytes = made.map((frame) => frame.bytes);
    const packets = made.reduce((sum, frame) => sum + frame.packets, 0);
    return {
      turn: (milliseconds) => takeTurn(loopback, bytes, packets, milliseconds),
      egress: [],
      ingress: [],
    };
  });
  for (const { turn } of [...arms, ...arms]) turn(WARM_UP_MS);
  for (let i = 0; i < Number(turns); i++) {
    for (const arm of i % 2 === 0 ? arms : arms.toReversed()) {
      const { egress, ingress } = arm.turn(Number(ms));
      arm.egress.push(egress);
      arm.ingress.push(ingress);
    }
  }
  for (const path of ["egress", "ingress"]) {
    const [now, before] = arms.map((arm) => arm[path]);
    const ratio = quantile(before, 0.1) / quantile(now, 0.1);
    const pairs = quantile(
      before.map((value, i) => value / now[i]),
      0.5,
    );
    console.log(
      `${`${name}: ${path}`.padEnd(40)} ${quantile(now, 0.1).toFixed(1)} ns, speed ${ratio.toFixed(3)} of before (best tenth), ${pairs.toFixed(3)} (median of turns)`,
    );
  }
}

/** Nanoseconds per packet of a turn. */
function takeTurn(loopback, bytes, packets, milliseconds) {
  const sums = { egressMs: 0, ingressMs: 0, packets: 0 };
  const began = performance.now();
  do {
    const { egressMs, ingressMs } = loopback.run(bytes);
    sums.egressMs += egressMs;
    sums.ingressMs += ingressMs;
    sums.packets += packets;
  } while (performance.now() - began < milliseconds);
  return {
    egress: (sums.egressMs * 1e6) / sums.packets,
    ingress: (sums.ingressMs * 1e6) / sums.packets,
  };
}

function quantile(values, part) {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)];
}

process.exitCode = await main();
