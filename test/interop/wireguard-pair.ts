/**
 * `postern wg` and wireguard-go at the two ends of a wire, each in a network namespace of its own.
 *
 *     ns ours                                             ns theirs
 *     postern wg (wg0) ── veth 10.9.0.1 ──────── veth 10.9.0.2 ── wireguard-go (wg0)
 *     10.7.0.1, fd07::1        fd09::1              fd09::2          10.7.0.2, fd07::2
 */

import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { posternCommand } from "../lib/program.ts";

export const PORT = 51820;
const WITHIN_MS = 15_000;

export interface WgPair {
  readonly lab: Lab;
  readonly ours: Namespace;
  readonly theirs: Namespace;
  readonly postern: Child;
  readonly wireguardGo: Child;
  readonly ourKey: KeyPairText;
  readonly theirKey: KeyPairText;
  close(): Promise<void>;
}

export interface KeyPairText {
  readonly privateKey: string;
  readonly publicKey: string;
}

export interface PairOptions {
  /** Further lines of our [Interface] and [Peer]. */
  readonly interfaceLines?: readonly string[];
  readonly peerLines?: readonly string[];
  /** Whether we know the endpoint of the other side from the start. Default true. */
  readonly weKnowThem?: boolean;
  readonly args?: readonly string[];
  /** Tells pairs apart that are open at the same time. */
  readonly label?: string;
}

export async function openPair(options: PairOptions = {}): Promise<WgPair> {
  const { label = "" } = options;
  const lab = createLab();
  try {
    const ours = await lab.add(`ours${label}`);
    const theirs = await lab.add(`theirs${label}`);
    await lab.connect(
      { namespace: ours, device: "vours", addresses: ["10.9.0.1/24", "fd09::1/64"] },
      { namespace: theirs, device: "vtheirs", addresses: ["10.9.0.2/24", "fd09::2/64"] },
    );
    const [ourKey, theirKey] = [await makeKey(ours), await makeKey(theirs)];
    const postern = startPostern(ours, configOf(options, ourKey, theirKey), options.args);
    const wireguardGo = theirs.start({
      name: "wireguard-go",
      command: "wireguard-go",
      args: ["-f", "wg0"],
      env: { ...process.env, LOG_LEVEL: "verbose" },
    });
    await untilServed(theirs, "wg0");
    await theirs.run("wg", [
      "set",
      "wg0",
      "private-key",
      keyFile(theirs, theirKey),
      "listen-port",
      `${PORT}`,
    ]);
    await theirs.ip(
      "addr add 10.7.0.2/24 dev wg0",
      "addr add fd07::2/64 dev wg0",
      "link set wg0 mtu 1420 up",
    );
    await postern.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const pair = { lab, ours, theirs, postern, wireguardGo, ourKey, theirKey, close: () => lab.close() };
    await meetUs(pair);
    return pair;
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Makes us a peer of wireguard-go, without endpoint: it has to be called, or told. */
export async function meetUs({ theirs, ourKey }: Pick<WgPair, "theirs" | "ourKey">): Promise<void> {
  await theirs.run("wg", ["set", "wg0", "peer", ourKey.publicKey, "allowed-ips", "10.7.0.1/32,fd07::1/128"]);
}

function configOf(options: PairOptions, ourKey: KeyPairText, theirKey: KeyPairText): string {
  const { interfaceLines = [], peerLines = [], weKnowThem = true } = options;
  return [
    "[Interface]",
    `PrivateKey = ${ourKey.privateKey}`,
    `ListenPort = ${PORT}`,
    "Address = 10.7.0.1/24, fd07::1/64",
    ...interfaceLines,
    "[Peer]",
    `PublicKey = ${theirKey.publicKey}`,
    "AllowedIPs = 10.7.0.2/32, fd07::2/128",
    ...(weKnowThem ? [`Endpoint = 10.9.0.2:${PORT}`] : []),
    ...peerLines,
    "",
  ].join("\n");
}

export function startPostern(
  namespace: Namespace,
  config: string,
  args: readonly string[] = [],
  name = "wg0",
): Child {
  const file = join(namespace.runFolder, `${name}.conf`);
  writeFileSync(file, config);
  chmodSync(file, 0o600);
  return namespace.start({
    name: "postern wg",
    ...posternCommand(["wg", `/run/${name}.conf`, "--log", "debug", ...args]),
  });
}

async function makeKey(namespace: Namespace): Promise<KeyPairText> {
  const privateKey = (await namespace.run("wg", ["genkey"])).trim();
  writeFileSync(join(namespace.runFolder, "key"), `${privateKey}\n`, { mode: 0o600 });
  const publicKey = (await namespace.run("sh", ["-c", "wg pubkey < /run/key"])).trim();
  return { privateKey, publicKey };
}

/** A file that `wg` reads inside the namespace. */
function keyFile(namespace: Namespace, key: KeyPairText): string {
  writeFileSync(join(namespace.runFolder, "key"), `${key.privateKey}\n`, { mode: 0o600 });
  return "/run/key";
}

/** Waits until the status socket of a device answers. */
export async function untilServed(namespace: Namespace, device: string): Promise<void> {
  const script = `for i in $(seq 200); do wg show ${device} >/dev/null 2>&1 && exit 0; sleep 0.05; done; exit 1`;
  await namespace.run("sh", ["-c", script], { withinMs: WITHIN_MS });
}

/** Echo requests until `count` are answered. With `-W`, ping would give late answers two round trips only. */
export async function ping(from: Namespace, address: string, count = 3): Promise<void> {
  const args = ["-q", "-c", `${count}`, "-i", "0.05", "-w", "10", address];
  const output = await from.run("ping", args, { withinMs: WITHIN_MS });
  if (!output.includes(`${count} received`)) throw new Error(output);
}

/** Whether a single echo request is answered within the time. */
export async function isReachable(from: Namespace, address: string, withinSeconds = 1): Promise<boolean> {
  return await from.run("ping", ["-c", "1", "-W", `${withinSeconds}`, address], { withinMs: WITHIN_MS }).then(
    () => true,
    () => false,
  );
}

/** One column of `wg show`, by public key of the peer. */
export async function showPeers(namespace: Namespace, column: string): Promise<ReadonlyMap<string, string>> {
  const output = await namespace.run("wg", ["show", "wg0", column]);
  return new Map(
    output
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [key = "", ...rest] = line.split("\t");
        return [key, rest.join("\t")];
      }),
  );
}

/** Looks again until `condition` holds, at most `withinMs`. */
export async function until(condition: () => Promise<boolean>, withinMs = WITHIN_MS): Promise<void> {
  const end = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("the condition did not come true in time");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
