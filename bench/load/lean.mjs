/**
 * What a client costs a gateway that has access and a path, and is quiet (G-14): gateway and portal are the programs, the
 * clients are lean (`lean-clients.mjs`), since so many of the library's would not fit one machine. Resident memory of the
 * gateway without clients, as soon as all are connected, and when all of them are idle.
 *
 * ```
 *   near: clients, 10.10.0.0/16 ── veth ── far 10.9.0.2: portal and gateway
 * ```
 *
 * Each client has an address of its own, as a fleet has, and they share sixteen tokens: the portal lets so many in by
 * each of both (PT-72).
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createToken } from "../../build/src/portal/derive.js";
import { ROOT } from "../../scripts/steps.mjs";
import { cpuSeconds } from "../lib/processor.mjs";
import { cellOf } from "../lib/result.mjs";
import { percentile } from "../lib/statistics.mjs";
import { openFar } from "./far.mjs";
import { openHerd } from "./herd.mjs";
import { residentMb } from "./memory.mjs";

const LEAN_CLIENTS = join(ROOT, "bench", "load", "lean-clients.mjs");
const TOKENS = 16;
/** Long enough for the runtime to give back what the start has left. */
const SETTLE_MS = 5000;
/** No data for 20 s (SN-75), and the checks behind it. */
const IDLE_MS = 30_000;

const tokensOf = () =>
  Array.from({ length: TOKENS }, () =>
    createToken("client", { fill: (bytes) => bytes.set(randomBytes(bytes.length)) ?? bytes }),
  );

const portalFile = (tokens) => `version: 1
resources: [{ name: Far, type: cidr, address: 172.20.0.0/16, site: default }]
actors:
  - name: Fleet
    type: service_account
    tokens: [${tokens.map((token, i) => `{ name: fleet-${i}, token: ${token} }`).join(", ")}]
groups: [{ name: fleet, members: [Fleet] }]
policies: [{ group: fleet, resource: Far }]
`;

/** @returns a cell: KiB of the gateway for each idle client */
export async function measureLean(lab, options) {
  const { count, runtime, perProcess, note } = options;
  const tokens = tokensOf();
  const world = await openFar(lab, runtime, {
    portalFile: portalFile(tokens),
    clientTokens: tokens.join(","),
    program: options.program,
  });
  await world.near.ip("route add local 10.10.0.0/16 dev lo");
  await world.far.ip("route add 10.10.0.0/16 via 10.9.0.1");
  const gateway = await world.startGateway();
  const look = async (what, afterMs) => {
    await sleep(afterMs);
    const mb = residentMb(gateway.pid);
    note(`${what}: ${mb.toFixed(1)} MB`);
    return mb;
  };
  const herd = await openHerd(world, { ...options, perProcess, script: LEAN_CLIENTS, resourceName: "Far" });
  const empty = await look("no connections", SETTLE_MS);
  const [cpu, begun] = [cpuSeconds(gateway.pid), performance.now()];
  const { times, failed, failures } = await herd.each("connect");
  const seconds = (performance.now() - begun) / 1000;
  const cpuMsEach = ((cpuSeconds(gateway.pid) - cpu) * 1000) / Math.max(1, times.length);
  const connected = await look(`${times.length} connected in ${seconds.toFixed(1)} s, ${failed} failed`, 0);
  const idleCpu = cpuSeconds(gateway.pid);
  const idle = await look("all idle", IDLE_MS);
  const kibEach = ((idle - empty) * 1024) / count;
  const sample = { arm: "postern", pair: 0, value: kibEach, valid: failed === 0 };
  const more = {
    empty_mb: empty,
    connected_mb: connected,
    idle_mb: idle,
    failed,
    failures,
    per_second: times.length / seconds,
    p50_ms: percentile(times, 0.5),
    p99_ms: percentile(times, 0.99),
    gateway_cpu_ms_each: cpuMsEach,
    gateway_cpu_share_idle: (cpuSeconds(gateway.pid) - idleCpu) / (IDLE_MS / 1000),
  };
  return cellOf({
    name: `memory, ${count} clients of a gateway`,
    params: { clients: count },
    unit: "KiB per client",
    samples: [{ ...sample, ...more }],
    arms: ["postern"],
  });
}
