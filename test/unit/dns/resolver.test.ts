import { describe, expect, it } from "vitest";
import { createSeededRandom, formatIp, instant, ip, type Log } from "../../../src/base/index.ts";
import { createResolver, RCODE, TYPE } from "../../../src/dns/index.ts";
import { encodeIp, encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import { EXAMPLE, message, octets, opt } from "./octets.ts";
import { CONFIG, createWorld, OWN, responseTo, SENTINEL, SENTINEL_V6 } from "./resolver-world.ts";

const FIRST_V4 = ["100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4"];
const FIRST_V6 = ["", "1", "2", "3"].map((last) => `fd00:2021:1111:8000::${last}`);

describe("the table of queries", () => {
  it.each([
    ["1", "use-application-dns.net", TYPE.A, RCODE.nxDomain, []],
    ["2", "localhost", TYPE.A, RCODE.noError, ["127.0.0.1"]],
    ["2", "a.localhost", TYPE.AAAA, RCODE.noError, ["::1"]],
    ["2", "localhost", TYPE.TXT, RCODE.noError, []],
    ["4", "9.0.96.100.in-addr.arpa", TYPE.PTR, RCODE.nxDomain, []],
    ["4", "1.0.127.100.in-addr.arpa", TYPE.PTR, RCODE.nxDomain, []],
    ["4", `${"0.".repeat(20)}1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa`, TYPE.PTR, RCODE.nxDomain, []],
    ["5", "wiki.corp", TYPE.A, RCODE.noError, FIRST_V4],
    ["5", "WIKI.corp", TYPE.AAAA, RCODE.noError, FIRST_V6],
    ["5", "four.example", TYPE.AAAA, RCODE.noError, []],
    ["5", "six.example", TYPE.A, RCODE.noError, []],
    ["6", "wiki.corp", TYPE.HTTPS, RCODE.noError, []],
    ["6", "wiki.corp", TYPE.SVCB, RCODE.noError, []],
    ["7", "wiki.corp", TYPE.ANY, RCODE.noError, [...FIRST_V4, ...FIRST_V6]],
    ["10", "resolver.arpa", TYPE.A, RCODE.noError, []],
    ["10", "_dns.resolver.arpa", TYPE.SVCB, RCODE.noError, []],
    ["11", "a.invalid", TYPE.A, RCODE.nxDomain, []],
    ["11", "x.onion", TYPE.A, RCODE.nxDomain, []],
  ])("DN-35 row %s: %s is answered here", (_row, name, type, rcode, data) => {
    const world = createWorld();
    expect(world.ask(name, { type })).toMatchObject([{ rcode, data }]);
    expect(world.sent()).toEqual([]);
  });

  it.each([
    ["8", "wiki.corp", TYPE.TXT, 0],
    ["8", "wiki.corp", TYPE.SRV, 0],
    ["8", "wiki.corp", TYPE.MX, 0],
    ["9", "wiki.corp", TYPE.CNAME, 1],
    ["12", "example.com", TYPE.A, 1],
    ["12", "printer.local", TYPE.A, 1],
    ["12", "mask.icloud.com", TYPE.A, 1],
    ["12", "63.100.in-addr.arpa", TYPE.PTR, 1],
    ["12", "1.0.63.100.in-addr.arpa", TYPE.PTR, 1],
    ["12", "1.0.128.100.in-addr.arpa", TYPE.PTR, 1],
    ["12", "notlocalhost", TYPE.A, 1],
  ])("DN-35 row %s: %s of type %s,%s goes on or waits for its site", (_row, name, type, sent) => {
    const world = createWorld();
    expect(world.ask(name, { type })).toEqual([]);
    expect(world.sent()).toHaveLength(sent);
    expect(world.eventsOf("site-needed")).toHaveLength(1 - sent);
  });

  it("DN-35 row 3: the reverse name of an assigned address is the name's", () => {
    const world = createWorld();
    world.ask("Wiki.Corp");
    const reverse = "2.0.96.100.in-addr.arpa";
    expect(world.ask(reverse, { type: TYPE.PTR })).toMatchObject([{ rcode: 0, data: ["wiki.corp"] }]);
    expect(world.ask(reverse, { type: TYPE.A })).toMatchObject([{ rcode: 0, data: [] }]);
    expect(
      world.ask(`${"0.".repeat(16)}0.0.0.8.1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa`, { type: TYPE.PTR }),
    ).toMatchObject([{ data: ["wiki.corp"] }]);
  });

  it("DN-37: only exact reverse names mean an address", () => {
    const world = createWorld();
    world.ask("wiki.corp");
    for (const name of [
      "02.0.96.100.in-addr.arpa",
      "1.2.0.96.100.in-addr.arpa",
      "256.0.96.100.in-addr.arpa",
    ]) {
      expect(world.ask(name, { type: TYPE.PTR })).toMatchObject([{ rcode: RCODE.nxDomain }]);
    }
  });

  it("§7: other classes than IN are passed on, also of resource names", () => {
    const world = createWorld();
    const chaos = message("0001 0000 0000 0000", "04 77696b69 04 636f7270 00 0001 0003", "0100");
    expect(world.ask("wiki.corp", { bytes: chaos })).toEqual([]);
    expect(world.sent()).toHaveLength(1);
  });

  it("DN-40: names of resources are answered without any server", () => {
    const world = createWorld({}, []);
    expect(world.ask("wiki.corp")).toMatchObject([{ rcode: 0, data: FIRST_V4 }]);
    expect(world.ask("example.com")).toMatchObject([{ rcode: RCODE.servFail }]);
  });

  it("DN-35: a family that the device lacks is no data", () => {
    const world = createWorld({ addresses: { v4: OWN.v4 } });
    expect(world.ask("wiki.corp", { type: TYPE.AAAA })).toMatchObject([{ rcode: 0, data: [] }]);
    expect(world.ask("wiki.corp", { type: TYPE.ANY })).toMatchObject([{ data: FIRST_V4 }]);
  });

  it("DN-31: of several patterns the most exact decides whose name it is", () => {
    const world = createWorld();
    world.ask("wiki.corp");
    world.ask("mail.corp");
    expect(world.eventsOf("queried").map(({ rid }) => rid)).toEqual(["wiki", "all"]);
  });
});

describe("reports", () => {
  it("DN-56: one report per query, after the assignment, with the name if it is a resource's", () => {
    const resolver = createResolver({ random: createSeededRandom(1) });
    const now = instant(0);
    resolver.configure(now, CONFIG);
    while (resolver.pollEvent() !== undefined);
    const world = createWorld();
    const sentinel = resolver.mapping()[0]?.sentinel;
    resolver.handlePacket(now, world.packetOf("Wiki.corp", { ...(sentinel && { to: sentinel }) }));
    let queried = resolver.pollEvent();
    while (queried !== undefined && queried.kind !== "queried") queried = resolver.pollEvent();
    expect(queried).toEqual({ kind: "queried", domain: "wiki.corp", rid: "wiki" });
    expect(resolver.proxiesOf("wiki.corp", "wiki").map(formatIp)).toEqual([...FIRST_V4, ...FIRST_V6]);
  });

  it("DN-39, DN-56: every query is reported, whatever becomes of it", () => {
    const world = createWorld();
    world.ask("example.com");
    world.ask("wiki.corp", { type: TYPE.HTTPS });
    world.ask("wiki.corp", { type: TYPE.TXT });
    world.ask("localhost");
    world.ask("", { bytes: message("0000 0000 0000 0000", "", "0100") });
    expect(world.eventsOf("queried")).toEqual([
      { kind: "queried" },
      { kind: "queried", domain: "wiki.corp", rid: "wiki" },
      { kind: "queried", domain: "wiki.corp", rid: "wiki" },
      { kind: "queried" },
      { kind: "queried" },
    ]);
  });

  it("DN-45: a new name is said once", () => {
    const world = createWorld();
    for (const type of [TYPE.A, TYPE.AAAA, TYPE.ANY, TYPE.A]) world.ask("wiki.corp", { type });
    expect(world.eventsOf("records-changed")).toHaveLength(1);
    world.ask("mail.corp");
    expect(world.eventsOf("records-changed")).toHaveLength(2);
  });

  it("DN-44: an address leads to its name", () => {
    const world = createWorld();
    world.ask("wiki.corp");
    const found = world.resolver.assignmentOf(ip("fd00:2021:1111:8000::3"));
    expect(found).toMatchObject({ domain: "wiki.corp", rid: "wiki" });
    expect(world.resolver.assignmentOf(ip("100.96.0.5"))).toBeUndefined();
    expect([...world.resolver.names()]).toEqual([found]);
  });
});

describe("packets", () => {
  it("DN-59: the answer comes from the sentinel, to whoever asked", () => {
    const world = createWorld();
    const [packet] = world.give(world.packetOf("wiki.corp", { port: 50_000 }));
    const view = viewPacket(packet ?? new Uint8Array(20));
    expect([formatIp(view.source), formatIp(view.destination), view.ports]).toEqual([
      "100.100.111.1",
      "100.64.0.5",
      { source: 53, destination: 50_000 },
    ]);
    // Hop limit 64, do not fragment.
    expect(packet?.[8]).toBe(64);
    expect(packet?.[6]).toBe(0x40);
  });

  it("DN-58: another port is closed, other protocols and unmapped sentinels are dropped", () => {
    const world = createWorld();
    const udp = encodeUdp({ address: OWN.v4, port: 40_000 }, { address: SENTINEL, port: 853 }, octets("00"));
    const [refusal] = udp.ok ? world.give(udp.value) : [];
    expect(refusal?.subarray(20, 22)).toEqual(octets("03 03"));
    const other = encodeIp({
      source: OWN.v4,
      destination: SENTINEL,
      protocol: 47,
      transport: octets("00000000"),
    });
    expect(other.ok && world.give(other.value)).toEqual([]);
    expect(world.give(world.packetOf("wiki.corp", { to: ip("100.100.111.9") }))).toEqual([]);
    expect(world.give(world.packetOf("wiki.corp", { to: SENTINEL_V6 }))).toEqual([]);
    expect(world.resolver.counters()).toMatchObject({ dns_drop_other: 2, dns_drop_unmapped: 2 });
  });

  it("DN-25: only our own address is served", () => {
    const world = createWorld();
    const packet = world.packetOf("wiki.corp", {});
    packet[15] = 6;
    expect(world.give(packet)).toEqual([]);
    expect(world.resolver.counters()).toMatchObject({ dns_drop_source: 1 });
  });

  it("DN-15: what is no query is dropped, what is malformed is answered", () => {
    const world = createWorld();
    expect(world.ask("", { bytes: octets("00 01 02") })).toEqual([]);
    expect(world.ask("", { bytes: message("0001 0000 0000 0000", `${EXAMPLE} 0001 0001`, "8100") })).toEqual(
      [],
    );
    const twice = message("0001 0000 0000 0002", `${EXAMPLE} 0001 0001 ${opt()} ${opt()}`, "0100");
    expect(world.ask("", { bytes: twice })).toMatchObject([{ rcode: RCODE.formErr }]);
    expect(world.resolver.counters()).toMatchObject({ dns_drop_not_query: 2, dns_formerr: 1 });
  });
});

describe("LLMNR", () => {
  const ask = (world: ReturnType<typeof createWorld>, query: Uint8Array, group = "224.0.0.252") => {
    const to = ip(group);
    const source = to.length === 4 ? OWN.v4 : OWN.v6;
    const packet = encodeUdp({ address: source, port: 40_000 }, { address: to, port: 5355 }, query);
    return packet.ok ? world.give(packet.value) : [];
  };
  const question = (type: string) =>
    message("0001 0000 0000 0000", `04 77696b69 04 636f7270 00 ${type} 0001`, "0000");

  it("DN-60: names of resources are answered from the first sentinel", () => {
    const world = createWorld({ upstreamDo53: [ip("192.0.2.1"), ip("2001:db8::1")] });
    const [packet = new Uint8Array(20)] = ask(world, question("0001"));
    const view = viewPacket(packet);
    expect([formatIp(view.source), view.ports, packet[8]]).toEqual([
      "100.100.111.2",
      { source: 5355, destination: 40_000 },
      255,
    ]);
    expect(view.transport.slice(10, 16)).toEqual(octets("8000 0001 0004"));
    const [v6 = new Uint8Array(40)] = ask(world, question("001c"), "ff02::1:3");
    expect(formatIp(viewPacket(v6).source)).toBe("fd00:2021:1111:8000:100:100:111:1");
    expect(world.eventsOf("queried")).toHaveLength(2);
  });

  it("DN-60: other types are no data; other names and odd headers are silence", () => {
    const world = createWorld();
    const [packet = new Uint8Array(20)] = ask(world, question("0010"));
    expect(viewPacket(packet).transport.slice(10, 16)).toEqual(octets("8000 0001 0000"));
    expect(ask(world, message("0001 0000 0000 0000", `${EXAMPLE} 0001 0001`, "0000"))).toEqual([]);
    expect(
      ask(world, message("0001 0000 0000 0001", `04 77696b69 04 636f7270 00 0001 0001 ${opt()}`, "0000")),
    ).toEqual([]);
    for (const flags of ["0400", "0200", "0800", "8000"]) {
      expect(
        ask(world, message("0001 0000 0000 0000", "04 77696b69 04 636f7270 00 0001 0001", flags)),
      ).toEqual([]);
    }
    // No sentinel of that family.
    expect(ask(world, question("001c"), "ff02::1:3")).toEqual([]);
    expect(world.sent()).toEqual([]);
  });
});

describe("lookups of our own", () => {
  it("DN-48: the same decisions, with their reasons", () => {
    const world = createWorld();
    world.resolver.lookup(world.now(), 1, "Mail.Corp", TYPE.A);
    world.resolver.lookup(world.now(), 2, "a..b", TYPE.A);
    world.resolver.lookup(world.now(), 3, "wiki.corp", TYPE.TXT);
    world.drain();
    world.resolver.handleSite(world.now(), "wiki", { kind: "failed" });
    world.drain();
    expect(world.eventsOf("looked-up").map(({ token, report }) => [token, report])).toMatchObject([
      [
        1,
        {
          domain: "mail.corp",
          rcode: 0,
          addresses: FIRST_V4.map((address) => ip(address)),
          decision: { kind: "local", row: 5, rid: "all", pattern: "*.corp" },
        },
      ],
      [2, { decision: { kind: "malformed" } }],
      [3, { rcode: RCODE.servFail, decision: { kind: "site", row: 8, rid: "wiki" } }],
    ]);
    expect(world.eventsOf("queried")).toHaveLength(2);
  });
});

describe("what is said and counted", () => {
  it("PG-98, DN-66: queries that wait for a site, and servers that are not reached, are worth no more than DEBUG", () => {
    const lines: string[] = [];
    const say = (level: string) => (event: string) => void lines.push(`${level} ${event}`);
    const log: Log = {
      ...{ error: say("error"), warn: say("warn"), info: say("info"), debug: say("debug") },
      scope: () => log,
    };
    const resolver = createResolver({ random: createSeededRandom(1), log });
    const now = instant(0);
    resolver.configure(now, CONFIG);
    resolver.handleSystemResolvers(now, [{ address: ip("192.0.2.53") }]);
    const packetOf = (name: string, type: number): Uint8Array =>
      createWorld().packetOf(name, { type, to: resolver.mapping()[0]?.sentinel ?? SENTINEL });
    for (let i = 0; i < 5; i++) resolver.handlePacket(now, packetOf(`a${i}.corp`, TYPE.TXT));
    resolver.handlePacket(now, packetOf("example.com", TYPE.A));
    for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent()) {
      if (event.kind !== "direct-query") continue;
      resolver.handleDirectResult(now, event.query.token, { kind: "failed", reason: "ENETUNREACH" });
    }
    expect(lines.filter((line) => line === "debug query waits for its site")).toHaveLength(5);
    expect(lines).toContain("debug DNS server not reached");
    expect(lines.filter((line) => !line.startsWith("debug"))).toEqual([]);
  });

  it("DN-111: a line for each query only where it was asked for at the start", () => {
    const lines: unknown[] = [];
    const wire = (event: string, fields?: object): void => void lines.push([event, fields]);
    const resolver = createResolver({ random: createSeededRandom(1), wire });
    const now = instant(0);
    resolver.configure(now, CONFIG);
    const to = resolver.mapping()[0]?.sentinel ?? SENTINEL;
    resolver.handlePacket(now, createWorld().packetOf("wiki.corp", { type: TYPE.HTTPS, to }));
    expect(lines).toEqual([
      ["query answered", { name: "wiki.corp", type: 65, from: "udp", rcode: 0, kind: "local", row: 6 }],
    ]);
  });

  it("DN-113: what has happened by row, code and path, and what there is now", () => {
    const world = createWorld();
    const before = world.resolver.figures().counters;
    world.ask("wiki.corp");
    world.ask("wiki.corp", { type: TYPE.TXT });
    world.ask("use-application-dns.net");
    world.ask("example.com", { port: 40_001 });
    const [query] = world.sent();
    if (query === undefined) throw new Error("a query");
    world.reply(query, responseTo(query, "c00c 0001 0001 00000064 0004 c0000207"));
    world.ask("example.com");
    const { counters, present } = world.resolver.figures();
    const since = (name: string): number => (counters[name] ?? 0) - (before[name] ?? 0);
    expect(since("dns_queries_udp")).toBe(5);
    expect([1, 5, 8, 12].map((row) => since(`dns_row_${row}`))).toEqual([1, 1, 1, 1]);
    expect([0, 3].map((rcode) => since(`dns_rcode_${rcode}`))).toEqual([3, 1]);
    expect([since("dns_forwarded_direct"), since("dns_cached"), since("dns_cache_miss")]).toEqual([1, 1, 4]);
    expect(present).toMatchObject({
      ...{ names: 1, cached_answers: 1, direct_queries: 0, tunnel_queries: 1, site_queries_waiting: 1 },
      ...{ tcp_connections: 0, tunnel_connections: 0 },
    });
  });
});
