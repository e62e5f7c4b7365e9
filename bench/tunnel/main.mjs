/**
 * A tunnel between two network namespaces, alternating with wireguard-go (G-1 to G-4, G-6 to G-8, G-11, G-13 to G-15).
 *
 *   npm run bench -- tunnel [--runtime node24|node20|node26|deno|bun|system|PATH] [--mtu 1420,1280] [--pairs 5]
 *       [--seconds 10] [--cells tcp,udp,ping,ready,veth,streams,gateway,names,idle] [--delay 20] [--quick]
 *       [--once] [--without-postern] [--without-wireguard-go] [--json]
 *
 * --delay MS puts a wire with that round trip between the ends (G-9); the wire costs a processor's time, too.
 * --quick is for looking, --once repeats no invalid run. Stalls (PF-71) are looked for by
 * `--cells tcp --mtu 1420 --pairs 20 --seconds 30 --without-wireguard-go`: see `slowest_second`.
 * Needs root, iperf3 and wireguard-tools. Both arms are up all the time; runs alternate in drawn order.
 */
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { endOnSignals } from "../lib/ending.mjs";
import { beginResult, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, summary } from "../lib/statistics.mjs";
import {
  MAIN,
  openClientGateway,
  openNamedAndPlain,
  openPosternWg,
  openVeth,
  openWireguardGo,
} from "./arms.mjs";
import { format, planFor, REPEATS_MAX, runCell } from "./cells.mjs";
import { measureIdle } from "./idle.mjs";
import { openServers, tcp } from "./loads.mjs";
import { measureFirstAnswer, measureReady } from "./ready.mjs";
import { findWireguardGo } from "./wireguard-go.mjs";

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      mtu: { type: "string", default: "1420,1280" },
      pairs: { type: "string", default: "5" },
      seconds: { type: "string", default: "10" },
      cells: { type: "string", default: "tcp,udp,ping,ready,veth" },
      delay: { type: "string", default: "0" },
      seed: { type: "string", default: "1" },
      quick: { type: "boolean", default: false },
      once: { type: "boolean", default: false },
      "without-postern": { type: "boolean", default: false },
      "without-wireguard-go": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  return {
    runtime: findRuntime(values.runtime),
    mtus: values.mtu.split(",").map(Number),
    pairs: values.quick ? 2 : Number(values.pairs),
    seconds: values.quick ? 3 : Number(values.seconds),
    cells: new Set(values.cells.split(",")),
    roundTripMs: Number(values.delay),
    seed: Number(values.seed),
    // An invalid run is repeated, unless somebody only wants to look.
    repeats: values.quick || values.once ? 0 : REPEATS_MAX,
    hasPostern: !values["without-postern"],
    hasBaseline: !values["without-wireguard-go"],
    json: values.json,
  };
}

/** All cells of one MTU: arms up, loads, arms down. */
async function runMtu(mtu, options, baseline, result, draw) {
  const lab = createLab();
  try {
    const arms = [];
    const { runtime, roundTripMs } = options;
    if (options.hasPostern) arms.push(await openPosternWg(lab, { mtu, runtime, roundTripMs }));
    if (baseline !== undefined) {
      arms.push(await openWireguardGo(lab, { mtu, program: baseline.path, roundTripMs }));
    }
    for (const arm of arms) {
      await openServers(arm);
      // Warm up both directions: code is compiled by use (PF-16).
      for (const direction of ["up", "down"]) await tcp(arm, { direction, seconds: 2 });
    }
    for (const cell of planFor(mtu, options)) result.cells.push(await runCell(cell, arms, options, draw));
  } finally {
    await lab.close();
  }
}

/** Postern's tunnel as a share of the bare veth (G-3). */
async function runVeth(options, result, draw) {
  const lab = createLab();
  try {
    const arms = [];
    if (options.hasPostern) arms.push(await openPosternWg(lab, { mtu: 1420, runtime: options.runtime }));
    arms.push(await openVeth(lab));
    for (const arm of arms) await openServers(arm);
    const { seconds } = options;
    const load = (arm) => tcp(arm, { direction: "up", seconds });
    const cell = { name: "share-of-veth", unit: "Gbit/s", params: { mtu: 1420, seconds }, load };
    result.cells.push(await runCell(cell, arms, options, draw));
  } finally {
    await lab.close();
  }
}

/** Client and gateway against `postern wg` at the same MTU (G-4). */
async function runGateway(options, result, draw) {
  const lab = createLab();
  try {
    const arms = [
      await openClientGateway(lab, { runtime: options.runtime }),
      await openPosternWg(lab, { mtu: 1280, runtime: options.runtime }),
    ];
    for (const arm of arms) await openServers(arm);
    const { seconds } = options;
    for (const direction of ["up", "down"]) {
      const load = (arm) => tcp(arm, { direction, seconds });
      const cell = {
        name: `gateway-${direction}-1280`,
        unit: "Gbit/s",
        params: { mtu: 1280, direction, seconds },
        load,
      };
      result.cells.push(await runCell(cell, arms, options, draw));
    }
  } finally {
    await lab.close();
  }
}

/** A name with filters against a network without, through the same client and gateway (G-4). */
async function runNames(options, result, draw) {
  const lab = createLab();
  try {
    const arms = await openNamedAndPlain(lab, { runtime: options.runtime });
    const [named, plain] = arms;
    await openServers(plain);
    named.server = plain.server;
    const { seconds } = options;
    for (const arm of arms) for (const direction of ["up", "down"]) await tcp(arm, { direction, seconds: 2 });
    for (const direction of ["up", "down"]) {
      const load = (arm) => tcp(arm, { direction, seconds });
      const params = { mtu: 1280, direction, seconds };
      const cell = { name: `name-${direction}-1280`, unit: "Gbit/s", params, load };
      result.cells.push(await runCell(cell, arms, options, draw));
    }
  } finally {
    await lab.close();
  }
}

async function main() {
  endOnSignals();
  const options = readOptions();
  const baseline = options.hasBaseline ? findWireguardGo() : undefined;
  if (baseline === undefined && options.hasBaseline)
    console.error("bench: no wireguard-go here: nothing to compare with");
  const { seed, runtime } = options;
  const draw = createDraw(seed);
  const result = beginResult("tunnel", {
    topology: `two network namespaces joined by ${options.roundTripMs === 0 ? "veth" : "a wire"}, one tunnel process each`,
    mtu: options.mtus,
    pinning: "none",
    seed,
    runtime: runtime.label,
    baselines: { "wireguard-go": baseline?.version, "wireguard-go offloads": baseline?.hasOffloads },
  });
  console.error(`postern on ${runtime.label}, wireguard-go ${baseline?.version}`);
  const { cells } = options;
  if (["tcp", "udp", "ping", "streams"].some((name) => cells.has(name))) {
    for (const mtu of options.mtus) await runMtu(mtu, options, baseline, result, draw);
  }
  if (cells.has("veth")) await runVeth(options, result, draw);
  if (cells.has("gateway")) await runGateway(options, result, draw);
  if (cells.has("names")) await runNames(options, result, draw);
  const alone = [
    ["ready", () => measureReady({ runtime, main: MAIN, times: options.pairs })],
    ["ready", () => measureFirstAnswer({ runtime, times: options.pairs })],
    ["idle", () => measureIdle({ runtime, times: Math.min(3, options.pairs) })],
  ];
  for (const [name, measure] of alone) {
    if (!cells.has(name) || !options.hasPostern) continue;
    const cell = await measure();
    console.error(
      `${cell.name.padEnd(18)} ${cell.unit.padEnd(12)} ${format(summary(cell.samples.map((s) => s.value)).median)}`,
    );
    result.cells.push(cell);
  }
  endResult(result, options);
}

await main();
