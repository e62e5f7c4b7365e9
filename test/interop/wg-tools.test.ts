/** `postern wg` as administrators meet it: the tools of WireGuard, the host, errors and the end. */

import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, createLab, type Lab, type Namespace } from "../../src/program/lab/index.ts";
import { captureHost, type HostSnapshot } from "../lib/leftovers.ts";
import { posternCommand } from "../lib/program.ts";
import { describeWith } from "../lib/requirements.ts";
import { startPostern } from "./wireguard-pair.ts";

const NEEDS = ["root", "netns", "tun", "ipv6", "wg", "build"] as const;
const KEY_A = "fGyyUPqy34L+VvRZyyDJoTr0T/bL9FUCZ2Y6nULqRVM=";
const PEER_B = "ISmLAY48Nm/pSgeJXptJKJKlu6VmuKAX1R+9BwoDUTw=";
const PEER_C = "qOO0nQrzq94u5hb26D/gCY9fXXo3lUHGZlsKyc0+yw0=";
const WITHIN_MS = 15_000;

function config(...lines: readonly string[]): string {
  return ["[Interface]", `PrivateKey = ${KEY_A}`, ...lines, ""].join("\n");
}

async function untilReady(child: Child): Promise<Child> {
  await child.waitForLine(/^ready$/, { withinMs: WITHIN_MS, stream: "stdout" });
  return child;
}

describeWith(NEEDS, "postern wg and the tools of WireGuard", () => {
  let lab: Lab;
  let ns: Namespace;
  let before: HostSnapshot;
  let postern: Child;
  const wg = (...args: readonly string[]): Promise<string> => ns.run("wg", args);

  beforeAll(async () => {
    lab = createLab();
    ns = await lab.add("tools");
    before = await captureHost(ns);
    postern = await untilReady(
      startPostern(
        ns,
        config(
          "Address = 10.8.0.1/24, fd08::1/64",
          "ListenPort = 51821",
          "MTU = 1380",
          "[Peer]",
          `PublicKey = ${PEER_B}`,
          "AllowedIPs = 10.8.0.2/32, 10.80.0.0/16",
          "Endpoint = 192.0.2.2:51820",
          "PersistentKeepalive = 25",
        ),
      ),
    );
  });
  afterAll(() => lab?.close());

  it("WG-63, WG-64: the device has addresses, MTU and routes of the file", async () => {
    expect(await ns.run("ip", ["-4", "-o", "addr", "show", "dev", "wg0"])).toContain("10.8.0.1/24");
    expect(await ns.run("ip", ["-6", "-o", "addr", "show", "dev", "wg0"])).toContain("fd08::1/64");
    expect(await ns.run("ip", ["-o", "link", "show", "dev", "wg0"])).toContain("mtu 1380");
    const routes = await ns.run("ip", ["route", "show", "dev", "wg0"]);
    expect(routes).toContain("10.80.0.0/16");
    // The network of the address covers it already.
    expect(routes).not.toContain("10.8.0.2");
  });

  it("WG-66: wg show reads every field", async () => {
    const [device, peer] = (await wg("show", "wg0", "dump")).trim().split("\n");
    expect(device?.split("\t")).toEqual([KEY_A, expect.any(String), "51821", "off"]);
    expect(peer?.split("\t")).toEqual([
      PEER_B,
      "(none)",
      "192.0.2.2:51820",
      "10.8.0.2/32,10.80.0.0/16",
      "0",
      expect.any(String),
      expect.any(String),
      "25",
    ]);
  });

  it("WG-58, WG-66: wg set adds, moves and removes", async () => {
    await wg(
      "set",
      "wg0",
      "peer",
      PEER_C,
      "allowed-ips",
      "10.8.0.3/32,10.80.0.0/16",
      "endpoint",
      "[fd00::9]:9",
    );
    expect(await wg("show", "wg0", "allowed-ips")).toBe(
      `${PEER_B}\t10.8.0.2/32\n${PEER_C}\t10.8.0.3/32 10.80.0.0/16\n`,
    );
    expect(await wg("show", "wg0", "endpoints")).toContain(`${PEER_C}\t[fd00::9]:9`);
    await wg("set", "wg0", "peer", PEER_B, "persistent-keepalive", "off");
    expect(await wg("show", "wg0", "persistent-keepalive")).toContain(`${PEER_B}\toff`);
    await wg("set", "wg0", "peer", PEER_C, "remove");
    expect(await wg("show", "wg0", "peers")).toBe(`${PEER_B}\n`);
  });

  it("WG-66: port and mark can be changed; a port in use is refused and nothing changes", async () => {
    await wg("set", "wg0", "listen-port", "51999", "fwmark", "0x1234");
    expect((await wg("show", "wg0", "listen-port")).trim()).toBe("51999");
    expect((await wg("show", "wg0", "fwmark")).trim()).toBe("0x1234");
    const holder = startPostern(ns, config("ListenPort = 52000"), [], "wg1");
    await untilReady(holder);
    await expect(wg("set", "wg0", "listen-port", "52000")).rejects.toThrow(/in use/);
    expect((await wg("show", "wg0", "listen-port")).trim()).toBe("51999");
    await holder.stop();
    await wg("set", "wg0", "listen-port", "52000", "fwmark", "0");
    expect((await wg("show", "wg0", "fwmark")).trim()).toBe("off");
  });

  it("WG-57, WG-67: three thousand peers are added, and stay; a refusal has its errno and changes nothing", async () => {
    const file = Array.from({ length: 3000 }, (_, i) => {
      const key = Buffer.alloc(32, 9);
      key.writeUInt32LE(i);
      return `[Peer]\nPublicKey = ${key.toString("base64")}\nAllowedIPs = 10.99.${i >> 8}.${i & 0xff}/32\n`;
    });
    const before = await wg("show", "wg0", "dump");
    writeFileSync(join(ns.runFolder, "many.conf"), file.join(""));
    await wg("addconf", "wg0", "/run/many.conf");
    expect((await wg("show", "wg0", "peers")).trim().split("\n")).toHaveLength(3001);
    const zeros = "A".repeat(43).concat("=");
    await expect(wg("set", "wg0", "fwmark", "7", "peer", zeros)).rejects.toThrow(/Invalid argument/);
    expect((await wg("show", "wg0", "fwmark")).trim()).toBe("off");
    await wg("set", "wg0", "peer", PEER_C, "allowed-ips", "10.8.0.3/32");
    expect(await wg("show", "wg0", "peers")).toContain(PEER_C);
    writeFileSync(
      join(ns.runFolder, "before.conf"),
      `${config("ListenPort = 52000")}[Peer]\nPublicKey = ${PEER_B}\nAllowedIPs = 10.8.0.2/32\n`,
    );
    await wg("setconf", "wg0", "/run/before.conf");
    expect((await wg("show", "wg0", "dump")).split("\n")).toHaveLength(before.split("\n").length);
  });

  it("WG-66: wg syncconf makes the interface what a file says", async () => {
    const file = [
      "[Interface]",
      `PrivateKey = ${KEY_A}`,
      "ListenPort = 51821",
      "[Peer]",
      `PublicKey = ${PEER_C}`,
      "AllowedIPs = 10.8.0.9/32",
      "",
    ].join("\n");
    writeFileSync(join(ns.runFolder, "sync.conf"), file);
    await wg("syncconf", "wg0", "/run/sync.conf");
    expect(await wg("show", "wg0", "allowed-ips")).toBe(`${PEER_C}\t10.8.0.9/32\n`);
    expect((await wg("show", "wg0", "listen-port")).trim()).toBe("51821");
    expect(await wg("showconf", "wg0")).toContain(`PrivateKey = ${KEY_A}`);
  });

  it("WG-61: a new private key is a new public key, and a peer that has it goes", async () => {
    const own = (await wg("show", "wg0", "public-key")).trim();
    writeFileSync(join(ns.runFolder, "key"), (await wg("genkey")).trim());
    await wg("set", "wg0", "private-key", "/run/key", "peer", own, "allowed-ips", "10.8.0.7/32");
    expect((await wg("show", "wg0", "public-key")).trim()).not.toBe(own);
    expect(await wg("show", "wg0", "peers")).toContain(own);
    writeFileSync(join(ns.runFolder, "key"), KEY_A);
    await wg("set", "wg0", "private-key", "/run/key");
    expect((await wg("show", "wg0", "public-key")).trim()).toBe(own);
    expect(await wg("show", "wg0", "peers")).not.toContain(own);
  });

  it("WG-65, PG-143: a second start with the same name ends with 9, naming the socket", async () => {
    const second = startPostern(ns, config());
    expect((await second.exited).status).toBe(9);
    expect(second.stderr()).toMatch(/postern: interface wg0 is in use: .*wg0\.sock answers/);
  });

  it("WG-69, PG-143: SIGHUP binds again, SIGUSR2 prints one line without secrets", async () => {
    postern.signal("SIGHUP");
    postern.signal("SIGUSR2");
    const [line] = await postern.waitForLine(/^\{.*\}$/, { withinMs: WITHIN_MS, stream: "stdout" });
    const snapshot = JSON.parse(line);
    expect(snapshot.listenPort).toBe(51821);
    expect(snapshot.counters.egress).toBeDefined();
    expect(snapshot.peers).toHaveLength(1);
    expect(line).not.toContain(KEY_A);
    expect((await wg("show", "wg0", "listen-port")).trim()).toBe("51821");
  });

  it("WG-69, PG-15: SIGTERM ends with 0 and leaves nothing behind", async () => {
    const exit = await postern.stop();
    expect(exit).toEqual({ status: 0, signal: undefined });
    expect(await captureHost(ns)).toEqual({ ...before, runFiles: expect.any(Array) });
    expect(existsSync(join(ns.runFolder, "wireguard/wg0.sock"))).toBe(false);
  });

  it("WG-65: a socket deleted from outside ends the program", async () => {
    const child = await untilReady(startPostern(ns, config()));
    rmSync(join(ns.runFolder, "wireguard/wg0.sock"));
    expect(await child.wait(WITHIN_MS)).toEqual({ status: 0, signal: undefined });
  });

  it("WG-65: the socket of a killed run does not keep the next from starting", async () => {
    const child = await untilReady(startPostern(ns, config()));
    await child.stop({ signal: "SIGKILL" });
    expect(existsSync(join(ns.runFolder, "wireguard/wg0.sock"))).toBe(true);
    const next = await untilReady(startPostern(ns, config()));
    expect((await next.stop()).status).toBe(0);
  });

  it("WG-64: default routes have a table, a mark and two rules per family, and all of it goes", async () => {
    const clean = await captureHost(ns);
    const child = startPostern(
      ns,
      config(
        "Address = 10.8.0.1/24, fd08::1/64",
        "[Peer]",
        `PublicKey = ${PEER_B}`,
        "AllowedIPs = 0.0.0.0/0, ::/0",
      ),
    );
    await untilReady(child);
    for (const family of ["-4", "-6"]) {
      const rules = await ns.run("ip", [family, "rule"]);
      expect(rules).toMatch(/not from all fwmark 0xca6c lookup 51820/);
      expect(rules).toMatch(/from all lookup main suppress_prefixlength 0/);
      expect(await ns.run("ip", [family, "route", "show", "table", "51820"])).toContain("default dev wg0");
    }
    expect((await wg("show", "wg0", "fwmark")).trim()).toBe("0xca6c");
    await child.stop();
    const after = await captureHost(ns);
    expect({ ...after, runFiles: [] }).toEqual({ ...clean, runFiles: [] });
  });

  it("WG-63, PG-143: hooks run in their order, only when they are allowed", async () => {
    const hooks = ["PreUp", "PostUp", "PreDown", "PostDown"].map(
      (kind) => `${kind} = echo ${kind} %i $(ip link show %i >/dev/null 2>&1 && echo there) >> /run/hooks`,
    );
    const child = await untilReady(startPostern(ns, config(...hooks), ["--allow-hooks"]));
    await child.stop();
    expect(await ns.run("cat", ["/run/hooks"])).toBe(
      "PreUp wg0 there\nPostUp wg0 there\nPreDown wg0 there\nPostDown wg0\n",
    );
    const refused = startPostern(ns, config("PreUp =", "PostUp = true"));
    expect((await refused.exited).status).toBe(2);
    expect(refused.stderr()).toMatch(/postern: \/run\/wg0\.conf:4: PostUp is only run with --allow-hooks/);
  });

  it("WG-63, WG-73: an empty hook is none; hooks are bash, and end at the first command that fails", async () => {
    const empty = await untilReady(startPostern(ns, config("PreUp =", "PostDown =", "SaveConfig = true")));
    expect(empty.stderr()).toMatch(/SaveConfig has no effect/);
    await empty.stop();
    const bash = await untilReady(startPostern(ns, config("PostUp = [[ %i == wg? ]]"), ["--allow-hooks"]));
    await bash.stop();
    const failing = startPostern(ns, config("PostUp = false | true; true"), ["--allow-hooks"]);
    expect((await failing.exited).status).toBe(1);
  });

  it("PG-143: a hook that fails ends the start with 1 and leaves nothing behind", async () => {
    const clean = await captureHost(ns);
    const child = startPostern(ns, config("Address = 10.8.0.1/24", "PostUp = exit 3"), ["--allow-hooks"]);
    expect((await child.exited).status).toBe(1);
    const after = await captureHost(ns);
    expect({ ...after, runFiles: [] }).toEqual({ ...clean, runFiles: [] });
  });

  it("PG-143: what is wrong in the file is named by file and line, with exit 2", async () => {
    const child = startPostern(ns, config("Address = 10.8.0.1/33"));
    expect((await child.exited).status).toBe(2);
    expect(child.stderr()).toMatch(
      /^postern: \/run\/wg0\.conf:3: Address '10\.8\.0\.1\/33' is not an address$/m,
    );
  });

  it("PG-143: a file that cannot be read is exit 3, a taken port exit 8", async () => {
    const missing = ns.start({
      name: "postern wg",
      ...posternCommand(["wg", "/run/absent.conf"]),
    });
    expect((await missing.exited).status).toBe(3);
    const holder = await untilReady(startPostern(ns, config("ListenPort = 52001"), [], "wg1"));
    const child = startPostern(ns, config("ListenPort = 52001"));
    expect((await child.exited).status).toBe(8);
    expect(child.stderr()).toMatch(/postern: cannot bind UDP port 52001/);
    await holder.stop();
  });
});
