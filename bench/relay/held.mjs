/** Our relay with many allocations and their channels: memory, processor time, and how fast a channel is bound (RL-66). */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLab } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { cpuSeconds } from "../lib/processor.mjs";
import { cellOf } from "../lib/result.mjs";
import {
  buildMachines,
  CLIENT,
  nextLine,
  PEER,
  RELAY,
  received,
  startLoad,
  startPostern,
  withFiles,
  writeSecret,
} from "./arms.mjs";

const HOLD = join(ROOT, "bench", "relay", "hold.mjs");
const HELD_CHANNELS = 6;
const IDLE_SECONDS = 20;
const OUTSIDE_V6 = "2001:db8::1";
/** What is relayed while channels are bound: 1 Gbit/s in trains, for as long as the binds take. */
const BUSY = { bytes: 1312, count: 44, sendsPerSecond: 2_165, seconds: 10 };
const BINDS = 200;

/**
 * What a relay needs that holds all this and relays nothing, and how fast it binds a channel while it relays (RL-66).
 * @param families 2: a socket for each family and allocation; 1: IPv4 alone
 */
export async function runHeld(name, { families, ...options }) {
  const lab = createLab();
  try {
    const machines = await buildMachines(lab);
    const { near, middle } = machines;
    await near.ip("route add local 10.10.0.0/16 dev lo");
    await middle.ip(`route add 10.10.0.0/16 via ${CLIENT}`, `addr add ${OUTSIDE_V6}/128 dev lo`);
    const { allocations } = options;
    // One more, for the load.
    const more = ["--allocations-per-user", "0", "--max-allocations", String(allocations + 1)];
    if (families === 2) more.push("--public-ip6", OUTSIDE_V6);
    const relay = await startPostern(machines, { ...options, more });
    const emptyMb = residentMb(relay.child);
    const before = cpuSeconds(relay.child.pid);
    const { holder, ...held } = await hold(near, relay, options);
    const setUpUs = ((cpuSeconds(relay.child.pid) - before) / allocations) * 1e6;
    const idleFrom = cpuSeconds(relay.child.pid);
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
    const idlePercent = ((cpuSeconds(relay.child.pid) - idleFrom) / IDLE_SECONDS) * 100;
    const sockets = readdirSync(`/proc/${relay.child.pid}/fd`).length;
    const value = residentMb(relay.child);
    const bind = await bindUnderLoad(machines, relay, holder);
    const isValid = held.failed === 0;
    const sample = {
      ...{ arm: "postern", pair: 0, value, emptyMb, sockets, idlePercent, setUpUs, bind, ...held },
      valid: isValid,
      ...(isValid ? {} : { reason: `${held.failed} failed: ${held.failure}` }),
    };
    console.error(`held ${JSON.stringify(sample)}`);
    const params = { allocations, families, channels: allocations * HELD_CHANNELS };
    const notes = [
      `${setUpUs.toFixed(0)} µs CPU each with ${HELD_CHANNELS} channels, ${sockets} descriptors`,
      `then ${idlePercent.toFixed(1)} % of a core`,
      `ChannelBind beside ${bind.gbps.toFixed(2)} Gbit/s: median ${bind.medianMs} ms, p99 ${bind.p99Ms}, most ${bind.mostMs}`,
    ].join("; ");
    return cellOf({ name, params, unit: "MiB", samples: [sample], arms: ["postern"], notes });
  } finally {
    await lab.close();
  }
}

async function hold(near, { username, password, realm, port }, { allocations, ratePerSecond }) {
  const peers = Array.from({ length: HELD_CHANNELS }, (_, i) => ({ ...PEER, port: PEER.port + i }));
  const plan = {
    ...{ server: { address: RELAY, port }, username, password, realm, peers, allocations },
    ...{ ratePerSecond, binds: BINDS },
  };
  writeSecret(join(near.runFolder, "hold.plan"), JSON.stringify(plan));
  const args = withFiles(process.execPath, [HOLD, "/run/hold.plan"]);
  const holder = near.start({ name: "holder", command: "sh", args });
  const withinMs = (allocations / ratePerSecond) * 6000 + 60_000;
  const [, said] = await holder.waitForLine(/^held (.*)$/, { withinMs, stream: "stdout" });
  return { holder, ...JSON.parse(said) };
}

async function bindUnderLoad({ near, far }, { child, username, password, realm, port }, holder) {
  const server = { address: RELAY, port };
  const peer = await startLoad(far, "peer", { own: PEER.address, port: PEER.port });
  const load = { own: CLIENT, port: 5000, username, password, realm, server, peer: PEER };
  const client = await startLoad(near, "client", load);
  writeFileSync(client.jobFile, JSON.stringify({ to: server, ...BUSY }));
  const [bytesBefore, cpuBefore] = [received(peer.child), cpuSeconds(child.pid)];
  const done = nextLine(client.child, BUSY.seconds);
  client.child.signal("SIGUSR2");
  holder.signal("SIGUSR2");
  const [, said] = await holder.waitForLine(/^bound (.*)$/, { withinMs: 60_000, stream: "stdout" });
  await done;
  const times = JSON.parse(said).toSorted((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  return {
    gbps: ((received(peer.child) - bytesBefore) * 8) / 1e9 / BUSY.seconds,
    cores: (cpuSeconds(child.pid) - cpuBefore) / BUSY.seconds,
    ...{ medianMs: at(0.5), p99Ms: at(0.99), mostMs: times.at(-1), binds: times.length },
  };
}

function residentMb({ pid }) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}
