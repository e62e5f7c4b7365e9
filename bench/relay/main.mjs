/**
 * What a relay costs: processor seconds per gigabyte against coturn (G-10), for trains and for single datagrams, and
 * what a tunnel through it carries.
 *
 *   npm run bench -- relay [--runtime node24|node20|system|PATH] [--pairs 5] [--seconds 4]
 *       [--cells trains,single,trains-1k,single-40k,tunnel,held-ip4] [--allocations 10000] [--rate 200]
 *       [--against DIR,…] [--without-coturn] [--json]
 *
 * A client with a channel and its peer send at an even rate that both relays can follow; the devices behind the relay
 * count what came. `trains-1k`, `single-40k`: the same at a rate that keeps a relay busy. `tunnel`: TCP through client,
 * relay and gateway against the same without the relay. `held`: memory and processor time of our relay with many
 * allocations of both families and their channels, and how long a ChannelBind takes meanwhile while 1 Gbit/s is relayed
 * (RL-66); `held-ip4`: of one family, which fit into 20,000 open files.
 * --against: our relay as other checkouts have built it, as further arms. Needs root, coturn and iperf3.
 */
import { spawnSync } from "node:child_process";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { endOnSignals } from "../lib/ending.mjs";
import { ASKED } from "../lib/limits.mjs";
import { beginResult, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw } from "../lib/statistics.mjs";
import { buildMachines, openArm, PEER, startCoturn, startLoad, startPostern } from "./arms.mjs";
import { CELLS, runCell } from "./cost.mjs";
import { runHeld } from "./held.mjs";
import { runTunnel } from "./tunnel.mjs";

/** Ports for peers, of the relays of other checkouts. */
const OTHERS_FROM = 52_500;
const OTHERS_PORTS = 250;

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      pairs: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      cells: { type: "string", default: "trains,single,trains-1k,single-40k,tunnel,held-ip4" },
      allocations: { type: "string", default: "10000" },
      rate: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
      against: { type: "string" },
      "without-coturn": { type: "boolean", default: false },
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
    against: values.against?.split(",") ?? [],
    hasCoturn: !values["without-coturn"],
    json: values.json,
  };
}

/** Our relay, coturn, and our relay of other checkouts that have been built. */
async function openArms(machines, options) {
  const arms = [await openArm(machines, "postern", startPostern, options, 0)];
  if (options.hasCoturn) arms.push(await openArm(machines, "coturn", startCoturn, options, 1));
  for (const [i, root] of options.against.entries()) {
    const lowest = OTHERS_FROM + i * OTHERS_PORTS;
    const other = {
      ...{ ...options, main: join(resolve(root), "build", "program", "main.js") },
      ...{ name: basename(resolve(root)), port: 3480 + i },
      more: ["--lowest-port", String(lowest), "--highest-port", String(lowest + OTHERS_PORTS - 1)],
    };
    arms.push(await openArm(machines, other.name, startPostern, other, 2 + i));
  }
  return arms;
}

async function main() {
  endOnSignals();
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
  const draw = createDraw(options.seed);
  if (Object.keys(CELLS).some((name) => isWanted(name, options))) await runCosts(result, draw, options);
  if (isWanted("tunnel", options)) {
    for (const cell of await runTunnel({ options, draw })) {
      result.cells.push(cell);
      console.error(`${cell.name}: ${cell.ratio_to.direct?.median.toFixed(2)} of direct`);
    }
  }
  for (const [name, families] of Object.entries({ held: 2, "held-ip4": 1 })) {
    if (isWanted(name, options)) result.cells.push(await runHeld(name, { ...options, families }));
  }
  endResult(result, options);
}

/** `single` stands for either direction. */
function isWanted(name, { cells }) {
  return cells.includes(name.split(",")[0]);
}

async function runCosts(result, draw, options) {
  const lab = createLab();
  try {
    const machines = await buildMachines(lab);
    const peer = await startLoad(machines.far, "peer", { own: PEER.address, port: PEER.port });
    const arms = await openArms(machines, options);
    for (const [name, load] of Object.entries(CELLS)) {
      if (!isWanted(name, options)) continue;
      const cell = await runCell(name, load, { arms, peer, draw, options });
      result.cells.push(cell);
      for (const [arm, ratio] of Object.entries(cell.ratio_to)) {
        console.error(`${name}: ${ratio?.median.toFixed(3)} of ${arm}'s processor time`);
      }
    }
  } finally {
    await lab.close();
  }
}

await main();
