/**
 * A gateway with 100,000 translated sessions of 10,000 clients, in one process (TN-65 to TN-90, G-4).
 *
 *   npm run bench -- nat [--clients 10000] [--each 10] [--pairs 3] [--cipher NAME] [--json]
 *
 * Load and gateway share one thread, and only what the gateway does is timed, by the clock of the processor; portal,
 * resolver and connections are played (`gateway.mjs`). Datagrams arrive, and leave, one by one, those of all sessions
 * in turn: each finds a session, a key and a flow record that none before it has used.
 */

import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { chooseCipher } from "../../build/bindings/cipher/index.js";
import { beginResult, cellOf, endResult } from "../lib/result.mjs";
import { createDraw, shuffled } from "../lib/statistics.mjs";
import { admit, createGateway, idle, turn } from "./gateway.mjs";
import { createSealer, createSteps, replyFrame, sessionsOf } from "./traffic.mjs";

const OPTIONS = {
  clients: { type: "string", default: "10000" },
  each: { type: "string", default: "10" },
  pairs: { type: "string", default: "3" },
  payload: { type: "string", default: "200" },
  cipher: { type: "string" },
  seed: { type: "string", default: "1" },
  json: { type: "boolean", default: false },
};
/** The smaller gateway, with which the large one is compared. */
const FEW = 100;
const WARM_UP_SESSIONS = 100;
/** As a turn of control takes them. */
const BATCH = 256;
const IDLE_MS = 60_000;
/** Packets of a comparison, of as many sessions. */
const TRAFFIC = 30_000;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

function main() {
  const { values } = parseArgs({ options: OPTIONS });
  const options = {
    ...Object.fromEntries(
      ["clients", "each", "pairs", "payload", "seed"].map((key) => [key, Number(values[key])]),
    ),
  };
  const { name, module } = chooseCipher({ cipher: values.cipher });
  const result = beginResult("nat", {
    topology: "one thread, in memory; portal, resolver and connections played",
    seed: options.seed,
    runtime: `${process.version}, cipher ${name}`,
    baselines: {},
  });
  const draw = createDraw(options.seed);
  warmUp(module, options, draw);
  const samples = noSamples();
  for (let pair = 0; pair < options.pairs; pair++) {
    const built = {};
    for (const clients of shuffled([options.clients, FEW], draw)) {
      built[clients] = build(module, clients, pair, options, samples);
    }
    compareTraffic(built[options.clients], pair, options, samples, draw);
  }
  result.cells.push(...cellsOf(samples, options));
  for (const { name: cell, arms, unit } of result.cells) {
    const text = Object.entries(arms).map(([arm, { median }]) => `${arm} ${Number(median.toPrecision(3))}`);
    say(cell, `${text.join(", ")} ${unit}`);
  }
  endResult(result, values);
}

const noSamples = () => ({ come: [], sessions: [], memory: [], idle: [], arrive: [], leave: [] });

/** So that all code is compiled. */
function warmUp(module, options, draw) {
  say("warm-up", "");
  const few = { ...options, each: WARM_UP_SESSIONS };
  compareTraffic(build(module, FEW, 0, few, noSamples()), 0, few, noSamples(), draw);
}

/** A gateway whose clients come one after the other, and then begin their sessions. */
function build(module, clients, pair, { each, payload }, samples) {
  const arm = `${clients} clients`;
  const before = heapBytes();
  const gateway = createGateway(module, { clients });
  samples.come.push({
    arm,
    pair,
    value: microseconds(
      timed(() => admitAll(gateway, clients)),
      clients,
    ),
    valid: true,
  });
  say(`pair ${pair}`, `${arm}: ${samples.come.at(-1).value.toFixed(1)} us for each that came`);
  const withClients = heapBytes();
  const sessions = sessionsOf(clients, each);
  const steps = createSteps(module, gateway);
  const seal = createSealer(payload);
  const ms = begin(gateway, steps, sessions, seal);
  samples.sessions.push({ arm, pair, value: (1000 * sessions.length) / ms, valid: true });
  say(`pair ${pair}`, `${arm}: ${samples.sessions.at(-1).value.toFixed(0)} sessions a second`);
  const value = (heapBytes() - withClients) / sessions.length;
  samples.memory.push({ arm, pair, value, per_client: (withClients - before) / clients, valid: true });
  const idling = timed(() => idle(gateway, IDLE_MS));
  samples.idle.push({ arm, pair, value: (100 * idling) / IDLE_MS, valid: true });
  say(`pair ${pair}`, `${arm}: ${samples.idle.at(-1).value.toFixed(3)} % of a core while idle`);
  return { gateway, steps: createSteps(module, gateway), sessions, seal };
}

function admitAll(gateway, clients) {
  for (let n = 0; n < clients; n++) admit(gateway, n);
}

/** Sealing is the clients' work, and not timed. */
function begin(gateway, steps, sessions, seal) {
  let ms = 0;
  for (let i = 0; i < sessions.length; i += BATCH) {
    const datagrams = sessions.slice(i, i + BATCH).map(seal);
    ms += timed(() => {
      for (const datagram of datagrams) steps.receive(datagram);
      turn(gateway);
    });
  }
  const { toTun } = gateway;
  if (toTun !== sessions.length) throw new Error(`${toTun} of ${sessions.length} first packets passed`);
  if (gateway.machine.flowCount() !== sessions.length) throw new Error("a session has no record");
  return ms;
}

/** As many datagrams of all sessions in turn, and of one of them. */
function compareTraffic({ gateway, steps, sessions, seal }, pair, { payload }, samples, draw) {
  const count = Math.min(sessions.length, TRAFFIC);
  const stride = Math.floor(sessions.length / count);
  const arms = { all: (i) => sessions[i * stride], one: () => sessions[0] };
  for (const arm of shuffled(Object.keys(arms), draw)) {
    const datagrams = Array.from({ length: count }, (_, i) => seal(arms[arm](i)));
    const arriving = timed(() => {
      for (const datagram of datagrams) steps.receive(datagram);
    });
    const frames = Array.from({ length: count }, (_, i) => replyFrame(arms[arm](i), payload));
    const leaving = timed(() => {
      for (const frame of frames) steps.send(frame);
    });
    for (const [cell, ms] of [
      ["arrive", arriving],
      ["leave", leaving],
    ]) {
      samples[cell].push({ arm: `${arm} in turn`, pair, value: count / ms / 1000, valid: true });
    }
    say(
      `pair ${pair}`,
      `${arm}: in ${((arriving / count) * 1000).toFixed(2)} us, out ${((leaving / count) * 1000).toFixed(2)} us`,
    );
  }
  const punts = gateway.plane.takePunts(10).length;
  if (punts > 0) throw new Error("a packet of a known session went to control");
  const { egress, ingress } = gateway.plane.counters();
  for (const { drops } of [egress, ingress]) {
    if (Object.keys(drops).length > 0) throw new Error(`dropped: ${JSON.stringify(drops)}`);
  }
}

function cellsOf(samples, { clients, each, payload }) {
  const arms = [`${clients} clients`, `${FEW} clients`];
  const params = { clients, sessions: clients * each };
  const perClient = samples.memory.find(({ arm }) => arm === arms[0])?.per_client ?? 0;
  const cell = (name, unit, key, notes, ofArms = arms) =>
    cellOf({ name, unit, params, arms: ofArms, samples: samples[key], notes });
  const traffic = ["all in turn", "one in turn"];
  return [
    cell(
      "a client comes",
      "us",
      "come",
      "grant, name told, looked up and answered; processor time of control",
    ),
    cell(
      "sessions begin",
      "sessions/s",
      "sessions",
      `first datagram opened, judged, linked, sent on; ${each} of each client`,
    ),
    cell(
      "memory of a session",
      "bytes of heap",
      "memory",
      `and 192 bytes of the plane's; a client before: ${Math.round(perClient)} bytes of heap`,
    ),
    cell("idle", "% of a core", "idle", "a minute without a packet"),
    cell("datagrams arrive", "Mpackets/s", "arrive", `${payload} bytes of payload, one by one`, traffic),
    cell("datagrams leave", "Mpackets/s", "leave", `${payload} bytes of payload, one by one`, traffic),
  ];
}

function heapBytes() {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

/** Milliseconds of processor time of this process, the collector's threads included. */
function timed(work) {
  const started = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

function microseconds(ms, count) {
  return (1000 * ms) / count;
}

function say(what, text) {
  console.error(`${what.padEnd(21)} ${text}`);
}

main();
