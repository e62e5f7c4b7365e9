/**
 * What a peer costs that has a session and is quiet (G-14): `postern wg` and as many peers as are asked for, all of which
 * one process plays (`bench/handshake/caller.mjs`). Resident memory without peers, with them, and behind a handshake of each.
 *
 * ```
 *   near: caller, 10.10.0.0/16 ── veth ── far 10.9.0.2: postern wg
 * ```
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ROOT } from "../../scripts/steps.mjs";
import { cellOf } from "../lib/result.mjs";
import { MAIN } from "../tunnel/arms.mjs";
import { residentMb } from "./memory.mjs";

const CALLER = join(ROOT, "bench", "handshake", "caller.mjs");
const PORT = 5555;
const WITHIN_MS = 180_000;
/** Handshakes under way at once. */
const WINDOW = 16;
/** Long enough for the runtime to give back what the work has left. */
const SETTLE_MS = 5000;
/** A socket for each peer. */
const WITH_FILES = 'ulimit -n 65536; exec "$0" "$@"';

/** The responder without peers, and its key. */
async function openResponder(lab, runtime) {
  const [near, far] = [await lab.add("near"), await lab.add("far")];
  await lab.connect(
    { namespace: near, device: "wan", addresses: ["10.9.0.1/24"] },
    { namespace: far, device: "wan", addresses: ["10.9.0.2/24"] },
  );
  await near.ip("route add local 10.10.0.0/16 dev lo");
  await far.ip("route add 10.10.0.0/16 via 10.9.0.1");
  const privateKey = (await far.run("wg", ["genkey"])).trim();
  const lines = [
    "[Interface]",
    `PrivateKey = ${privateKey}`,
    `ListenPort = ${PORT}`,
    "Address = 10.7.0.2/24",
  ];
  writeSecret(join(far.runFolder, "wg0.conf"), `${lines.join("\n")}\n`);
  const child = far.start({
    name: "postern wg",
    command: runtime.path,
    args: [...runtime.words, MAIN, "wg", "/run/wg0.conf"],
  });
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { near, far, child, responder: (await far.run("wg", ["show", "wg0", "public-key"])).trim() };
}

/** Each peer calls once, and is quiet then. @returns what the caller says */
async function callFromAll({ near, responder }, keys) {
  const plan = { responder, keys, rounds: 1, window: WINDOW, warmUp: 0 };
  writeSecret(join(near.runFolder, "plan.json"), JSON.stringify(plan));
  const args = [
    "-c",
    WITH_FILES,
    process.execPath,
    CALLER,
    "call",
    "/run/plan.json",
    "10.9.0.2",
    String(PORT),
  ];
  const caller = near.start({ name: "caller", command: "sh", args });
  await caller.waitForLine(/^warm$/, { withinMs: WITHIN_MS });
  caller.signal("SIGUSR2");
  const [line] = await caller.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS });
  return JSON.parse(line);
}

/** @returns a cell: KiB of the responder for each peer with a session */
export async function measurePeers(lab, { count, runtime, note }) {
  const world = await openResponder(lab, runtime);
  const { near, far, child } = world;
  const look = async (what) => {
    await sleep(SETTLE_MS);
    const mb = residentMb(child.pid);
    note(`${what}: ${mb.toFixed(1)} MB`);
    return mb;
  };
  const empty = await look("no peers");
  const keys = await makeKeys(near, count);
  const peers = keys.map(
    ({ publicKey }, i) =>
      `[Peer]\nPublicKey = ${publicKey}\nAllowedIPs = 10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32\n`,
  );
  writeFileSync(join(far.runFolder, "peers.conf"), peers.join(""));
  await far.run("wg", ["addconf", "wg0", "/run/peers.conf"], { withinMs: WITHIN_MS });
  const known = await look(`${count} peers`);
  const { responses, lost, elapsedMs } = await callFromAll(world, keys);
  const connected = await look(
    `${responses} sessions, ${lost} lost, made in ${(elapsedMs / 1000).toFixed(1)} s`,
  );
  const kibEach = ((connected - empty) * 1024) / count;
  const sample = { arm: "postern", pair: 0, value: kibEach, valid: true };
  const more = {
    empty_mb: empty,
    known_mb: known,
    connected_mb: connected,
    sessions: responses,
    failed: lost,
  };
  return cellOf({
    name: `memory, ${count} peers`,
    params: { peers: count },
    unit: "KiB per peer",
    samples: [{ ...sample, ...more }],
    arms: ["postern"],
  });
}

/** By a file: a lab does not keep so much of what a program prints. */
async function makeKeys(near, count) {
  const args = [
    "-c",
    'umask 077; "$0" "$1" prepare "$2" > /run/keys.json',
    process.execPath,
    CALLER,
    String(count),
  ];
  await near.run("sh", args, { withinMs: WITHIN_MS });
  return JSON.parse(readFileSync(join(near.runFolder, "keys.json"), "utf8"));
}

function writeSecret(file, text) {
  writeFileSync(file, text);
  chmodSync(file, 0o600);
}
