/**
 * A tunnel through our relay against the same tunnel without one (G-10).
 *
 * ```
 *   client 203.0.113.2 ── 203.0.113.1 [portal, relay] 203.0.113.65 ── 203.0.113.66 gateway, resource
 * ```
 *
 * Both arms have all programs. In the direct one the machine in the middle forwards, in the other it does not, so
 * that only the relay is left.
 */
import { createLab } from "../../build/src/program/lab/index.js";
import { cellOf } from "../lib/result.mjs";
import { shuffled } from "../lib/statistics.mjs";
import { MAIN, startPortal, startRole } from "../tunnel/arms.mjs";
import { openServers, tcp } from "../tunnel/loads.mjs";

const MIDDLE = "203.0.113.1";
const RESOURCE = "172.20.0.1";
const WITHIN_MS = 20_000;
/** ICE has a path within that. */
const PATH_WITHIN_S = 30;

async function openArm(lab, { name, isDirect, runtime }) {
  const [near, middle, far] = [
    await lab.add(`${name}-near`),
    await lab.add(`${name}-middle`),
    await lab.add(`${name}-far`),
  ];
  await lab.connect(
    { namespace: near, device: "wan", addresses: ["203.0.113.2/26"] },
    { namespace: middle, device: "near", addresses: [`${MIDDLE}/26`] },
  );
  await lab.connect(
    { namespace: far, device: "wan", addresses: ["203.0.113.66/26"] },
    { namespace: middle, device: "far", addresses: ["203.0.113.65/26"] },
  );
  await middle.sysctl("net/ipv4/ip_forward", isDirect ? "1" : "0");
  await near.ip(`route add default via ${MIDDLE}`);
  await far.ip("route add default via 203.0.113.65", `addr add ${RESOURCE}/32 dev lo`);
  const listen = `${MIDDLE}:8080`;
  const tokenFor = await startPortal(middle, { listen, runtime });
  const start = async (end, role, ...more) => {
    const args = ["--api-url", `ws://${listen}`, ...more];
    const child = startRole(end, { role, args, token: await tokenFor(role.toUpperCase()), runtime });
    await child.waitForLine(/\bready\b/i, { withinMs: WITHIN_MS });
    return child;
  };
  const relay = await start(middle, "relay", "--public-ip4", MIDDLE);
  const gateway = await start(far, "gateway", "--id", "bench-gateway");
  const client = await start(near, "client", "--id", "bench-client", "--dns-control", "disabled");
  await near.run("ping", ["-n", "-q", "-c", "1", "-w", String(PATH_WITHIN_S), RESOURCE], {
    withinMs: PATH_WITHIN_S * 1000 + 5000,
  });
  return { name, near, middle, far, address: RESOURCE, processes: [client, relay, gateway], runtime };
}

/** Bytes that the relay has passed on, either way. */
async function relayedBytes({ middle, runtime }) {
  const args = [...runtime.words, MAIN, "status", "--instance", "relay", "--json"];
  const { to_peers, to_clients } = JSON.parse(await middle.run(runtime.path, args)).relayed;
  return to_peers.bytes + to_clients.bytes;
}

/** iperf3, and whether its bytes went the way that the arm is about. */
async function measure(arm, { direction, seconds }) {
  const before = await relayedBytes(arm);
  const sample = await tcp(arm, { direction, seconds });
  const share = (await relayedBytes(arm)) - before;
  const bytes = (sample.value * 1e9 * seconds) / 8;
  const isRelayed = share > bytes / 2;
  if (isRelayed === (arm.name === "relayed")) return { ...sample, relayed_bytes: share };
  return { ...sample, relayed_bytes: share, valid: false, reason: `not ${arm.name}` };
}

/** Cells of either direction: Gbit/s of TCP, relayed and direct in turns. */
export async function runTunnel({ options, draw }) {
  const lab = createLab();
  try {
    const { runtime, seconds, pairs } = options;
    const arms = [
      await openArm(lab, { name: "relayed", isDirect: false, runtime }),
      await openArm(lab, { name: "direct", isDirect: true, runtime }),
    ];
    for (const arm of arms) {
      await openServers(arm);
      // Warm up both directions: code is compiled by use (PF-16).
      for (const direction of ["up", "down"]) await tcp(arm, { direction, seconds: 2 });
    }
    const cells = [];
    for (const direction of ["up", "down"]) {
      const samples = [];
      for (let pair = 0; pair < pairs; pair++) {
        for (const arm of shuffled(arms, draw)) {
          const sample = await measure(arm, { direction, seconds });
          samples.push({ arm: arm.name, pair, ...sample });
          console.error(
            `tunnel, ${direction} ${arm.name.padEnd(8)} ${sample.value.toFixed(2)} Gbit/s, ${sample.cpu_s_per_gb.toFixed(2)} s/GB ${sample.reason ?? ""}`,
          );
        }
      }
      const params = { direction, seconds };
      const cell = { name: `tunnel, ${direction}`, params, unit: "Gbit/s", samples };
      cells.push(cellOf({ ...cell, arms: arms.map((arm) => arm.name) }));
    }
    return cells;
  } finally {
    await lab.close();
  }
}
