/**
 * What is measured: each arm is two namespaces joined by veth with a tunnel between them.
 *
 * ```
 *   near 10.9.0.1 ── veth ── far 10.9.0.2        tunnel 10.7.0.1 ↔ 10.7.0.2
 * ```
 *
 * An arm is `{ name, near, far, address, processes }`: traffic from `near` to `address` in `far` goes
 * through `processes`, and what the lab itself runs for it is `support`. All arms of a run are up at the same time; an idle one costs nothing.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addWire } from "../../build/src/program/lab/index.js";
import { ROOT } from "../../scripts/steps.mjs";

export const MAIN = join(ROOT, "build", "program", "main.js");
const PORT = 5555;
const WITHIN_MS = 20_000;

/** Two namespaces joined by veth. */
/** @param roundTripMs without it a veth joins the ends, else a wire with half of that each way (TS-23) */
async function openEnds(lab, name, roundTripMs = 0) {
  const near = await lab.add(`${name}-near`);
  const far = await lab.add(`${name}-far`);
  const ports = [
    { namespace: near, device: "wan", addresses: ["10.9.0.1/24"] },
    { namespace: far, device: "wan", addresses: ["10.9.0.2/24"] },
  ];
  if (roundTripMs > 0) {
    const { pid } = await addWire(lab, ...ports, { delayMs: roundTripMs / 2 });
    return { near, far, support: [pid] };
  }
  await lab.connect(...ports);
  return { near, far, support: [] };
}

/** The ceiling: no tunnel at all. */
export async function openVeth(lab) {
  const { near, far } = await openEnds(lab, "veth");
  return { name: "veth", near, far, address: "10.9.0.2", processes: [] };
}

export async function openWireguardGo(lab, { mtu, program, roundTripMs }) {
  const { near, far, support } = await openEnds(lab, "go", roundTripMs);
  const ends = [near, far];
  const keys = await makeKeys(near, 2);
  const processes = ends.map((end) =>
    end.start({
      name: "wireguard-go",
      command: program,
      args: ["-f", "wg0"],
      env: { ...process.env, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: "1", LOG_LEVEL: "error" },
    }),
  );
  for (const [i, end] of ends.entries()) {
    await untilInterface(end, "wg0");
    const file = join(end.runFolder, "private");
    writeSecret(file, keys[i].privateKey);
    const peer = ["peer", keys[1 - i].publicKey, "endpoint", `10.9.0.${2 - i}:${PORT}`];
    const allowed = ["allowed-ips", `10.7.0.${2 - i}/32`];
    await end.run("wg", [
      "set",
      "wg0",
      "private-key",
      "/run/private",
      "listen-port",
      String(PORT),
      ...peer,
      ...allowed,
    ]);
    await end.ip(`addr add 10.7.0.${i + 1}/24 dev wg0`, `link set wg0 mtu ${mtu} up`);
  }
  return { name: "wireguard-go", near, far, address: "10.7.0.2", processes, support };
}

/** `postern wg` at both ends. `main`: the program of another checkout; `threads`: pairs of workers (PG-176). */
export async function openPosternWg(
  lab,
  { mtu, runtime, name = "postern", main = MAIN, threads, roundTripMs },
) {
  const { near, far, support } = await openEnds(lab, name, roundTripMs);
  const ends = [near, far];
  const keys = await makeKeys(near, 2);
  const processes = ends.map((end, i) => {
    writeSecret(
      join(end.runFolder, "wg0.conf"),
      [
        "[Interface]",
        `PrivateKey = ${keys[i].privateKey}`,
        `ListenPort = ${PORT}`,
        `Address = 10.7.0.${i + 1}/24`,
        `MTU = ${mtu}`,
        "[Peer]",
        `PublicKey = ${keys[1 - i].publicKey}`,
        `Endpoint = 10.9.0.${2 - i}:${PORT}`,
        `AllowedIPs = 10.7.0.${2 - i}/32`,
        "",
      ].join("\n"),
    );
    return end.start({
      name: "postern wg",
      command: runtime.path,
      args: [...runtime.words, main, "wg", "/run/wg0.conf", ...threadsOf(threads)],
    });
  });
  for (const child of processes)
    await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return { name, near, far, address: "10.7.0.2", processes, support, isPostern: true };
}

/** Nothing unless it is asked for: older checkouts do not know the option. */
export function threadsOf(threads) {
  return threads === undefined ? [] : ["--threads", String(threads)];
}

const FAR = { name: "Far", type: "cidr", address: "172.20.0.0/16", site: "default" };
const NAME = "far.bench.example";
const FILTERS = ["tcp", "udp"].map((protocol) => ({ protocol, ports: ["5201"] }));
const NAMED = { name: "Named", type: "dns", address: NAME, site: "default", filters: FILTERS };
const SENTINEL = "100.100.111.1";
/** A program with the hosts file of its namespace, if that has one: nobody else sees it. */
const WITH_HOSTS = '[ ! -e /run/hosts ] || mount --bind /run/hosts /etc/hosts; exec "$0" "$@"';

/** The same server by its address without filters and by its name with filters, through one client and one gateway. */
export async function openNamedAndPlain(lab, { runtime }) {
  const plain = await openClientGateway(lab, { runtime, resources: [FAR, NAMED] });
  const answer = await plain.near.run("dig", ["+short", `@${SENTINEL}`, NAME, "A"]);
  const [address] = answer.split("\n");
  return [
    { ...plain, name: "name", address },
    { ...plain, name: "network" },
  ];
}

/** The program of a role in a namespace, with its token. */
export function startRole(end, { role, args, token, runtime }) {
  return end.start({
    name: role,
    command: "unshare",
    args: ["-m", "sh", "-c", WITH_HOSTS, runtime.path, ...runtime.words, MAIN, role, ...args],
    env: { ...process.env, ...(token === undefined ? {} : { POSTERN_TOKEN: token }) },
  });
}

/**
 * A gateway with a portal. The resource is an address of the gateway's own namespace, so that nothing but the
 * tunnel lies between the ends, as with `postern wg`.
 */
export async function openGateway(lab, { runtime, name = "cg", resources = [FAR], gatewayArgs = [] }) {
  const { near, far } = await openEnds(lab, name);
  await far.ip("addr add 172.20.0.1/32 dev lo");
  const listen = "10.9.0.2:8080";
  const apiUrl = `ws://${listen}`;
  const tokenFor = await startPortal(far, { listen, resources, runtime });
  const args = ["--api-url", apiUrl, "--id", "bench-gateway", ...gatewayArgs];
  const token = await tokenFor("GATEWAY");
  /** Another one may be started when this one has stopped. */
  const startGateway = () => startRole(far, { role: "gateway", args, token, runtime });
  const gateway = startGateway();
  await gateway.waitForLine(/\bready\b/i, { withinMs: WITHIN_MS });
  const tokens = { token: await tokenFor("CLIENT"), relayToken: await tokenFor("RELAY") };
  return { near, far, address: "172.20.0.1", gateway, startGateway, apiUrl, ...tokens };
}

/** A portal that everybody may use for everything. Returns what gives the token of a kind. */
export async function startPortal(end, { listen, resources = [FAR], runtime }) {
  const policies = resources.map((resource) => ({ group: "dev", resource: resource.name }));
  // JSON is YAML, too.
  writeFileSync(join(end.runFolder, "portal.yaml"), JSON.stringify({ version: 1, resources, policies }));
  writeFileSync(join(end.runFolder, "hosts"), `127.0.0.1 localhost\n172.20.0.1 ${NAME}\n`);
  const dev = ["--dev", "--dev-insecure", "--listen", listen, "--config", "/run/portal.yaml"];
  const portal = startRole(end, { role: "portal", args: dev, runtime });
  await portal.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return async (label) =>
    (await portal.waitForLine(new RegExp(`^${label}_TOKEN=(.+)$`), { withinMs: 1000 }))[1];
}

/** Client and gateway with a portal (G-4). */
export async function openClientGateway(lab, options) {
  const { gateway, token, ...opened } = await openGateway(lab, options);
  const { runtime, clientArgs = [] } = options;
  const { near, apiUrl } = opened;
  const args = ["--api-url", apiUrl, "--id", "bench-client", "--dns-control", "disabled", ...clientArgs];
  const startClient = () => startRole(near, { role: "client", args, token, runtime });
  const client = startClient();
  await client.waitForLine(/\bready\b/i, { withinMs: WITHIN_MS });
  return { name: "client-gateway", ...opened, processes: [client, gateway], startClient };
}

async function makeKeys(namespace, count) {
  const keys = [];
  for (let i = 0; i < count; i++) {
    const privateKey = (await namespace.run("wg", ["genkey"])).trim();
    const file = `key-${randomBytes(4).toString("hex")}`;
    writeSecret(join(namespace.runFolder, file), privateKey);
    const publicKey = (await namespace.run("sh", ["-c", `wg pubkey < /run/${file}`])).trim();
    keys.push({ privateKey, publicKey });
  }
  return keys;
}

function writeSecret(file, text) {
  writeFileSync(file, `${text}\n`);
  chmodSync(file, 0o600);
}

async function untilInterface(namespace, device) {
  const script = `for i in $(seq 200); do wg show ${device} >/dev/null 2>&1 && exit 0; sleep 0.05; done; exit 1`;
  await namespace.run("sh", ["-c", script], { withinMs: WITHIN_MS });
}
