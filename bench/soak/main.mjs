/**
 * A tunnel at full rate for a long time, with re-keys and faults now and then (TS-62, TS-63).
 *
 *   npm run bench -- soak [--minutes 45] [--runtime node24|node20|system|PATH] [--slice 30] [--idle 240]
 *       [--without-faults] [--fault TEXT] [--seed 1] [--every-second] [--json]
 *
 * Client and gateway carry TCP in slices, between which the bare cable is measured; beside it ten small requests and
 * ten DNS queries a second, and two relays that take over where the direct path is gone (`beside.mjs`). --fault: only
 * those that have this in their name. Every 20 to 60 s one of the faults
 * of `faults.mjs` strikes, and all the time single system calls of the workers fail (TS-64); once, at a fifth of the
 * time, both ends lose their devices and start again, and their cable refuses segments for a while (`restarts.mjs`).
 * Behind the last slice everything is idle for --idle seconds. It ends by itself, with
 * status 1 where something was wrong: a second without a byte, or in which a request or a query failed or none was
 * answered, later than 20 s behind a fault (30 s for what was asked before), a slice that broke,
 * tables that are fuller after idling than before all, and, from half an hour on, memory of the last quarter above
 * 110 % of the second's, descriptors that stay open, a last ten minutes more than 10 % below the first ten as a share of
 * the cable. Needs root, iperf3 and curl.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { endOnSignals } from "../lib/ending.mjs";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw } from "../lib/statistics.mjs";
import { residentMb } from "../load/memory.mjs";
import { openClientGateway, openVeth } from "../tunnel/arms.mjs";
import { openServers } from "../tunnel/loads.mjs";
import { openRelays, openSmall, tellSecond, tellSmall } from "./beside.mjs";
import { FAULTS } from "./faults.mjs";
import { restartBoth } from "./restarts.mjs";
import { METRICS_ARGS, readTables } from "./tables.mjs";
import { faultsFound, lastToFirst, programsOf } from "./verdict.mjs";

const PRELOAD = join(ROOT, "test", "lib", "faulty-library.mjs");
/** Of each kind one call in some ten thousand, by numbers that do not meet. */
const CALL_FAULTS = [
  ...["sendmsg:5003+50021:105", "sendmsg:7001+40009:11", "sendmsg:9001+60013:90", "sendmsg:11003+70001:101"],
  ...["recvmsg:5009+50023:12", "recvmsg:7013+40031:4", "read:6007+60017:5", "write:8009+80021:22"],
  ...["poll:3001+9001:4"],
].join(",");
const FAULT_EVERY_S = [20, 60];
const CABLE_S = 5;
/** Before the second quarter, whose memory is what the last one's is held against. */
const RESTARTS_AT = 0.2;
const FILTERS = [{ protocol: "icmp" }, { protocol: "tcp", ports: ["80", "5201"] }];
const RESOURCES = [
  { name: "Far", type: "cidr", address: "172.20.0.0/16", site: "default", filters: FILTERS },
  { name: "Names", type: "dns", address: "*.load.example", site: "default" },
];

function readOptions() {
  const { values } = parseArgs({
    options: {
      runtime: { type: "string", default: "node24" },
      minutes: { type: "string", default: "45" },
      slice: { type: "string", default: "30" },
      idle: { type: "string", default: "240" },
      "without-faults": { type: "boolean", default: false },
      fault: { type: "string", default: "" },
      seed: { type: "string", default: "1" },
      "every-second": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const faults = Object.keys(FAULTS).filter((name) => name.includes(values.fault));
  if (faults.length === 0) throw new Error(`no fault '${values.fault}': ${Object.keys(FAULTS).join(", ")}`);
  return {
    runtime: findRuntime(values.runtime),
    faults,
    minutes: Number(values.minutes),
    sliceS: Number(values.slice),
    idleS: Number(values.idle),
    hasFaults: !values["without-faults"],
    seed: Number(values.seed),
    isEverySecondTold: values["every-second"],
    json: values.json,
  };
}

async function openArms(lab, { runtime, hasFaults }) {
  const tunnel = await withFaultyCalls(hasFaults ? CALL_FAULTS : "", () =>
    openClientGateway(lab, {
      runtime,
      resources: RESOURCES,
      clientArgs: METRICS_ARGS,
      gatewayArgs: [...METRICS_ARGS, "--flow-logs"],
    }),
  );
  await openServers(tunnel);
  const cable = await openVeth(lab);
  await openServers(cable);
  const relays = await openRelays(tunnel, runtime);
  const tables = await readTables(tunnel);
  const small = await openSmall(tunnel);
  return { tunnel: { ...tunnel, relays, isRestarting: false }, cable, small, tables };
}

/** Of what `open` starts, the workers' system calls fail as the script says; empty: none. */
async function withFaultyCalls(script, open) {
  const before = process.env.NODE_OPTIONS;
  if (script !== "") {
    process.env.NODE_OPTIONS = `${before ?? ""} --import ${PRELOAD}`.trim();
    process.env.POSTERN_TEST_FAULTS = script;
  }
  try {
    return await open();
  } finally {
    delete process.env.POSTERN_TEST_FAULTS;
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
  }
}

/** One run of iperf3: Gbit/s, and when there was a second without a byte. */
async function slice(arm, seconds) {
  const began = Date.now();
  const args = ["-c", arm.address, "-t", String(seconds), "-J", "--connect-timeout", "20000"];
  // iperf3 waits for the last bytes to be taken: a fault at the end makes it longer.
  const text = await arm.near.run("iperf3", args, { withinMs: (seconds + 60) * 1000 });
  const { error, end, intervals } = JSON.parse(text);
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  const whole = intervals.map(({ sum }) => sum).filter(({ seconds: length }) => length > 0.9);
  const empty = whole.filter(({ bytes }) => bytes === 0).map(({ start }) => began + start * 1000);
  return { began, gbps: end.sum_received.bits_per_second / 1e9, empty };
}

function lookAt(tunnel) {
  return programsOf(tunnel).map(({ pid }) => ({
    residentMb: residentMb(pid),
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  }));
}

/** Faults one after the other until told to stop; when each began and ended, and which. */
function strike(arm, { faults: names, minutes, seed }, note) {
  const draw = createDraw(seed);
  const restartsAt = Date.now() + minutes * 60_000 * RESTARTS_AT;
  let isRestarted = false;
  const struck = [];
  const failed = [];
  let isOver = false;
  const [least, most] = FAULT_EVERY_S;
  const done = (async () => {
    for (;;) {
      const until = Date.now() + 1000 * (least + draw() * (most - least));
      while (Date.now() < until && !isOver) await sleep(250);
      if (isOver) return;
      if (!isRestarted && Date.now() > restartsAt) {
        isRestarted = true;
        await restartBoth(arm, {
          struck,
          start: (open, script = CALL_FAULTS) => withFaultyCalls(script, open),
          note,
        });
        continue;
      }
      const name = names[Math.floor(draw() * names.length)];
      const record = { name, from: Date.now(), to: Number.POSITIVE_INFINITY };
      struck.push(record);
      note(`fault: ${name}`);
      await FAULTS[name](arm, draw);
      record.to = Date.now();
    }
  })().catch((error) => {
    note(`no more faults: ${error.message}`);
    failed.push(`a fault failed: ${error.message}`);
  });
  return {
    struck,
    failed,
    stop() {
      isOver = true;
      return done;
    },
  };
}

/** Alternates tunnel and cable until the time is over. */
async function soak({ tunnel, cable, small }, options, note) {
  const seen = { slices: [], looks: [], broken: [] };
  let told = 0;
  const tell = () => {
    const seconds = small.seconds().slice(told);
    told += seconds.length;
    if (options.isEverySecondTold) for (const second of seconds) note(tellSecond(second));
    note(`  ${tellSmall(seconds)}`);
  };
  const faults = options.hasFaults ? strike(tunnel, options, note) : undefined;
  const began = Date.now();
  const end = began + options.minutes * 60_000;
  while (Date.now() < end) {
    if (tunnel.isRestarting) {
      await sleep(250);
      continue;
    }
    try {
      const through = await slice(tunnel, options.sliceS);
      const bare = await slice(cable, CABLE_S);
      const share = through.gbps / bare.gbps;
      seen.slices.push({ ...through, share });
      if (tunnel.isRestarting) continue;
      const looked = lookAt(tunnel);
      seen.looks.push(looked);
      const minute = ((Date.now() - began) / 60_000).toFixed(1);
      const memory = looked.map((one) => one.residentMb.toFixed(0)).join(" + ");
      note(
        `minute ${minute} of ${options.minutes}: ${through.gbps.toFixed(2)} Gbit/s, ${share.toFixed(2)} of the cable, ${memory} MB`,
      );
      tell();
    } catch (error) {
      seen.broken.push(error.message);
      note(`broken: ${error.message}`);
      if (!tunnel.isRestarting && programsOf(tunnel).some((child) => !child.isRunning())) break;
    }
  }
  await faults?.stop();
  const seconds = small.seconds();
  note(`idle for ${options.idleS} s`);
  small.stop();
  await sleep(options.idleS * 1000);
  const { struck = [], failed = [] } = faults ?? {};
  return { ...seen, struck, failed, seconds, tables: await readTables(tunnel) };
}

async function main() {
  endOnSignals();
  const options = readOptions();
  const lab = createLab();
  const note = (text) => console.error(`soak: ${text}`);
  try {
    note("opening client, gateway, two relays and a bare cable");
    const arms = await openArms(lab, options);
    const seen = await soak(arms, options, note);
    const wrong = faultsFound(seen, arms, options);
    const result = beginResult("soak", {
      topology:
        "client and gateway on veth, two relays; TCP up at full rate, small requests and DNS; a bare veth beside them",
      seed: options.seed,
      runtime: options.runtime.version,
    });
    const samples = seen.slices.map(({ share, gbps }, pair) => ({
      arm: "postern",
      pair,
      value: share,
      gbps,
      valid: true,
    }));
    const notes = [
      `${seen.struck.length} faults`,
      `last to first ${lastToFirst(seen.slices, options.minutes).toFixed(2)}`,
    ];
    result.cells.push(
      cellOf({
        name: `soak, ${options.minutes} min`,
        params: { minutes: options.minutes, faults: options.hasFaults },
        unit: "share of the cable",
        samples,
        arms: ["postern"],
        notes: [...notes, ...wrong].join("; "),
      }),
    );
    const last = seen.looks
      .at(-1)
      ?.map((one) => `${one.residentMb.toFixed(0)} MB, ${one.descriptors} descriptors`);
    note(`${seen.slices.length} slices, ${notes.join(", ")}; at the end ${last?.join(" and ")}`);
    for (const one of wrong) note(`WRONG: ${one}`);
    note(wrong.length === 0 ? "nothing was wrong" : `${wrong.length} things were wrong`);
    endResult(result, options);
    return wrong.length === 0 ? 0 : 1;
  } finally {
    await lab.close();
  }
}

process.exitCode = await main();
