/**
 * Machines, relays and loads of the benchmark.
 *
 * ```
 *   client 10.9.1.2 ── 10.9.1.1 [all relays, one after the other] 203.0.113.1 ── 203.0.113.2 peer
 * ```
 */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { relayCredentials } from "../../build/src/turn/index.js";
import { ROOT } from "../../scripts/steps.mjs";
import { MAIN } from "../tunnel/arms.mjs";

const LOAD = join(ROOT, "bench", "relay", "load.mjs");
export const RELAY = "10.9.1.1";
export const CLIENT = "10.9.1.2";
const OUTSIDE = "203.0.113.1";
export const PEER = { address: "203.0.113.2", port: 4000 };
const SECRET = "a secret of the benchmark";
const WITHIN_MS = 20_000;

export async function buildMachines(lab) {
  const [near, middle, far] = [await lab.add("near"), await lab.add("middle"), await lab.add("far")];
  await lab.connect(
    { namespace: near, device: "wan", addresses: [`${CLIENT}/24`] },
    { namespace: middle, device: "near", addresses: [`${RELAY}/24`] },
  );
  await lab.connect(
    { namespace: far, device: "wan", addresses: [`${PEER.address}/24`] },
    { namespace: middle, device: "far", addresses: [`${OUTSIDE}/24`] },
  );
  return { near, middle, far };
}

export function writeSecret(file, text) {
  writeFileSync(file, text);
  chmodSync(file, 0o600);
}

/** More than most hosts allow a process: two sockets an allocation (RL-65). */
export function withFiles(command, args) {
  return ["-c", 'ulimit -n 40000; exec "$@"', "sh", command, ...args];
}

/**
 * All relays share a machine and run the whole time: one works while the others are idle.
 * @param main the program of another checkout; `port`: where this relay listens
 */
export async function startPostern(
  { middle },
  {
    runtime,
    main = MAIN,
    name = "relay",
    port = 3478,
    more = ["--lowest-port", "50000", "--highest-port", "52499"],
  },
) {
  writeSecret(join(middle.runFolder, "stamp"), SECRET);
  const args = [
    ...[main, "relay", "--stand-alone", "--stamp-secret-path", "/run/stamp"],
    ...["--public-ip4", OUTSIDE, "--turn-port", String(port), "--instance", name],
    ...more,
  ];
  const child = middle.start({ name: "postern relay", command: "sh", args: withFiles(runtime.path, args) });
  await child.waitForLine(/ ready /, { withinMs: WITHIN_MS, stream: "stderr" });
  const expiry = Math.floor(Date.now() / 1000) + 86_400;
  const credentials = relayCredentials(SECRET, { expiry, salt: "s".repeat(43) });
  return { child, port, realm: "firezone", ...credentials };
}

export async function startCoturn({ middle }) {
  const [username, password] = ["bench", "bench-password"];
  const folder = middle.runFolder;
  // A file, as a password does not belong on a command line.
  writeSecret(
    join(folder, "turn.conf"),
    [
      ...["no-cli", "no-tls", "no-dtls", "lt-cred-mech", "realm=bench", `user=${username}:${password}`],
      ...["listening-port=3479", `listening-ip=${RELAY}`, `relay-ip=${OUTSIDE}`],
      ...["min-port=55000", "max-port=59999", "userdb=/run/turndb", "pidfile=/run/pid"],
      "",
    ].join("\n"),
  );
  const child = middle.start({
    name: "coturn",
    command: "turnserver",
    args: ["-c", "/run/turn.conf", "--log-file", "stdout"],
  });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  if (!child.isRunning()) throw new Error(`coturn ended: ${child.stdout()}${child.stderr()}`);
  return { child, port: 3479, realm: "bench", username, password };
}

export async function startLoad(end, name, plan) {
  const [file, job] = [`${name}.plan`, `${name}.job`];
  writeSecret(join(end.runFolder, file), JSON.stringify(plan));
  const child = end.start({ name, command: process.execPath, args: [LOAD, `/run/${file}`, `/run/${job}`] });
  const [, said] = await child.waitForLine(/^ready (.*)$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { child, jobFile: join(end.runFolder, job), ...JSON.parse(said) };
}

export async function openArm(machines, name, start, options, i) {
  const relay = await start(machines, options);
  const { username, password, realm, port } = relay;
  const client = await startLoad(machines.near, `client-${name}`, {
    ...{ own: CLIENT, port: 5000 + i, username, password, realm },
    ...{ server: { address: RELAY, port }, peer: PEER },
  });
  return { name, relay: relay.child, client: { ...client, server: { address: RELAY, port } } };
}

/** Bytes that a device of an end has received. */
export function received(child) {
  const text = readFileSync(`/proc/${child.pid}/net/dev`, "utf8");
  return Number(/^\s*wan:\s*(\d+)/m.exec(text)?.[1]);
}

/** Lines are waited for by pattern, and the same comes after every run: they are counted. */
export async function nextLine(child, seconds) {
  const linesOf = () => [...child.stdout().matchAll(/^sent (.*)$/gm)];
  const before = linesOf().length;
  const end = performance.now() + (seconds + 10) * 1000;
  while (linesOf().length === before) {
    if (performance.now() > end) throw new Error("the load did not end");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return JSON.parse(linesOf().at(-1)[1]);
}
