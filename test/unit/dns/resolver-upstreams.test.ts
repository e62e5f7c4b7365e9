import { describe, expect, it } from "vitest";
import { createSeededRandom, formatIp, instant, ip, SILENT } from "../../../src/base/index.ts";
import { createResolver, type SentinelMapping, TYPE } from "../../../src/dns/index.ts";
import { chooseUpstreams, toDohUrl, upstreamKey } from "../../../src/dns/upstreams.ts";
import { record } from "./octets.ts";
import { CONFIG, createWorld, responseTo } from "./resolver-world.ts";

const choose = (portal: { do53?: readonly string[]; doh?: readonly string[] }, system: readonly string[]) =>
  chooseUpstreams(
    {
      upstreamDo53: (portal.do53 ?? []).map((address) => ip(address)),
      upstreamDoh: portal.doh ?? [],
      system: system.map((address) => ({ address: ip(address) })),
    },
    SILENT,
  );
const keysOf = (...given: Parameters<typeof choose>) => choose(...given).upstreams.map(upstreamKey);
const describeMapping = (mapping: readonly SentinelMapping[]) =>
  mapping.map(({ sentinel, upstream }) => `${formatIp(sentinel)} ${upstreamKey(upstream)}`);

describe("upstreams", () => {
  it("DN-17: Do53 of the portal, else its DoH, else the host's; never mixed", () => {
    const doh = ["https://dns.example/q"];
    expect(keysOf({ do53: ["192.0.2.1"], doh }, ["192.0.2.9"])).toEqual(["do53 192.0.2.1"]);
    expect(keysOf({ doh }, ["192.0.2.9"])).toEqual(["doh https://dns.example/q"]);
    expect(keysOf({}, ["192.0.2.9"])).toEqual(["do53 192.0.2.9"]);
    expect([choose({ doh }, []).isCustom, choose({}, ["192.0.2.9"]).isCustom]).toEqual([true, false]);
  });

  it("DN-18: in their order, each once, without what is none, at most 16", () => {
    const odd = [
      "192.0.2.2",
      "100.100.111.1",
      "0.0.0.0",
      "::",
      "224.0.0.1",
      "ff02::1",
      "192.0.2.1",
      "192.0.2.2",
    ];
    expect(keysOf({}, odd)).toEqual(["do53 192.0.2.2", "do53 192.0.2.1"]);
    expect(keysOf({}, ["100.64.0.1", "100.127.0.1"])).toHaveLength(2);
    expect(
      keysOf(
        {},
        Array.from({ length: 17 }, (_, i) => `192.0.2.${i + 1}`),
      ),
    ).toHaveLength(16);
    const scoped = { address: ip("fe80::1"), scope: 3 };
    const { upstreams } = chooseUpstreams({ upstreamDo53: [], upstreamDoh: [], system: [scoped] }, SILENT);
    expect(upstreams).toEqual([{ kind: "do53", server: scoped }]);
  });

  it("DN-19: if there is none, there is a sentinel all the same", () => {
    expect(keysOf({}, [])).toEqual(["none"]);
    expect(keysOf({ doh: ["http://dns.example/"] }, ["192.0.2.9"])).toEqual(["none"]);
  });

  it.each([
    ["https://dns.example/dns-query", true],
    ["https://dns.example:8443/dns-query", true],
    ["https://[2001:db8::1]/", true],
    ["http://dns.example/", false],
    ["https://dns.example/?a=b", false],
    ["https://dns.example/?", false],
    ["https://dns.example/#a", false],
    ["dns.example", false],
    ["https://", false],
  ])("DN-20: whether %s is a DoH server: %s", (text, isUsable) => {
    expect(toDohUrl(text) !== undefined).toBe(isUsable);
  });
});

describe("sentinels", () => {
  it("DN-21: each upstream has one, new ones after a change of the set", () => {
    const world = createWorld({}, ["1.1.1.1"]);
    expect(describeMapping(world.resolver.mapping())).toEqual(["100.100.111.1 do53 1.1.1.1"]);
    world.systemServers("8.8.8.8", "2001:db8::1");
    expect(describeMapping(world.resolver.mapping())).toEqual([
      "100.100.111.2 do53 8.8.8.8",
      "fd00:2021:1111:8000:100:100:111:1 do53 2001:db8::1",
    ]);
    world.systemServers("1.1.1.1");
    expect(describeMapping(world.resolver.mapping())).toEqual(["100.100.111.1 do53 1.1.1.1"]);
  });

  it("DN-21, DN-83: another order or the same set is no change", () => {
    const world = createWorld({}, ["192.0.2.1", "192.0.2.2"]);
    world.systemServers("192.0.2.2", "192.0.2.1");
    world.configure({ upstreamDo53: [ip("192.0.2.1"), ip("192.0.2.2")] });
    expect(world.eventsOf("mapping-changed")).toEqual([]);
    expect(world.eventsOf("flush-host-cache")).toEqual([]);
  });

  it("DN-22: a retired sentinel is served for 120 s, by the first upstream", () => {
    const world = createWorld({}, ["192.0.2.1"]);
    world.systemServers("192.0.2.2", "192.0.2.3");
    world.sent();
    world.wait(119_999);
    world.sent();
    world.ask("example.com", { to: ip("100.100.111.1") });
    expect(world.sent().map(({ upstream }) => upstreamKey(upstream))).toEqual(["do53 192.0.2.2"]);
    world.wait(1);
    world.ask("other.example", { to: ip("100.100.111.1") });
    expect(world.sent()).toEqual([]);
    expect(world.resolver.counters()).toMatchObject({ dns_drop_unmapped: 1 });
  });

  it("DN-23: a sentinel always asks its own upstream", () => {
    const world = createWorld({}, ["192.0.2.1", "192.0.2.2"]);
    world.ask("example.com", { to: ip("100.100.111.2") });
    expect(world.sent().map(({ upstream }) => upstreamKey(upstream))).toEqual(["do53 192.0.2.2"]);
  });

  it("DN-96: nobody is told of sentinels before the tunnel has addresses", () => {
    const resolver = createResolver({ random: createSeededRandom(1) });
    const kinds = () => {
      const all: string[] = [];
      for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent())
        all.push(event.kind);
      return all;
    };
    resolver.handleSystemResolvers(instant(0), [{ address: ip("192.0.2.1") }]);
    expect(kinds()).not.toContain("mapping-changed");
    resolver.configure(instant(0), CONFIG);
    expect(kinds().filter((kind) => kind === "mapping-changed")).toHaveLength(1);
    resolver.configure(instant(0), CONFIG);
    expect(kinds()).not.toContain("mapping-changed");
  });

  it("DN-24: a change of mapping or search domain is said once", () => {
    const world = createWorld();
    world.configure({ searchDomain: "corp" });
    world.configure({ searchDomain: "corp" });
    world.systemServers("192.0.2.99");
    expect(
      world
        .eventsOf("mapping-changed")
        .map(({ mapping, searchDomain }) => [describeMapping(mapping), searchDomain]),
    ).toEqual([
      [["100.100.111.1 do53 192.0.2.53"], "corp"],
      [["100.100.111.2 do53 192.0.2.99"], "corp"],
    ]);
  });
});

describe("what the host is told", () => {
  it("DN-100: where resources lie, and when that changes", () => {
    const world = createWorld();
    world.configure({ patterns: [{ rid: "r", pattern: "**.other.example", ipStack: "dual" }] });
    world.configure({ patterns: [{ rid: "r", pattern: "*.other.example", ipStack: "dual" }] });
    expect(world.eventsOf("mapping-changed").map(({ suffixes }) => suffixes)).toEqual([["other.example"]]);
    world.configure();
    expect(world.eventsOf("mapping-changed").at(-1)?.suffixes).toEqual([
      "corp",
      "four.example",
      "six.example",
      "wiki.corp",
    ]);
  });
});

describe("the guard against loops", () => {
  it("DN-26: a server that asks us is left out until the host has other servers", () => {
    const world = createWorld({}, ["192.0.2.1", "127.0.0.1"]);
    world.resolver.handleHostDnsChanged(world.now());
    world.drain();
    const probe = world.sent().find(({ upstream }) => upstreamKey(upstream) === "do53 127.0.0.1");
    if (probe === undefined) throw new Error("a probe");
    // It comes back with another ID, as a forwarder sends it.
    const forwarded = Uint8Array.from(probe.message);
    forwarded[0] = 9;
    expect(world.ask("", { bytes: forwarded })).toMatchObject([{ rcode: 5 }]);
    expect(describeMapping(world.resolver.mapping())).toEqual(["100.100.111.3 do53 192.0.2.1"]);
    world.systemServers("127.0.0.1", "192.0.2.2");
    expect(world.resolver.mapping()).toHaveLength(2);
  });

  it("DN-26: a probe that comes back after 5 s proves nothing, and is passed on to nobody", () => {
    const world = createWorld({}, ["127.0.0.1"]);
    world.resolver.handleHostDnsChanged(world.now());
    world.drain();
    const [probe] = world.sent();
    world.wait(5_000);
    const isMapped = () => describeMapping(world.resolver.mapping()).join().includes("127.0.0.1");
    world.wait(1);
    world.sent();
    world.ask("", { bytes: probe?.message ?? new Uint8Array(0) });
    expect(isMapped()).toBe(true);
  });
});

describe("what is kept", () => {
  it("DN-78, DN-81: an answer is kept until resources or upstreams change", () => {
    const world = createWorld();
    const get = (port: number) => {
      const told = world.ask("example.com", { port });
      const [query] = world.sent();
      return query === undefined
        ? told
        : [...world.reply(query, responseTo(query, record("c00c", "0001", "c0000207", "00000e10"))), "asked"];
    };
    expect(get(1)).toHaveLength(2);
    expect(get(2)).toHaveLength(1);
    world.configure({ patterns: [] });
    expect(get(3)).toHaveLength(2);
    expect(get(4)).toHaveLength(1);
    world.resolver.reset(world.now());
    expect(get(5)).toHaveLength(2);
    world.configure({ patterns: [{ rid: "new", pattern: "example.com", ipStack: "dual" }] });
    expect(world.ask("example.com", { type: TYPE.A, port: 6 })).toMatchObject([
      { data: expect.arrayContaining(["100.96.0.1"]) },
    ]);
  });

  it("DN-81: the host forgets what it kept when resources change", () => {
    const world = createWorld();
    world.configure({ patterns: [] });
    world.configure({ patterns: [] });
    expect(world.eventsOf("flush-host-cache")).toHaveLength(1);
  });
});
