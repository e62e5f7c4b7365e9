/**
 * The library in a program against `postern client` with a TUN device beside it, in the same run (PG-120 to PG-127).
 *
 *   npm run bench -- embed [--runtime node24|node20|system|PATH] [--grades fast,plain] [--pairs 5] [--seconds 10]
 *       [--cells tcp,connections,requests,memory] [--seed 1] [--quick] [--json]
 *
 * Every arm has two namespaces with a portal and a gateway of its own; runs alternate in drawn order. TCP is iperf3's
 * protocol at both ends: by TUN iperf3 itself, embedded `iperf.mjs`, each run a process of its own that warms up.
 * Needs root and iperf3.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals } from "../lib/ending.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw, shuffled, summary } from "../lib/statistics.mjs";
import { openClientGateway, openGateway } from "../tunnel/arms.mjs";
import { openServers, tcp } from "../tunnel/loads.mjs";

const HTTP_PORT = 8081;
const LOAD_MS_MAX = 120_000;
const CONNECTIONS = 1_000;
const ASKING = 64;
const INSTANCES = 10;

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      grades: { type: "string", default: "fast,plain" },
      pairs: { type: "string" },
      seconds: { type: "string", default: "10" },
      cells: { type: "string", default: "tcp,connections,requests,memory" },
      seed: { type: "string", default: "1" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  return {
    runtime: findRuntime(values.runtime),
    grades: values.grades.split(",").filter(Boolean),
    pairs: Number(values.pairs ?? (values.quick ? 2 : 5)),
    seconds: values.quick ? 3 : Number(values.seconds),
    cells: new Set(values.cells.split(",")),
    seed: Number(values.seed),
    json: values.json,
  };
}

/** Cells: name, unit, parameters, and what of an arm is measured. */
function planFor({ cells, seconds }) {
  const plan = [];
  if (cells.has("tcp")) {
    for (const direction of ["down", "up"]) {
      const params = { direction, seconds };
      const load = (arm) =>
        arm.via === "tun" ? tcp(arm, params) : embedded(arm, { load: "tcp", ...params });
      plan.push({ name: `tcp-${direction}`, unit: "Gbit/s", params, load });
    }
  }
  const add = (name, unit, load, params) =>
    plan.push({ name, unit, params, load: (arm) => embedded(arm, { load, ...params }) });
  if (cells.has("connections"))
    add("1000-connections", "opened and asked/s", "connections", { count: CONNECTIONS });
  if (cells.has("requests")) add("small-requests", "requests/s", "requests", { count: ASKING, seconds });
  return plan;
}

/** A process with the library, or by the kernel's sockets, in the arm's near namespace. */
async function embedded({ via, near, address, apiUrl, token }, params, flags = []) {
  const program = join(ROOT, "bench", "embed", "load.mjs");
  const told = JSON.stringify({ via, address, apiUrl, token, ...params });
  const text = await near.run(RUNTIME.path, [...flags, program, told], { withinMs: LOAD_MS_MAX });
  return { valid: true, ...JSON.parse(text.trim().split("\n").at(-1)) };
}

const options = readOptions();
const RUNTIME = options.runtime;

async function openArms(lab) {
  const arms = [];
  for (const via of [...options.grades, "tun"]) {
    const name = `em${via}`;
    const open = via === "tun" ? openClientGateway : openGateway;
    const arm = { ...(await open(lab, { runtime: RUNTIME, name })), name: via, via };
    arm.web = arm.far.start({
      name: "web server",
      command: RUNTIME.path,
      args: [join(ROOT, "bench", "embed", "server.mjs"), arm.address, String(HTTP_PORT)],
    });
    await arm.web.waitForLine(/listening/, { withinMs: 10_000 });
    if (via === "tun") await openServers(arm);
    else {
      arm.server = arm.far.start({
        name: "iperf3",
        command: "iperf3",
        args: ["-s", "--forceflush", "-B", arm.address],
      });
      await arm.server.waitForLine(/Server listening/, { withinMs: 10_000 });
    }
    arms.push(arm);
    console.error(`bench: ${via} is up`);
  }
  // By use code is compiled (PF-16): the embedded ones warm up in each run.
  for (const direction of ["down", "up"]) await tcp(arms.at(-1), { direction, seconds: 2 });
  return arms;
}

async function runCell({ name, unit, params, load }, arms, draw) {
  const samples = [];
  for (let pair = 0; pair < options.pairs; pair++) {
    for (const arm of shuffled(arms, draw)) {
      const sample = { arm: arm.name, pair, ...(await load(arm)) };
      samples.push(sample);
      console.error(`  ${name} ${pair + 1}/${options.pairs} ${arm.name} ${format(sample.value)} ${unit}`);
    }
  }
  const cell = cellOf({ name, params, unit, samples, arms: arms.map((arm) => arm.name), notes: "" });
  // Every embedding is told of against TUN.
  for (const grade of options.grades.slice(1)) {
    const its = cellOf({ name, params, unit, samples, arms: [grade, "tun"] });
    console.error(`${name} ${grade}: ${format(its.ratio_to.tun?.median)} of tun`);
  }
  console.error(`${name} ${arms[0].name}: ${format(cell.ratio_to.tun?.median)} of tun`);
  return cell;
}

/** Of the samples of one kind, those of each grade, as a cell without a baseline. */
function sideCell(name, unit, cells, key) {
  const samples = cells.flatMap((cell) =>
    cell.samples
      .filter((sample) => sample[key] !== undefined)
      .map(({ arm, pair, [key]: value }) => ({ arm, pair, value, valid: true })),
  );
  return cellOf({ name, params: {}, unit, samples, arms: options.grades });
}

async function runMemory(arms) {
  const samples = [];
  for (const arm of arms.filter(({ via }) => via !== "tun")) {
    const load = { load: "memory", count: INSTANCES };
    samples.push({ arm: arm.name, pair: 0, ...(await embedded(arm, load, ["--expose-gc"])) });
    console.error(`  memory per instance ${arm.name} ${format(samples.at(-1).value)} MB`);
  }
  return cellOf({
    name: "memory-per-instance",
    params: { instances: INSTANCES },
    unit: "MB",
    samples,
    arms: options.grades,
  });
}

function format(value) {
  return value === undefined ? "–" : Number(value.toPrecision(3)).toString();
}

async function main() {
  endOnSignals();
  const draw = createDraw(options.seed);
  const result = beginResult("embed", {
    topology: "two network namespaces joined by veth per arm; a gateway with a TUN device in the far one",
    mtu: [1280],
    pinning: "none",
    seed: options.seed,
    runtime: `node ${RUNTIME.version}`,
  });
  const lab = createLab();
  try {
    const arms = await openArms(lab);
    const cells = [];
    for (const one of planFor(options)) cells.push(await runCell(one, arms, draw));
    result.cells.push(...cells);
    if (options.cells.has("tcp")) {
      for (const [name, key] of [
        ["connect-client", "connectedMs"],
        ["first-byte", "firstByteMs"],
      ]) {
        const cell = sideCell(
          name,
          "ms",
          cells.filter((one) => one.name.startsWith("tcp")),
          key,
        );
        for (const grade of options.grades)
          console.error(
            `${name} ${grade}: ${format(summary(cell.samples.filter(({ arm }) => arm === grade).map(({ value }) => value))?.median)} ms`,
          );
        result.cells.push(cell);
      }
    }
    if (options.cells.has("memory")) result.cells.push(await runMemory(arms));
  } finally {
    await lab.close();
  }
  endResult(result, options);
}

await main();
