/** `postern wg` on hosts that are not empty: another tunnel, a network of the same prefix, no IPv6. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { captureHost } from "../lib/leftovers.ts";
import { describeWith } from "../lib/requirements.ts";
import { isReachable, startPostern } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "build"] as const;
const KEY = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const PEER = "ISmLAY48Nm/pSgeJXptJKJKlu6VmuKAX1R+9BwoDUTw=";
const WITHIN_MS = 15_000;

function config(address: string, allowedIps: string): string {
  const own = ["[Interface]", `PrivateKey = ${KEY}`, `Address = ${address}`];
  return [...own, "[Peer]", `PublicKey = ${PEER}`, `AllowedIPs = ${allowedIps}`, ""].join("\n");
}

async function untilReady(child: Child): Promise<Child> {
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return child;
}

describeWith(NEEDS, "postern wg on a host with more than itself", () => {
  let lab: Lab;
  let ns: Namespace;

  beforeAll(async () => {
    lab = createLab();
    ns = await lab.add("host");
    const neighbour = await lab.add("neighbour");
    await lab.connect(
      { namespace: ns, device: "lan", addresses: ["10.9.0.1/24", "fd09::1/64"] },
      { namespace: neighbour, device: "lan", addresses: ["10.9.0.2/24", "fd09::2/64"] },
    );
  });
  afterAll(() => lab?.close());

  const sourceMark = (): Promise<string> => ns.run("cat", ["/proc/sys/net/ipv4/conf/all/src_valid_mark"]);
  const start = (text: string, name = "wg0"): Child => startPostern(ns, text, [], name);

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
