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
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ASKED } from "../lib/limits.mjs";
import { beginResult, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw } from "../lib/statistics.mjs";
import { buildMachines, openArm, PEER, startCoturn, startLoad, startPostern } from "./arms.mjs";
import { CELLS, runCell } from "./cost.mjs";
import { runHeld } from "./held.mjs";

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
