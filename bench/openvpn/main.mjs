/**
 * A tunnel between two network namespaces, alternating with OpenVPN, once with each cipher (G-1).
 *
 *   npm run bench -- openvpn [--runtime node24|node20|node26|deno|bun|system|PATH] [--mtu 1420] [--pairs 5] [--seconds 4]
 *       [--ciphers aes-256-gcm,chacha20-poly1305] [--cells tcp,udp-1200] [--once] [--json]
 *
 * OpenVPN is peer to peer over UDP, without compression, as in `postern bench`; AES-256-GCM is its default, and
 * ChaCha20-Poly1305 has the same cipher at both. --cells as of `tunnel`: also `ping`, `streams`, `udp-64`. --once
 * repeats no invalid run. Needs root, iperf3, wireguard-tools, openssl and OpenVPN 2.6 (packages of Debian). All arms are
 * up all the time; runs alternate in drawn order.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { OPENVPN_ARMS, openVpn } from "../../build/src/program/bench/arms.js";
import { createLab } from "../../build/src/program/lab/index.js";
import { endOnSignals } from "../lib/ending.mjs";
import { ASKED } from "../lib/limits.mjs";
import { beginResult, endResult } from "../lib/result.mjs";
import { findRuntime } from "../lib/runtime.mjs";
import { createDraw } from "../lib/statistics.mjs";
import { openPosternWg } from "../tunnel/arms.mjs";
import { planFor, REPEATS_MAX, runCell } from "../tunnel/cells.mjs";
import { openServers, tcp } from "../tunnel/loads.mjs";

const OPTIONS = {
  runtime: { type: "string", default: "node24" },
  mtu: { type: "string", default: "1420" },
  pairs: { type: "string", default: "5" },
  seconds: { type: "string", default: "4" },
  ciphers: { type: "string", default: "aes-256-gcm,chacha20-poly1305" },
  cells: { type: "string", default: "tcp,udp-1200" },
  seed: { type: "string", default: "1" },
  once: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
};

/** The release, or undefined: there is none. */
function versionOfOpenVpn() {
  const { stdout } = spawnSync("openvpn", ["--version"], { ...ASKED, encoding: "utf8" });
  return /^OpenVPN (\S+)/.exec(stdout ?? "")?.[1];
}

/** An arm as those of `tunnel`. */
async function openOpenVpn(lab, { version, cipher, mtu }) {
  const arm = await openVpn("openvpn", version, cipher)(lab, { mtu });
  const { near, far, address, programs, note } = arm;
  console.error(`OpenVPN: ${note}`);
  return { name: cipher, near, far, address, processes: programs, support: [] };
}

async function runMtu(mtu, options, result, draw) {
  const lab = createLab();
  try {
    const { runtime, version, ciphers } = options;
    const arms = [await openPosternWg(lab, { mtu, runtime })];
    for (const cipher of ciphers) arms.push(await openOpenVpn(lab, { version, cipher, mtu }));
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

async function main() {
  endOnSignals();
  const { values } = parseArgs({ options: OPTIONS });
  const ciphers = values.ciphers.split(",");
  const unknown = ciphers.filter((cipher) => OPENVPN_ARMS[cipher] === undefined);
  if (unknown.length > 0) {
    console.error(`bench: --ciphers ${unknown}: there are ${Object.keys(OPENVPN_ARMS).join(", ")}`);
    return 2;
  }
  const version = versionOfOpenVpn();
  if (version === undefined) {
    console.error("bench: no openvpn here: apt-get install --no-install-recommends openvpn openssl");
    return 2;
  }
  const runtime = findRuntime(values.runtime);
  const options = {
    runtime,
    version,
    ciphers,
    mtus: values.mtu.split(",").map(Number),
    pairs: Number(values.pairs),
    seconds: Number(values.seconds),
    cells: new Set(values.cells.split(",")),
    repeats: values.once ? 0 : REPEATS_MAX,
    say: (line) => console.error(line),
  };
  const result = beginResult("openvpn", {
    topology:
      "two network namespaces joined by veth, one tunnel process each, OpenVPN over UDP without compression",
    mtu: options.mtus,
    pinning: "none",
    seed: Number(values.seed),
    runtime: runtime.label,
    baselines: { OpenVPN: version },
  });
  console.error(`postern on ${runtime.label}, OpenVPN ${version} with ${ciphers.join(" and ")}`);
  const draw = createDraw(Number(values.seed));
  for (const mtu of options.mtus) await runMtu(mtu, options, result, draw);
  endResult(result, values);
  return 0;
}

process.exitCode = await main();
