import { afterEach, beforeEach, expect, it } from "vitest";
import { openKernel, openNetlinkEvents, openRtnetlink, openTun } from "../../bindings/linux/index.ts";
import { ip, prefix } from "../../src/base/index.ts";
import { eventually } from "../lib/observe.ts";
import { describeWith } from "../lib/requirements.ts";
import { createNamespace, ipJson, joinByVeth, type OwnNamespace } from "./own-namespace.ts";

const STATIC = 4;
const UNIVERSE = 0;

describeWith(["netns", "tun"], "rtnetlink", () => {
  const kernel = openKernel();
  let host: OwnNamespace;
  beforeEach(() => {
    host = createNamespace();
  });
  afterEach(() => host.close());

  it("PG-30: lists and changes links, addresses and routes as `ip -j` shows them", () => {
    const rtnetlink = host.enter(() => openRtnetlink(kernel));
    const tun = host.enter(() => openTun(kernel, { name: "pt0" }));
    expect(rtnetlink.links()).toContainEqual(
      expect.objectContaining({ name: "pt0", index: tun.index, kind: "tun", isUp: false, isLoopback: false }),
    );
    expect(rtnetlink.changeLink(tun.index, { noLinkLocal: true })).toBeUndefined();
    expect(rtnetlink.changeLink(tun.index, { mtu: 1280, txQueueLength: 1000, isUp: true })).toBeUndefined();
    for (const [address, bits] of [
      ["100.64.0.1", 32],
      ["fd00:2021:1111::1", 128],
    ] as const) {
      expect(rtnetlink.addAddress({ index: tun.index, address: ip(address), bits })).toBeUndefined();
    }
    expect(ipJson(host, "addr", "show", "pt0")[0]).toMatchObject({
      mtu: 1280,
      txqlen: 1000,
      flags: expect.arrayContaining(["UP"]),
      addr_info: [
        { family: "inet", local: "100.64.0.1", prefixlen: 32 },
        { family: "inet6", local: "fd00:2021:1111::1", prefixlen: 128, nodad: true },
      ],
    });
    const route = { table: 0x2021fe00, outputIndex: tun.index, protocol: STATIC, scope: UNIVERSE };
    const routes = [
      { ...route, destination: prefix("172.20.0.0/16") },
      { ...route, destination: prefix("fd00:7::/32") },
    ];
    for (const one of routes) expect(rtnetlink.addRoute(one)).toBeUndefined();
    expect(rtnetlink.addRoute(routes[0] ?? fail())).toMatchObject({
      message: expect.stringContaining("EEXIST"),
    });
    expect(ipJson(host, "route", "show", "table", "539098624")[0]).toMatchObject({
      dst: "172.20.0.0/16",
      dev: "pt0",
      protocol: "static",
    });
    expect(rtnetlink.routes(4, 0x2021fe00)).toEqual([
      expect.objectContaining({
        destination: prefix("172.20.0.0/16"),
        table: 0x2021fe00,
        outputIndex: tun.index,
      }),
    ]);
    expect(rtnetlink.routes(6, 0x2021fe00)).toHaveLength(1);
    for (const one of routes) expect(rtnetlink.deleteRoute(one)).toBeUndefined();
    expect(rtnetlink.deleteRoute(routes[0] ?? fail())).toMatchObject({
      message: expect.stringContaining("ESRCH"),
    });
    for (const address of rtnetlink.addresses().filter((one) => one.index === tun.index)) {
      expect(rtnetlink.deleteAddress(address)).toBeUndefined();
    }
    expect(ipJson(host, "addr", "show", "pt0")[0]).toMatchObject({ addr_info: [] });
    tun.close();
    rtnetlink.close();
  });

  it.each([4, 6] as const)("PG-31: sets and removes IPv%i rules by mark and by prefix length", (family) => {
    const rtnetlink = host.enter(() => openRtnetlink(kernel));
    const before = rtnetlink.rules(family);
    const byMark = {
      family,
      table: 0x2021fe00,
      priority: 100,
      mark: 0xfd002021,
      isInverted: true,
      protocol: 2,
    };
    const byLength = { family, table: 254, isInverted: false, suppressPrefixLength: 0, protocol: 80 };
    expect(rtnetlink.addRule(byMark)).toBeUndefined();
    expect(rtnetlink.addRule(byLength)).toBeUndefined();
    expect(rtnetlink.addRule(byMark)).toMatchObject({ message: expect.stringContaining("EEXIST") });
    const shown = host.run("ip", `-${family}`, "rule", "show");
    expect(shown).toContain("100:\tnot from all fwmark 0xfd002021 lookup 539098624\n");
    expect(shown).toContain("99:\tfrom all lookup main suppress_prefixlength 0");
    const added = rtnetlink
      .rules(family)
      .filter((rule) => !before.some((old) => old.priority === rule.priority));
    expect(added).toEqual([
      { ...byLength, priority: 99 },
      { ...byMark, markMask: 0xffffffff },
    ]);
    for (const rule of added) expect(rtnetlink.deleteRule(rule)).toBeUndefined();
    expect(rtnetlink.rules(family)).toEqual(before);
    rtnetlink.close();
  });

  it("PG-62: asks for the best route, with and without the mark", () => {
    const far = createNamespace();
    joinByVeth(host, far);
    const rtnetlink = host.enter(() => openRtnetlink(kernel));
    const veth = rtnetlink.links().find((link) => link.name === "veth0");
    expect(rtnetlink.bestRoute(ip("10.0.0.2"))).toEqual({ outputIndex: veth?.index, source: ip("10.0.0.1") });
    expect(rtnetlink.bestRoute(ip("198.51.100.1"))).toBeUndefined();
    host.run("ip", "route", "add", "default", "via", "10.0.0.2");
    host.run("ip", "-6", "route", "add", "default", "via", "fd00::2");
    expect(rtnetlink.bestRoute(ip("198.51.100.1"), 0xfd002021)).toEqual({
      outputIndex: veth?.index,
      gateway: ip("10.0.0.2"),
      source: ip("10.0.0.1"),
    });
    expect(rtnetlink.bestRoute(ip("2001:db8::1"))).toMatchObject({
      gateway: ip("fd00::2"),
      source: ip("fd00::1"),
    });
    host.run("ip", "route", "add", "blackhole", "203.0.113.0/24");
    expect(rtnetlink.bestRoute(ip("203.0.113.1"))).toBeUndefined();
    rtnetlink.close();
    far.close();
  });

  it("PG-36: a dump of thousands of routes arrives whole, and requests go on after it", () => {
    const rtnetlink = host.enter(() => openRtnetlink(kernel));
    host.run("ip", "link", "set", "lo", "up");
    addRoutes(host, 5000, 77);
    expect(rtnetlink.routes(4, 77)).toHaveLength(5000);
    expect(rtnetlink.links().map((link) => link.name)).toContain("lo");
    rtnetlink.close();
  });

  it("PG-34: events tell what changed and on which interface; nothing more is left", () => {
    const events = host.enter(() => openNetlinkEvents(kernel));
    expect(events.drain()).toEqual([]);
    host.run("ip", "link", "set", "lo", "up");
    host.run("ip", "addr", "add", "192.0.2.1/24", "dev", "lo");
    const seen = events.drain();
    expect(seen).toContainEqual({ kind: "link", index: 1 });
    expect(seen).toContainEqual({ kind: "address", index: 1 });
    expect(seen).toContainEqual({ kind: "route", index: 1, table: 255 });
    expect(events.drain()).toEqual([]);
    events.close();
  });

  it("PG-152: rules, parameters and nftables tell, too, and the signal says that there is something", async () => {
    const events = host.enter(() => openNetlinkEvents(kernel));
    let told = 0;
    events.onReadable(() => told++);
    host.run("ip", "rule", "add", "pref", "77", "table", "77");
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    host.run("nft", "add table inet other");
    await eventually(() => expect(told).toBeGreaterThan(0));
    const seen = events.drain();
    expect(seen).toContainEqual({ kind: "rule" });
    expect(seen).toContainEqual({ kind: "parameter" });
    expect(seen.filter(({ kind }) => kind === "firewall")).toEqual([{ kind: "firewall", table: "other" }]);
    events.close();
    const before = told;
    host.run("nft", "delete table inet other");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(told, "nobody listens any more").toBe(before);
  });

  it("PG-36: an overrun is an event of its own", () => {
    const events = host.enter(() => openNetlinkEvents(kernel));
    host.run("ip", "link", "set", "lo", "up");
    addRoutes(host, 4000, 254);
    expect(events.drain()).toContainEqual({ kind: "overrun" });
    events.close();
  });
});

/** Adds that many routes, 10.0.0.0/24 and following. */
function addRoutes(host: OwnNamespace, count: number, table: number): void {
  const line = `route add 10.$((i >> 8)).$((i & 255)).0/24 dev lo table ${table}`;
  host.run("bash", "-c", `for ((i = 0; i < ${count}; i++)); do echo "${line}"; done | ip -batch -`);
}

function fail(): never {
  throw new Error("no such element");
}
