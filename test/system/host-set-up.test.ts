/**
 * The host's set-up against the real kernel:
 *
 *     [host]  veth0 10.0.0.1, fd00::1 ─── veth0 10.0.0.2, fd00::2  [far]
 *       └ pt0 (TUN)
 */
import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openKernel, openRtnetlink, openTun, type Rtnetlink, type Tun } from "../../bindings/linux/index.ts";
import { ip, type Log, prefix, SILENT } from "../../src/base/index.ts";
import {
  addPolicyRules,
  applyTunnelRoutes,
  applyWgRoutes,
  configureLink,
  enableForwarding,
  FWMARK,
  findFreeTable,
  flushPolicyRouting,
  type MarkedTarget,
  networkFingerprint,
  openMarkedSocket,
  planWgRoutes,
  readNetwork,
  readSysctl,
  removeWgLeftovers,
  selectOwnAddresses,
  setUpFirewall,
  synchroniseLinkRoutes,
  TABLE_LINK,
  tearDownFirewall,
} from "../../src/host/index.ts";
import { HIDE_HELPERS } from "../lib/hidden-helpers.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, ipJson, joinByVeth, type OwnNamespace } from "./own-namespace.ts";

const HOST = join(import.meta.dirname, "../../build/src/host/index.js");
const kernel = openKernel();
let host: OwnNamespace;
let far: OwnNamespace;
let rtnetlink: Rtnetlink;
let tun: Tun;

beforeEach(() => {
  host = createNamespace();
  far = createNamespace();
  joinByVeth(host, far);
  rtnetlink = host.enter(() => openRtnetlink(kernel));
  tun = host.enter(() => openTun(kernel, { name: "pt0" }));
});
afterEach(() => {
  tun.close();
  rtnetlink.close();
  host.close();
  far.close();
});

const link = () => ({
  index: tun.index,
  name: "pt0",
  mtu: 1280,
  txQueueLength: 1000,
  addresses: [
    { address: ip("100.64.0.1"), bits: 32 },
    { address: ip("fd00:2021:1111::1"), bits: 128 },
  ],
});

/** Rules and all routes, as text: what must not change. */
const state = () =>
  [
    host.run("ip", "rule"),
    host.run("ip", "-6", "rule"),
    host.run("ip", "route", "show", "table", "all"),
    host.run("ip", "-6", "route", "show", "table", "all"),
  ].join("\n");

describeWith(["netns", "tun"], "host set-up", () => {
  it("PG-30: MTU, addresses, queue, up, no link-local; earlier addresses go", () => {
    host.run("ip", "addr", "add", "192.0.2.77/32", "dev", "pt0");
    expect(configureLink(rtnetlink, link(), SILENT)).toBe("dual");
    expect(ipJson(host, "addr", "show", "pt0")[0]).toMatchObject({
      mtu: 1280,
      txqlen: 1000,
      flags: expect.arrayContaining(["UP"]),
      addr_info: [{ local: "100.64.0.1" }, { local: "fd00:2021:1111::1" }],
    });
  });

  it("PG-30: without IPv6 the result is v4-only; without any address it is an error", () => {
    host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1");
    const debugged: string[] = [];
    const log: Log = { ...SILENT, debug: (event) => void debugged.push(event) };
    expect(configureLink(rtnetlink, link(), log)).toBe("v4-only");
    expect(debugged).toEqual(["address refused"]);
    const v6Only = { ...link(), addresses: link().addresses.slice(1) };
    expect(() => configureLink(rtnetlink, v6Only, SILENT)).toThrow("cannot give pt0 any address");
    expect(configureLink(rtnetlink, { ...link(), addresses: [] }, SILENT)).toBe("none");
  });

  it("PG-31 to PG-33: unmarked packets go into the tunnel, marked ones and the LAN do not", () => {
    host.run("ip", "route", "add", "default", "via", "10.0.0.2");
    host.run("ip", "-6", "route", "add", "default", "via", "fd00::2");
    configureLink(rtnetlink, link(), SILENT);
    addPolicyRules(rtnetlink, [4, 6], SILENT);
    applyTunnelRoutes(rtnetlink, tun.index, ["172.20.0.0/16", "0.0.0.0/0", "::/0"].map(prefix), SILENT);
    synchroniseLinkRoutes(rtnetlink, tun.index, SILENT);
    const leavesBy = (destination: string, mark?: number) =>
      rtnetlink.bestRoute(ip(destination), mark)?.outputIndex;
    const veth = rtnetlink.links().find(({ name }) => name === "veth0")?.index;
    for (const destination of ["172.20.1.1", "198.51.100.1", "2001:db8::1"]) {
      expect(leavesBy(destination)).toBe(tun.index);
      expect(leavesBy(destination, FWMARK)).toBe(veth);
    }
    for (const neighbour of ["10.0.0.2", "fd00::2"]) expect(leavesBy(neighbour)).toBe(veth);
    expect(ipJson(host, "route", "show", "table", String(TABLE_LINK))).toMatchObject([
      { dst: "10.0.0.0/24", dev: "veth0" },
    ]);
  });

  it("PG-34: a LAN route that is gone is deleted from the copies, a new one is added", () => {
    synchroniseLinkRoutes(rtnetlink, tun.index, SILENT);
    host.run("ip", "addr", "del", "10.0.0.1/24", "dev", "veth0");
    host.run("ip", "addr", "add", "10.1.0.1/24", "dev", "veth0");
    synchroniseLinkRoutes(rtnetlink, tun.index, SILENT);
    expect(ipJson(host, "route", "show", "table", String(TABLE_LINK))).toMatchObject([
      { dst: "10.1.0.0/24" },
    ]);
  });

  it("PG-35: flushing leaves the host as it was, also what a killed instance left", () => {
    const before = state();
    for (let run = 0; run < 2; run++) {
      addPolicyRules(rtnetlink, [4, 6], SILENT);
      synchroniseLinkRoutes(rtnetlink, tun.index, SILENT);
    }
    // A killed instance: set up twice, torn down never.
    expect(host.run("ip", "rule").match(/fwmark 0xfd002021/g)).toHaveLength(3);
    expect(state()).not.toBe(before);
    flushPolicyRouting(rtnetlink, SILENT);
    expect(state()).toBe(before);
  });

  it("WG-64: default routes with Table auto; all of it goes again", () => {
    host.run("ip", "route", "add", "default", "via", "10.0.0.2");
    configureLink(rtnetlink, { ...link(), addresses: [{ address: ip("10.9.0.1"), bits: 24 }] }, SILENT);
    const before = state();
    const settings = {
      index: tun.index,
      table: "auto" as const,
      addresses: [{ address: ip("10.9.0.1"), bits: 24 }],
      allowedIps: ["0.0.0.0/0", "::/0", "10.9.0.2/32", "192.0.2.0/24", "fd77::/64"].map(prefix),
    };
    const free = findFreeTable(rtnetlink);
    expect(free).toBe(51820);
    const plan = planWgRoutes(settings, free);
    expect(host.enter(() => readSysctl("net/ipv4/conf/all/src_valid_mark"))).toBe("0");
    const routes = host.enter(() => applyWgRoutes(rtnetlink, plan, SILENT));
    expect(host.enter(() => readSysctl("net/ipv4/conf/all/src_valid_mark"))).toBe("1");
    expect(findFreeTable(rtnetlink)).toBe(51821);
    const rules = host.run("ip", "rule");
    expect(rules).toContain("32765:\tnot from all fwmark 0xca6c lookup 51820");
    expect(rules).toContain("32764:\tfrom all lookup main suppress_prefixlength 0");
    const leavesBy = (destination: string, mark?: number) =>
      rtnetlink.bestRoute(ip(destination), mark)?.outputIndex;
    const veth = rtnetlink.links().find(({ name }) => name === "veth0")?.index;
    expect(leavesBy("198.51.100.1")).toBe(tun.index);
    expect(leavesBy("198.51.100.1", plan.mark)).toBe(veth);
    expect(leavesBy("10.0.0.2")).toBe(veth);
    expect(leavesBy("192.0.2.1")).toBe(tun.index);
    expect(leavesBy("fd77::1")).toBe(tun.index);
    host.enter(() => routes.remove());
    expect(state()).toBe(before);
    expect(host.enter(() => readSysctl("net/ipv4/conf/all/src_valid_mark"))).toBe("0");
  });

  it("D-22: rules of a killed `postern wg` are found and removed at the next start", () => {
    const before = state();
    configureLink(rtnetlink, { ...link(), addresses: [] }, SILENT);
    const plan = planWgRoutes(
      { index: tun.index, table: "auto", addresses: [], allowedIps: [prefix("::/0")] },
      findFreeTable(rtnetlink),
    );
    applyWgRoutes(rtnetlink, plan, SILENT);
    expect(removeWgLeftovers(rtnetlink)).toBe(0);
    // The process dies: its device and the routes on it go with its descriptor.
    tun.close();
    expect(removeWgLeftovers(rtnetlink)).toBe(2);
    expect(state()).toBe(before);
  });

  it("PG-142, PG-73: own addresses, and a fingerprint that follows the default route", () => {
    configureLink(rtnetlink, link(), SILENT);
    const own = () => selectOwnAddresses(readNetwork(rtnetlink), tun.index);
    expect(own()).toEqual([ip("10.0.0.1"), ip("fd00::1")]);
    const before = networkFingerprint(rtnetlink);
    expect(before).toBe("none, none");
    host.run("ip", "addr", "add", "10.0.0.9/24", "dev", "veth0");
    expect(networkFingerprint(rtnetlink)).toBe(before);
    host.run("ip", "route", "add", "default", "via", "10.0.0.2");
    expect(networkFingerprint(rtnetlink)).toMatch(/^interface \d+ via 10.0.0.2 from 10.0.0.1, none$/);
  });

  it("PG-68: forwarding is switched on for both families; a second time nothing is left to do", () => {
    const parameters = [
      "net/ipv4/ip_forward",
      "net/ipv4/conf/all/src_valid_mark",
      "net/ipv6/conf/all/forwarding",
      "net/ipv6/conf/default/forwarding",
    ] as const;
    for (let run = 0; run < 2; run++) {
      const network = readNetwork(rtnetlink);
      expect(host.enter(() => enableForwarding(network, SILENT))).toBe("dual");
      expect(host.enter(() => parameters.map(readSysctl))).toEqual(["1", "1", "1", "1"]);
    }
  });

  it("PG-43, PG-64: a TCP connection is marked before its first packet, and usable as a socket", async () => {
    host.run("ip", "rule", "add", "not", "fwmark", String(FWMARK), "prohibit", "pref", "100");
    const server = createServer((socket) => socket.end("welcome"));
    far.enter(() => server.listen(8080));
    const target = { to: { address: ip("10.0.0.2"), port: 8080 }, mark: FWMARK, timeoutMs: 2000 };
    const open = (changes: Partial<MarkedTarget>) =>
      host.enterUntil(() => openMarkedSocket(kernel, { ...target, ...changes }));
    const { mark: _none, ...unmarked } = target;
    await expect(host.enterUntil(() => openMarkedSocket(kernel, unmarked))).rejects.toMatchObject({
      code: "connect-failed",
      cause: { message: "connect to 10.0.0.2:8080: permission denied (EACCES)" },
    });
    const socket = await open({});
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe("welcome");
    await expect(open({ to: { ...target.to, port: 8081 } })).rejects.toMatchObject({
      message: "cannot connect to 10.0.0.2:8081",
      cause: { message: "connect to 10.0.0.2:8081: connection refused (ECONNREFUSED)" },
    });
    await new Promise((resolve) => server.close(resolve));
  });

  it("PG-64: an address that never answers is given up after the time-out", async () => {
    configureLink(rtnetlink, link(), SILENT);
    host.run("ip", "route", "add", "198.51.100.0/24", "dev", "pt0");
    const target = { to: { address: ip("198.51.100.1"), port: 8080 }, timeoutMs: 50 };
    await expect(host.enterUntil(() => openMarkedSocket(kernel, target))).rejects.toMatchObject({
      cause: { message: expect.stringContaining("ETIMEDOUT") },
    });
  });
});

describeWith(["netns", "tun", "nft"], "firewall", () => {
  const ruleset = () => host.run("nft", "list", "ruleset");
  const setUp = (log: Log = SILENT) => host.enter(() => setUpFirewall("pt0", log));
  const tearDown = () => host.enter(() => tearDownFirewall(SILENT));

  it("PG-69: setting up twice is as good as once, tearing down leaves nothing, also when there is nothing", () => {
    setUp();
    const once = ruleset();
    expect(once).toContain("table inet postern");
    expect(once).toContain('ip saddr 100.64.0.0/11 oifname != { "lo", "pt0" } masquerade');
    setUp();
    expect(ruleset()).toBe(once);
    tearDown();
    expect(ruleset()).toBe("");
    tearDown();
    expect(ruleset()).toBe("");
  });

  it("PG-70: accepts are inserted into iptables' FORWARD with policy drop, once, and removed", () => {
    host.run(
      "nft",
      "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; add rule ip filter FORWARD iifname other drop",
    );
    const before = ruleset();
    setUp();
    setUp();
    const forward = host.run("nft", "list", "chain", "ip", "filter", "FORWARD");
    expect(forward.match(/comment "postern"/g)).toHaveLength(2);
    expect(forward.indexOf("postern")).toBeLessThan(forward.indexOf("other"));
    tearDown();
    expect(ruleset()).toBe(before);
  });

  it("PG-70: another firewall's drop chain is named in a WARN and left alone", () => {
    host.run(
      "nft",
      "add table inet firewalld; add chain inet firewalld f { type filter hook forward priority 0; policy drop; }",
    );
    const before = host.run("nft", "list", "table", "inet", "firewalld");
    const warned: unknown[] = [];
    setUp({ ...SILENT, warn: (event, fields) => void warned.push(event, fields) });
    expect(warned).toEqual(["another firewall drops forwarded packets", { chain: "inet firewalld f" }]);
    expect(host.run("nft", "list", "table", "inet", "firewalld")).toBe(before);
  });

  it("PG-69: without nft the error says what to install", () => {
    const script = `import(${JSON.stringify(HOST)}).then((host) => host.setUpFirewall("pt0", {}))`;
    const node = [process.execPath, "--input-type=module", "-e", script];
    const shell = ["--mount", "--net", "sh", "-c", HIDE_HELPERS, "sh"];
    const { stderr } = spawnSync("unshare", [...shell, ...node], { timeout: 60_000, encoding: "utf8" });
    expect(stderr).toContain("cannot set up masquerading: nft is not installed");
    expect(stderr).toContain("install nftables, or use --masquerade off");
  });
});
