/** `postern wg` on hosts that are not empty: another tunnel, a network of the same prefix, no IPv6. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { fromBase64, toBase64 } from "../../src/base/index.ts";
import { createNodeCrypto } from "../../src/program/crypto-node.ts";
import { type Child, createLab, type Lab, type Namespace, patient } from "../../src/program/lab/index.ts";
import { captureHost } from "../lib/leftovers.ts";
import { eventually, timesOf, warningsOf } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";
import { transfer } from "../lib/transfer.ts";
import { isReachable, startPostern } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "wg", "build"] as const;
const PEER = "ISmLAY48Nm/pSgeJXptJKJKlu6VmuKAX1R+9BwoDUTw=";
const WITHIN_MS = 15_000;
/** What a repair may take. It is 200 ms on a quiet machine (TS-3). */
const REPAIR_MS_MAX = 5000;

const PRIVATE_A = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const PUBLIC_A = publicKeyOf(PRIVATE_A);
const PRIVATE_B = "aGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const PUBLIC_B = publicKeyOf(PRIVATE_B);

function publicKeyOf(privateKey: string): string {
  return toBase64(createNodeCrypto().keyPair(fromBase64(privateKey) ?? new Uint8Array(32)).publicKey);
}

function peering(
  key: string,
  address: string,
  peer: string,
  allowedIps: string,
  ...lines: readonly string[]
): string {
  const own = ["[Interface]", `PrivateKey = ${key}`, `Address = ${address}`, "ListenPort = 51820"];
  return [...own, "[Peer]", `PublicKey = ${peer}`, `AllowedIPs = ${allowedIps}`, ...lines, ""].join("\n");
}

async function linkLocalOf(namespace: Namespace): Promise<string> {
  const shown = await namespace.run("ip", ["-6", "-o", "addr", "show", "dev", "lan", "scope", "link"]);
  return /inet6 (fe80[0-9a-f:]+)/.exec(shown)?.[1] ?? "";
}

function config(address: string, allowedIps: string): string {
  const own = ["[Interface]", `PrivateKey = ${PRIVATE_A}`, `Address = ${address}`];
  return [...own, "[Peer]", `PublicKey = ${PEER}`, `AllowedIPs = ${allowedIps}`, ""].join("\n");
}

async function untilReady(child: Child): Promise<Child> {
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return child;
}

/** What a failed test left must not stand in the next one's way. */
const begun: Child[] = [];

function begin(...parameters: Parameters<typeof startPostern>): Child {
  const child = startPostern(...parameters);
  begun.push(child);
  return child;
}

describeWith(NEEDS, "postern wg on a host with more than itself", () => {
  let lab: Lab;
  let ns: Namespace;
  let neighbour: Namespace;

  beforeAll(async () => {
    lab = createLab();
    ns = await lab.add("host");
    neighbour = await lab.add("neighbour");
    await lab.connect(
      { namespace: ns, device: "lan", addresses: ["10.9.0.1/24", "fd09::1/64"] },
      { namespace: neighbour, device: "lan", addresses: ["10.9.0.2/24", "fd09::2/64"] },
    );
  });
  afterEach(async () => {
    for (const child of begun.splice(0)) await child.stop();
  });
  afterAll(() => lab?.close());

  const sourceMark = (): Promise<string> => ns.run("cat", ["/proc/sys/net/ipv4/conf/all/src_valid_mark"]);
  /** Numbers of the two IPv4 rules that lead to a default route's own table. */
  const rulesOfOurs = async (): Promise<readonly string[]> =>
    (await ns.run("ip", ["rule"]))
      .split("\n")
      .filter((line) => /suppress_prefixlength 0|not from all fwmark/.test(line))
      .map((line) => line.split(":")[0] ?? "");
  const start = (text: string, name = "wg0"): Child => begin(ns, text, [], name);

  it("WG-64: two full tunnels leave the LAN alone, in either order of their ends", {
    timeout: 90_000,
  }, async () => {
    const before = await captureHost(ns);
    expect(await sourceMark()).toBe("0\n");
    for (const isFirstToEnd of [true, false]) {
      const one = await untilReady(start(config("10.7.0.1/24, fd07::1/64", "0.0.0.0/0, ::/0"), "wg0"));
      const two = await untilReady(start(config("10.8.0.1/24, fd08::1/64", "0.0.0.0/0, ::/0"), "wg1"));
      for (const address of ["10.9.0.2", "fd09::2"]) expect(await isReachable(ns, address)).toBe(true);
      await (isFirstToEnd ? one : two).stop();
      for (const address of ["10.9.0.2", "fd09::2"]) expect(await isReachable(ns, address)).toBe(true);
      // The one that is left still needs it.
      expect(await sourceMark()).toBe("1\n");
      expect(await ns.run("ip", ["route", "get", "198.51.100.1"])).toContain(
        isFirstToEnd ? "dev wg1" : "dev wg0",
      );
      await (isFirstToEnd ? two : one).stop();
      expect(await sourceMark()).toBe("0\n");
      expect({ ...(await captureHost(ns)), runFiles: [] }).toEqual({ ...before, runFiles: [] });
    }
  });

  it("PG-153: what others take from it comes back with a WARN, but nothing that PostUp has changed", {
    timeout: 90_000,
  }, async () => {
    const text = config("10.7.0.1/24, fd07::1/64", "0.0.0.0/0, ::/0, 192.0.2.0/24, 198.51.100.0/24").replace(
      "[Peer]",
      "PostUp = ip link set %i mtu 1300; ip route del 198.51.100.0/24 dev %i\n[Peer]",
    );
    const program = await untilReady(begin(ns, text, ["--allow-hooks"], "wg0"));
    const before = await captureHost(ns);
    const repairs = (): number => timesOf(program, /host state repaired/).length;
    const [first, second] = await rulesOfOurs();
    const acts = [
      [`rule del pref ${first}`, `rule del pref ${second}`, "route del 192.0.2.0/24 dev wg0"],
      ["link set wg0 down"],
      ["addr del 10.7.0.1/24 dev wg0", "link set wg0 mtu 1290"],
    ];
    for (const act of acts) {
      const count = repairs();
      const doneAt = Date.now();
      await ns.ip(...act);
      await eventually(() => expect(repairs(), program.stderr()).toBeGreaterThan(count), REPAIR_MS_MAX);
      await eventually(async () => expect(await captureHost(ns)).toEqual(before), REPAIR_MS_MAX);
      expect((timesOf(program, /host state repaired/).at(-1) ?? 0) - doneAt).toBeLessThan(
        patient(REPAIR_MS_MAX),
      );
    }
    const said = warningsOf(program).join("\n");
    for (const what of [
      `the IPv4 rule of priority ${first} is gone`,
      "the route to 192.0.2.0/24 is gone",
      "wg0 is down",
      "10.7.0.1 is gone from wg0",
      "the MTU of wg0 is 1290 instead of 1300",
    ]) {
      expect(said).toContain(what);
    }
    expect(said).not.toContain("198.51.100.0/24");
    expect(await program.stop()).toEqual({ status: 0, signal: undefined });
  });

  it("WG-76: a link-local peer is reached and answered, and shown with its scope", {
    timeout: 60_000,
  }, async () => {
    const there = await linkLocalOf(neighbour);
    const far = begin(neighbour, peering(PRIVATE_B, "10.7.0.2/24", PUBLIC_A, "10.7.0.1/32"));
    await untilReady(far);
    const text = peering(
      PRIVATE_A,
      "10.7.0.1/24",
      PUBLIC_B,
      "10.7.0.2/32",
      `Endpoint = [${there}%lan]:51820`,
    );
    const near = await untilReady(start(text));
    expect(await isReachable(ns, "10.7.0.2", 5)).toBe(true);
    expect(await ns.run("wg", ["show", "wg0", "endpoints"])).toContain(`[${there}%lan]:51820`);
    // The other end has learnt where we are, scope and all.
    expect(await neighbour.run("wg", ["show", "wg0", "endpoints"])).toContain(
      `[${await linkLocalOf(ns)}%lan]:`,
    );
    await ns.run("wg", ["set", "wg0", "peer", PUBLIC_B, "endpoint", `[${there}%lan]:51820`]);
    expect(await isReachable(ns, "10.7.0.2", 5)).toBe(true);
    await near.stop();
    await far.stop();
    const absent = start(text.replace("%lan", "%eth77"));
    expect((await absent.exited).status).toBe(2);
  });

  it("PG-43, PG-48: packets that the link does not take whole arrive in fragments", {
    timeout: 60_000,
  }, async () => {
    for (const namespace of [ns, neighbour]) await namespace.ip("link set lan mtu 1280");
    const lines = ["Endpoint = 10.9.0.2:51820"];
    const mtu = (text: string): string => text.replace("[Peer]", "MTU = 1420\n[Peer]");
    const far = await untilReady(
      begin(neighbour, mtu(peering(PRIVATE_B, "10.7.0.2/24", PUBLIC_A, "10.7.0.1/32"))),
    );
    const near = await untilReady(
      start(mtu(peering(PRIVATE_A, "10.7.0.1/24", PUBLIC_B, "10.7.0.2/32", ...lines))),
    );
    const output = await ns.run("ping", ["-M", "do", "-s", "1392", "-c", "2", "-w", "10", "10.7.0.2"]);
    expect(output).toContain(" 0% packet loss");
    // PG-48: in bulk as well, both ways.
    for (const [from, to, address] of [
      [ns, neighbour, "10.7.0.2"],
      [neighbour, ns, "10.7.0.1"],
    ] as const) {
      const { sent, received } = await transfer(from, to, { protocol: "tcp", to: address, bytes: 10e6 });
      expect(received).toBe(sent);
    }
    await near.stop();
    await far.stop();
    for (const namespace of [ns, neighbour]) await namespace.ip("link set lan mtu 1500");
  });

  it("PG-48: two ends with different MTUs: each takes what the other sends", {
    timeout: 60_000,
  }, async () => {
    const mtu = (text: string, bytes: number): string => text.replace("[Peer]", `MTU = ${bytes}\n[Peer]`);
    const far = await untilReady(
      begin(neighbour, mtu(peering(PRIVATE_B, "10.7.0.2/24", PUBLIC_A, "10.7.0.1/32"), 1280)),
    );
    const lines = ["Endpoint = 10.9.0.2:51820"];
    const near = await untilReady(
      start(mtu(peering(PRIVATE_A, "10.7.0.1/24", PUBLIC_B, "10.7.0.2/32", ...lines), 1420)),
    );
    // The answer to a packet of 1420 bytes is as long: it comes back in fragments inside.
    const output = await ns.run("ping", ["-M", "dont", "-s", "1392", "-c", "2", "-w", "10", "10.7.0.2"]);
    expect(output).toContain(" 0% packet loss");
    for (const [from, to, address] of [
      [ns, neighbour, "10.7.0.2"],
      [neighbour, ns, "10.7.0.1"],
    ] as const) {
      const { sent, received } = await transfer(from, to, { protocol: "tcp", to: address, bytes: 10e6 });
      expect(received).toBe(sent);
    }
    await near.stop();
    await far.stop();
  });

  it("WG-64: a network that is routed elsewhere is a failure with its device, and nothing stays", async () => {
    const before = await captureHost(ns);
    const child = start(config("10.8.0.1/24", "192.0.2.0/24, 10.9.0.0/24"));
    expect((await child.exited).status).toBe(8);
    expect(child.stderr()).toMatch(
      /cannot add route 10\.9\.0\.0\/24: there is one already to lan; remove it/,
    );
    expect({ ...(await captureHost(ns)), runFiles: [] }).toEqual({ ...before, runFiles: [] });
  });

  it("WG-74: without IPv6 its addresses, routes and rules are left out, all of them, and that is said", async () => {
    await ns.run("sh", [
      "-c",
      "for c in all default; do echo 1 > /proc/sys/net/ipv6/conf/$c/disable_ipv6; done",
    ]);
    const child = await untilReady(start(config("10.8.0.1/24, fd08::1/64", "0.0.0.0/0, ::/0")));
    expect(child.stderr()).toMatch(/IPv6 addresses and routes are left out.*IPv6 is switched off/);
    expect(await ns.run("ip", ["-4", "rule"])).toMatch(/fwmark 0xca6c lookup 51820/);
    expect(await ns.run("ip", ["-6", "rule"])).not.toMatch(/51820/);
    expect((await child.stop()).status).toBe(0);
    const alone = start(config("fd08::1/64", "::/0"));
    expect((await alone.exited).status).toBe(8);
    expect(alone.stderr()).toMatch(/cannot give wg0 any address: IPv6 is switched off/);
    expect(readFileSync("/proc/sys/net/ipv6/conf/all/disable_ipv6", "utf8")).toBe("0\n");
  });
});
