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
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled, spread, summary } from "../lib/statistics.mjs";
import {
  MAIN,
  openClientGateway,
  openNamedAndPlain,
  openPosternWg,
  openVeth,
  openWireguardGo,
} from "./arms.mjs";
import { measureIdle } from "./idle.mjs";
import { openServers, ping, tcp, udp } from "./loads.mjs";
import { measureFirstAnswer, measureReady } from "./ready.mjs";
import { findWireguardGo } from "./wireguard-go.mjs";

const REPEATS_MAX = 2;
const SPREAD_MAX = 0.15;

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

/** The cells for one MTU: name, unit, load. */
function planFor(mtu, { cells, seconds, roundTripMs }) {
  const plan = [];
  const add = (name, unit, params, load) =>
    plan.push({
      name: `${name}-${mtu}${roundTripMs === 0 ? "" : `-${roundTripMs}ms`}`,
      unit,
      params: { mtu, ...(roundTripMs === 0 ? {} : { roundTripMs }), ...params },
      load,
    });
  if (cells.has("tcp")) {
    for (const direction of ["up", "down"]) {
      add(`tcp-${direction}`, "Gbit/s", { direction, seconds }, (arm) => tcp(arm, { direction, seconds }));
    }
  }
  if (cells.has("streams")) {
    for (const direction of ["up", "down"]) {
      const params = { streams: 4, direction, seconds };
      add(`tcp-4-streams-${direction}`, "Gbit/s", params, (arm) => tcp(arm, params));
    }
  }
  if (cells.has("udp")) {
    for (const [bytes, offered] of [
      [64, "150M"],
      [1200, "2500M"],
    ]) {
      const params = { bytes, offered, seconds };
      add(`udp-${bytes}`, "packets/s", params, (arm) => udp(arm, params));
    }
  }
  if (cells.has("ping")) {
    add("ping-idle", "ms (median)", {}, (arm) => ping(arm, { isLoaded: false }));
    add("ping-loaded", "ms (p99)", {}, (arm) => ping(arm, { isLoaded: true }));
  }
  return plan;
}

/** Runs a cell's load on every arm, pair by pair, in drawn order. */
async function runCell({ name, unit, params, load }, arms, options, draw) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const arm of shuffled(arms, draw))
      samples.push({ arm: arm.name, pair, ...(await runValid(arm, load, options)) });
  }
  const names = arms.map((arm) => arm.name);
  const baseline = samples.filter((sample) => sample.arm === names.at(-1)).map((sample) => sample.value);
  const wide = baseline.length > 1 && spread(baseline) > SPREAD_MAX;
  const notes = wide ? `invalid: the baseline's spread is ${(spread(baseline) * 100).toFixed(0)} %` : "";
  const cell = cellOf({ name, params, unit, samples, arms: names, notes });
  printCell(cell, names);
  return cell;
}

async function runValid(arm, load, { repeats }) {
  for (let attempt = 0; ; attempt++) {
    const sample = await load(arm);
    if (sample.valid || attempt >= repeats) return attempt === 0 ? sample : { ...sample, repeated: attempt };
  }
}

function printCell(cell, names) {
  const values = names.map((name) => `${name} ${format(cell.arms[name]?.median)}`).join(", ");
  const ratios = Object.entries(cell.ratio_to).map(([to, ratio]) => {
    const cpu = cell.cpu_ratio_to[to];
    const cost = cpu === undefined ? "" : `, CPU per GB ${format(cpu.median)}×`;
    return `${format(ratio?.median)}× ${to} [${format(ratio?.min)}–${format(ratio?.max)}]${cost}`;
  });
  const invalid = cell.samples.filter((sample) => sample.valid === false).length;
  const notes = [
    ...(invalid > 0 ? [`${invalid} of ${cell.samples.length} samples invalid`] : []),
    cell.notes,
  ];
  console.error(
    `${cell.name.padEnd(18)} ${cell.unit.padEnd(12)} ${values}; ${ratios.join("; ")} ${notes.join("; ")}`,
  );
}

function format(value) {
  return value === undefined ? "–" : Number(value.toPrecision(3)).toString();
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
