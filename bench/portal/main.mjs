/**
 * What others notice of a flood at the portal (PT-72), and what 100,000 known devices cost it (PT-115).
 *
 *   npm run bench -- portal [--runtime node24|node20|system|PATH] [--pairs 7] [--flows 200]
 *       [--devices 100000] [--cells requests,heartbeats,joins,start,change] [--json]
 *
 * Everything runs on the loopback interface of one machine: the flood, the portal and the peers that are
 * measured share its processors.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals, endWithUs, removeWithUs } from "../lib/ending.mjs";
import { cpuSeconds } from "../lib/processor.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, median, percentile, shuffled } from "../lib/statistics.mjs";
import { connectPeer, flowTimes, loginPath, startPortal } from "./peers.mjs";
import { writeState } from "./state.mjs";

const FLOOD = join(ROOT, "test", "lib", "portal-flood.mjs");
const FLOODS = ["requests", "heartbeats", "joins"];
/** So that the portal's code is compiled, and the flood has used up its bursts. */
const WARM_UP_FLOWS = 200;
const FLOOD_SETTLES_MS = 1_500;

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      pairs: { type: "string", default: "7" },
      flows: { type: "string", default: "200" },
      devices: { type: "string", default: "100000" },
      cells: { type: "string", default: [...FLOODS, "start", "change"].join(",") },
      seed: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
    },
  });
  const { runtime, cells, json, ...numbers } = values;
  const counts = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
  return { runtime: findRuntime(runtime), cells: cells.split(","), json, ...counts };
}

/** One portal; its flows without and with a flood, in drawn order. */
async function runFlood(way, draw, options) {
  const samples = [];
  const portal = await startPortal(options.runtime, { resources: Math.max(WARM_UP_FLOWS, options.flows) });
  try {
    const gateway = await connectPeer(portal, "gateway");
    const timesOf = async (count) => {
      const client = await connectPeer(portal, "client");
      const times = await flowTimes(client, gateway, count);
      client.close();
      return times;
    };
    await timesOf(WARM_UP_FLOWS);
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const arm of shuffled(["flooded", "quiet"], draw)) {
        const flood = arm === "flooded" ? await startFlood(way, portal) : undefined;
        const [before, startedAt] = [cpuSeconds(portal.pid), performance.now()];
        const times = await timesOf(options.flows);
        const portalShare = (cpuSeconds(portal.pid) - before) / ((performance.now() - startedAt) / 1000);
        await flood?.stop();
        const sample = {
          value: percentile(times, 0.99),
          median_ms: median(times),
          portal_share: portalShare,
        };
        samples.push({ arm, pair, ...sample, valid: true });
        say(
          way,
          arm,
          sample.value,
          `median ${sample.median_ms.toFixed(2)}, portal ${portalShare.toFixed(2)}`,
        );
      }
    }
  } finally {
    await portal.stop();
  }
  const params = { flows: options.flows };
  const notes = "p99 of create_flow to flow_created of another client";
  return cellOf({ name: `flood of ${way}`, params, unit: "ms", samples, arms: ["flooded", "quiet"], notes });
}

async function startFlood(way, portal) {
  const { port } = new URL(portal.url);
  const args = [FLOOD, way, port, loginPath("client", "flooder"), portal.client];
  const child = endWithUs(spawn(process.execPath, args, { stdio: ["pipe", "ignore", "inherit"] }));
  await new Promise((resolve) => setTimeout(resolve, FLOOD_SETTLES_MS));
  return {
    async stop() {
      child.stdin.end();
      await once(child, "exit");
    },
  };
}

/** A fresh portal per sample, with and without devices in its state. */
async function runState(name, draw, options, measure) {
  const folder = removeWithUs(mkdtempSync(join(tmpdir(), "postern-bench-state-")));
  const samples = [];
  const known = `${options.devices} devices`;
  try {
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const arm of shuffled([known, "none"], draw)) {
        const data = join(folder, `${pair}-${arm}`);
        mkdirSync(data);
        if (arm === known) writeState(data, options.devices);
        const portal = await startPortal(options.runtime, { data, resources: options.flows });
        try {
          const value = await measure(portal, options);
          samples.push({ arm, pair, value, valid: true });
          say(name, arm, value, "");
        } finally {
          await portal.stop();
          rmSync(data, { recursive: true });
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return cellOf({ name, params: { devices: options.devices }, unit: "ms", samples, arms: [known, "none"] });
}

async function medianFlow(portal, { flows }) {
  const gateway = await connectPeer(portal, "gateway");
  const client = await connectPeer(portal, "client");
  return median(await flowTimes(client, gateway, flows));
}

function say(name, arm, ms, more) {
  console.error(`${name.padEnd(11)} ${arm.padEnd(15)} ${ms.toFixed(2)} ms  ${more}`);
}

async function main() {
  endOnSignals();
  const options = readOptions();
  const result = beginResult("portal", {
    topology: "portal, peers and flood on the loopback interface of one machine",
    seed: options.seed,
    runtime: `node ${options.runtime.version}`,
    baselines: {},
  });
  const draw = createDraw(options.seed);
  for (const way of FLOODS.filter((name) => options.cells.includes(name))) {
    result.cells.push(await runFlood(way, draw, options));
  }
  if (options.cells.includes("start")) {
    result.cells.push(await runState("start", draw, options, async ({ readyMs }) => readyMs));
  }
  if (options.cells.includes("change")) {
    result.cells.push(await runState("change", draw, options, medianFlow));
  }
  for (const { name, ratio_to, median: middle } of result.cells) {
    const [ratio] = Object.values(ratio_to);
    console.error(
      `${name}: ${middle.toFixed(2)} ms, ratio ${ratio.median.toFixed(2)} [${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)}]`,
    );
  }
  endResult(result, options);
}

await main();
