/** Equal queries of different programs that are under way together (DN-70). */
import { describe, expect, it } from "vitest";
import { ip, toHex } from "../../../src/base/index.ts";
import { RCODE, TYPE } from "../../../src/dns/index.ts";
import { octets, opt, record } from "./octets.ts";
import { createWorld, OWN, responseTo, type Told } from "./resolver-world.ts";

const ANSWER = record("c00c", "0001", "c0000207");
const query = (id: string, tail = "", additional = 0) =>
  octets(`${id} 0100 0001 0000 0000 000${additional} 07 6578616d706c65 03 636f6d 00 0001 0001 ${tail}`);
const ids = (told: readonly Told[]) => told.map(({ bytes }) => toHex(bytes.subarray(0, 2)));

describe("equal queries", () => {
  it("DN-70: go on once; each asker has the answer, under its own ID", () => {
    const world = createWorld();
    world.ask("example.com", { id: 0x1111, port: 40_001 });
    world.ask("example.com", { id: 0x2222, port: 40_002 });
    world.wait(1_999);
    world.sent();
    world.ask("example.com", { id: 0x1111, port: 40_003 });
    const [first] = world.sent();
    expect(world.resolver.figures().present).toMatchObject({ direct_queries: 1 });
    if (first === undefined) throw new Error("the third asks for it once more");
    const told = world.reply(first, responseTo(first, ANSWER));
    expect(ids(told)).toEqual(["1111", "2222", "1111"]);
    expect(told.map(({ data }) => data)).toEqual([["192.0.2.7"], ["192.0.2.7"], ["192.0.2.7"]]);
    expect(world.resolver.counters()).toMatchObject({ dns_joined: 2 });
    expect(world.wait(60_000)).toEqual([]);
  });

  it("DN-70: one that comes after 2 s asks for itself, and is joined in turn", () => {
    const world = createWorld();
    world.ask("example.com", { port: 40_001 });
    world.wait(2_000);
    world.sent();
    world.ask("example.com", { port: 40_002 });
    world.ask("example.com", { port: 40_003 });
    const [later, ...more] = world.sent();
    expect(more).toEqual([]);
    expect(later && world.reply(later, responseTo(later, ANSWER))).toHaveLength(2);
    expect(world.resolver.figures().present).toMatchObject({ direct_queries: 1 });
  });

  it("DN-70: 64 wait for one, the next asks for itself", () => {
    const world = createWorld();
    for (let port = 40_000; port < 40_064; port++) world.ask("example.com", { port });
    expect(world.sent()).toHaveLength(1);
    world.ask("example.com", { port: 40_064 });
    const [second] = world.sent();
    expect(second && world.reply(second, responseTo(second, ANSWER))).toHaveLength(1);
  });

  it.each([
    ["another type", query("4242", "").map((octet, i) => (i === 26 ? TYPE.AAAA : octet))],
    ["recursion not desired", query("4242").map((octet, i) => (i === 2 ? 0 : octet))],
    ["another spelling", query("4242").map((octet, i) => (i === 13 ? 0x45 : octet))],
    ["EDNS", query("4242", opt(), 1)],
  ])("DN-70: %s is another query", (_, bytes) => {
    const world = createWorld();
    world.ask("", { bytes: query("4242"), port: 40_001 });
    world.ask("", { bytes, port: 40_002 });
    expect(world.sent()).toHaveLength(2);
  });

  it("DN-70: the failure of one is the failure of all", () => {
    const world = createWorld();
    world.ask("example.com", { id: 0x1111, port: 40_001 });
    world.ask("example.com", { id: 0x2222, port: 40_002 });
    const [first] = world.sent();
    const told = first === undefined ? [] : world.break(first);
    expect(ids(told)).toEqual(["1111", "2222"]);
    expect(told.map(({ rcode }) => rcode)).toEqual([RCODE.servFail, RCODE.servFail]);
  });

  it("DN-66, DN-70: each waits until its own deadline, not the first one's", () => {
    const world = createWorld({ patterns: [{ rid: "all", pattern: "*.corp", ipStack: "dual" }] });
    const ask = (id: number, port: number) => world.ask("mail.corp", { type: TYPE.MX, id, port });
    ask(0x1111, 40_001);
    world.wait(1_500);
    ask(0x2222, 40_002);
    expect(world.wait(8_499)).toEqual([]);
    expect(ids(world.wait(1))).toEqual(["1111"]);
    expect(world.wait(1_499)).toEqual([]);
    expect(ids(world.wait(1))).toEqual(["2222"]);
    expect(world.resolver.counters()).toMatchObject({ dns_deadline: 2 });
    expect(world.resolver.figures().present).toMatchObject({ tunnel_queries: 0, site_queries_waiting: 0 });
  });

  it("DN-66, DN-70: wait for their site as one, and are asked there as one", () => {
    const world = createWorld({ patterns: [{ rid: "all", pattern: "*.corp", ipStack: "dual" }] });
    world.ask("mail.corp", { type: TYPE.MX, port: 40_001 });
    world.ask("mail.corp", { type: TYPE.MX, port: 40_002 });
    expect(world.eventsOf("site-needed")).toHaveLength(1);
    const addresses = { v4: ip("100.64.0.1") };
    world.resolver.handleSite(world.now(), "all", { kind: "ready", gid: "g", addresses });
    expect(world.resolver.pollTunnelPacket()?.subarray(12, 16)).toEqual(OWN.v4);
    expect(world.resolver.pollTunnelPacket()).toBeUndefined();
  });

  it("DN-70: 900 programs that start together with a cold cache ask 30 names by 30 queries", () => {
    const world = createWorld();
    for (let i = 0; i < 900; i++) world.ask(`n${i % 30}.example`, { id: i, port: 20_000 + i });
    const sent = world.sent();
    expect(sent).toHaveLength(30);
    const told = sent.flatMap((one) => world.reply(one, responseTo(one, ANSWER)));
    expect(new Set(ids(told)).size).toBe(900);
  });
});
