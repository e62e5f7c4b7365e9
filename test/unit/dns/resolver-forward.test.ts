import { describe, expect, it } from "vitest";
import { formatIp, ip, prefix, toHex } from "../../../src/base/index.ts";
import { RCODE, TYPE } from "../../../src/dns/index.ts";
import { encodeRefusal, encodeUdp, viewPacket } from "../../../src/packet/index.ts";
import { message, octets, opt, record } from "./octets.ts";
import { createWorld, responseTo } from "./resolver-world.ts";

const ANSWER = record("c00c", "0001", "c0000207");

type World = ReturnType<typeof createWorld>;

function onlySent(world: World) {
  const [query, ...more] = world.sent();
  if (query === undefined || more.length > 0)
    throw new Error(`one query, not ${more.length + (query ? 1 : 0)}`);
  return query;
}

/** The packets that went into the tunnel. */
function intoTunnel(world: World) {
  const packets: Uint8Array[] = [];
  for (
    let one = world.resolver.pollTunnelPacket();
    one !== undefined;
    one = world.resolver.pollTunnelPacket()
  ) {
    packets.push(one);
  }
  return packets.map((packet) => {
    const { source, destination, ports = { source: 0, destination: 0 }, transport } = viewPacket(packet);
    const bytes = transport.slice(8);
    return {
      packet,
      local: { address: source, port: ports.source },
      remote: { address: destination, port: ports.destination },
      bytes,
    };
  });
}

function fromTunnel(world: World, packet: ReturnType<typeof encodeUdp>) {
  if (!packet.ok) throw new Error(packet.reason);
  const isTaken = world.resolver.handleTunnelPacket(world.now(), packet.value);
  world.drain();
  return { isTaken, told: world.answers() };
}

describe("the direct path", () => {
  it("DN-61: a query goes on with another ID, and its answer comes back with the asker's", () => {
    const world = createWorld();
    expect(world.ask("example.com", { id: 0x4242 })).toEqual([]);
    const query = onlySent(world);
    expect(query).toMatchObject({
      transport: "udp",
      upstream: { kind: "do53", server: { address: ip("192.0.2.53") } },
    });
    expect(toHex(query.message.subarray(0, 2))).not.toBe("4242");
    const [told] = world.reply(query, responseTo(query, ANSWER));
    expect(told).toMatchObject({ rcode: 0, data: ["192.0.2.7"] });
    expect(told && toHex(told.bytes.subarray(0, 2))).toBe("4242");
    expect(world.eventsOf("direct-done")).toEqual([{ kind: "direct-done", token: query.token }]);
    expect(world.wait(60_000)).toEqual([]);
  });

  it("DN-61: no ID is used twice among queries in flight to a server", () => {
    const world = createWorld();
    for (let i = 0; i < 900; i++) world.ask(`n${i}.example`);
    const ids = world.sent().map(({ message: bytes }) => toHex(bytes.subarray(0, 2)));
    expect(new Set(ids).size).toBe(900);
  });

  it("DN-64: sent once more after 2 s from a fresh socket; whichever answers first wins", () => {
    const world = createWorld();
    world.ask("example.com");
    const first = onlySent(world);
    world.wait(1_999);
    expect(world.sent()).toEqual([]);
    world.wait(1);
    const second = onlySent(world);
    expect(second.token).not.toBe(first.token);
    expect(second.message).not.toEqual(first.message);
    expect(world.eventsOf("direct-done")).toEqual([]);
    expect(world.reply(first, responseTo(first, ANSWER))).toHaveLength(1);
    expect(world.eventsOf("direct-done").map(({ token }) => token)).toEqual([first.token, second.token]);
    expect(world.reply(second, responseTo(second, ANSWER))).toEqual([]);
  });

  it("DN-64: at 5 s it is over, and a UDP asker hears nothing", () => {
    const world = createWorld();
    world.ask("example.com");
    expect(world.wait(4_999)).toEqual([]);
    const [query] = world.sent();
    expect(world.wait(1)).toEqual([]);
    expect(world.eventsOf("direct-done")).toHaveLength(2);
    expect(query && world.reply(query, responseTo(query, ANSWER))).toEqual([]);
    expect(world.resolver.counters()).toMatchObject({ dns_deadline: 1, dns_retransmit: 1 });
  });

  it("DN-14, DN-64: what is not the answer is ignored, whoever sends it", () => {
    const world = createWorld();
    world.ask("example.com");
    const query = onlySent(world);
    const right = responseTo(query, ANSWER);
    const otherId = Uint8Array.from(right);
    otherId[1] = (otherId[1] ?? 0) ^ 1;
    const otherName = Uint8Array.from(right);
    otherName[13] = 0x66;
    for (const wrong of [otherId, otherName, right.subarray(0, -1), query.message, octets("")]) {
      expect(world.reply(query, wrong)).toEqual([]);
    }
    expect(world.reply(query, right)).toHaveLength(1);
    expect(world.resolver.counters()).toMatchObject({ dns_stray: 5 });
  });

  it("DN-64: SERVFAIL at once when all sockets failed", () => {
    const world = createWorld();
    world.ask("example.com");
    expect(world.break(onlySent(world))).toMatchObject([{ rcode: RCODE.servFail }]);
    world.ask("example.com");
    const first = onlySent(world);
    world.wait(2_000);
    expect(world.break(onlySent(world))).toEqual([]);
    expect(world.break(first)).toMatchObject([{ rcode: RCODE.servFail }]);
  });

  it("DN-11: a failure says its reason to those who take EDNS", () => {
    const world = createWorld();
    const bytes = message("0001 0000 0000 0001", `07 6578616d706c65 03 636f6d 00 0001 0001 ${opt()}`, "0100");
    world.ask("", { bytes });
    const [told] = world.break(onlySent(world));
    expect(told && toHex(told.bytes)).toContain("0006000f00020017");
  });

  it("DN-12: an answer longer than the asker takes says so", () => {
    const world = createWorld();
    world.ask("example.com", { type: TYPE.TXT });
    const query = onlySent(world);
    const long = record("c00c", "0010", `ff ${"61".repeat(255)}`);
    expect(world.reply(query, responseTo(query, `${long};${long}`))).toMatchObject([
      { isTruncated: true, data: [] },
    ]);
  });

  it("DN-70: a repetition makes no second query, and is sent on at most once a second", () => {
    const world = createWorld();
    world.ask("example.com", { id: 1 });
    const first = onlySent(world);
    world.ask("example.com", { id: 1 });
    expect(world.sent()).toEqual([]);
    world.wait(1_000);
    world.ask("example.com", { id: 1 });
    world.ask("example.com", { id: 1 });
    expect(world.sent()).toHaveLength(1);
    expect(world.reply(first, responseTo(first, ANSWER))).toHaveLength(1);
  });

  it("DN-70: beyond 1,000 in flight a query fails", () => {
    const world = createWorld();
    for (let i = 0; i < 1_000; i++) expect(world.ask(`n${i}.example`)).toEqual([]);
    expect(world.ask("one.more")).toMatchObject([{ rcode: RCODE.servFail }]);
    const [query] = world.sent();
    expect(query && world.reply(query, responseTo(query, ANSWER))).toHaveLength(1);
    expect(world.ask("one.more")).toEqual([]);
    expect(world.resolver.counters()).toMatchObject({ dns_overload: 1 });
  });

  it("DN-63, DN-82: a reset sends anew what is in flight, from new sockets", () => {
    const world = createWorld();
    world.ask("example.com");
    const first = onlySent(world);
    world.resolver.reset(world.now());
    world.drain();
    const second = onlySent(world);
    expect(world.eventsOf("direct-done")).toEqual([{ kind: "direct-done", token: first.token }]);
    expect(world.reply(second, responseTo(second, ANSWER))).toHaveLength(1);
  });

  it("DN-71, DN-72: DoH has the ID 0, and what a cache has kept is older", () => {
    const world = createWorld({ upstreamDoh: ["https://dns.example/dns-query"] });
    world.ask("example.com", { id: 9 });
    const query = onlySent(world);
    expect(query).toMatchObject({ transport: "doh", upstream: { url: "https://dns.example/dns-query" } });
    expect(toHex(query.message.subarray(0, 2))).toBe("0000");
    const [told] = world.reply(query, responseTo(query, record("c00c", "0001", "c0000207", "00000064")), 40);
    expect(told && toHex(told.bytes)).toContain("c00c000100010000003c");
    world.ask("other.example");
    expect(world.reply(onlySent(world), octets("00"))).toMatchObject([{ rcode: RCODE.servFail }]);
  });
});

describe("the tunnel path", () => {
  const ROUTED = { upstreamDo53: [ip("10.1.0.53")], tunnelled: [prefix("10.1.0.0/16")] };

  it("DN-67: a custom server inside a resource is asked through the tunnel", () => {
    const world = createWorld(ROUTED);
    expect(world.ask("example.com", { to: ip("100.100.111.2") })).toEqual([]);
    expect(world.sent()).toEqual([]);
    const [query] = intoTunnel(world);
    if (query === undefined) throw new Error("a packet");
    expect([formatIp(query.local.address), formatIp(query.remote.address), query.remote.port]).toEqual([
      "100.64.0.5",
      "10.1.0.53",
      53,
    ]);
    expect(query.local.port).toBeGreaterThanOrEqual(61_000);
    const { isTaken, told } = fromTunnel(
      world,
      encodeUdp(query.remote, query.local, responseTo(query.bytes, ANSWER)),
    );
    expect([isTaken, told]).toMatchObject([true, [{ data: ["192.0.2.7"] }]]);
  });

  it.each([
    ["a server of the host", { tunnelled: [prefix("192.0.2.0/24")] }],
    ["a custom server outside", { ...ROUTED, tunnelled: [prefix("10.2.0.0/16")] }],
    ["DoH", { upstreamDoh: ["https://10.1.0.53/dns-query"], tunnelled: [prefix("0.0.0.0/0")] }],
  ])("DN-67: %s is asked past the tunnel", (_, config) => {
    const world = createWorld(config);
    world.ask("example.com", { to: world.resolver.mapping()[0]?.sentinel ?? ip("::") });
    expect(world.sent()).toHaveLength(1);
    expect(intoTunnel(world)).toEqual([]);
  });

  it("DN-68: sent once more from a new port; late answers go nowhere for 30 s", () => {
    const world = createWorld(ROUTED);
    const to = ip("100.100.111.2");
    world.ask("example.com", { to });
    const [first] = intoTunnel(world);
    world.wait(2_000);
    const [second] = intoTunnel(world);
    if (first === undefined || second === undefined) throw new Error("two packets");
    expect(second.local.port).not.toBe(first.local.port);
    expect(second.bytes.slice(0, 2)).not.toEqual(first.bytes.slice(0, 2));
    const answer = (of: typeof first) =>
      fromTunnel(world, encodeUdp(of.remote, of.local, responseTo(of.bytes, ANSWER)));
    expect(answer(second).told).toHaveLength(1);
    expect(answer(first)).toEqual({ isTaken: true, told: [] });
    world.wait(29_999);
    expect(answer(first).isTaken).toBe(true);
    world.wait(1);
    expect(answer(first).isTaken).toBe(false);
  });

  it("DN-68: at 10 s the asker is told", () => {
    const world = createWorld(ROUTED);
    world.ask("example.com", { to: ip("100.100.111.2") });
    expect(world.wait(9_999)).toEqual([]);
    expect(world.wait(1)).toMatchObject([{ rcode: RCODE.servFail }]);
  });

  it("DN-68: only the server that was asked, by the port it was asked from, answers", () => {
    const world = createWorld(ROUTED);
    world.ask("example.com", { to: ip("100.100.111.2") });
    const [query] = intoTunnel(world);
    if (query === undefined) throw new Error("a packet");
    const right = responseTo(query.bytes, ANSWER);
    const { remote, local } = query;
    expect(fromTunnel(world, encodeUdp({ ...remote, address: ip("10.1.0.54") }, local, right)).isTaken).toBe(
      false,
    );
    expect(fromTunnel(world, encodeUdp({ ...remote, port: 54 }, local, right)).isTaken).toBe(false);
    expect(fromTunnel(world, encodeUdp(remote, { ...local, port: 60_999 }, right)).isTaken).toBe(false);
    expect(fromTunnel(world, encodeUdp(remote, local, right.subarray(0, -1)))).toEqual({
      isTaken: true,
      told: [],
    });
    expect(fromTunnel(world, encodeUdp(remote, local, right)).told).toHaveLength(1);
  });

  it("DN-68: an ICMP error about our packet ends the query", () => {
    const world = createWorld(ROUTED);
    world.ask("example.com", { to: ip("100.100.111.2") });
    const [query] = intoTunnel(world);
    const refusal = query && encodeRefusal(query.packet, "unreachable");
    expect(refusal && world.resolver.handleTunnelPacket(world.now(), refusal)).toBe(true);
    expect(world.answers()).toMatchObject([{ rcode: RCODE.servFail }]);
    // About somebody else's packet: not ours.
    const foreign = encodeUdp(
      { address: ip("100.64.0.5"), port: 9 },
      { address: ip("10.1.0.53"), port: 53 },
      octets("00"),
    );
    const other = foreign.ok ? encodeRefusal(foreign.value, "unreachable") : undefined;
    expect(other && world.resolver.handleTunnelPacket(world.now(), other)).toBe(false);
  });

  it("DN-82: a reset ends what is in the tunnel", () => {
    const world = createWorld(ROUTED);
    world.ask("example.com", { to: ip("100.100.111.2") });
    world.resolver.reset(world.now());
    expect(world.answers()).toMatchObject([{ rcode: RCODE.servFail }]);
  });
});

describe("queries for a site", () => {
  const GATEWAY = { v4: ip("100.64.0.9"), v6: ip("fd00:2021:1111::9") };

  it("DN-66: asked at the gateway, by the sentinel's family, then by the other", () => {
    const world = createWorld();
    world.ask("wiki.corp", { type: TYPE.TXT });
    expect(world.eventsOf("site-needed")).toEqual([{ kind: "site-needed", rid: "wiki" }]);
    world.wait(3_000);
    world.resolver.handleSite(world.now(), "wiki", { kind: "ready", gid: "g", addresses: GATEWAY });
    const [first] = intoTunnel(world);
    world.wait(2_000);
    const [second] = intoTunnel(world);
    if (first === undefined || second === undefined) throw new Error("two packets");
    const ends = [first, second].map(({ local, remote }) => [
      formatIp(local.address),
      formatIp(remote.address),
      remote.port,
    ]);
    expect(ends).toEqual([
      ["100.64.0.5", "100.64.0.9", 53_535],
      ["fd00:2021:1111::5", "fd00:2021:1111::9", 53_535],
    ]);
    const text = record("c00c", "0010", "02 6869");
    expect(
      fromTunnel(world, encodeUdp(second.remote, second.local, responseTo(second.bytes, text))).told,
    ).toHaveLength(1);
  });

  it("DN-66: without a connection it fails, or waits for 10 s", () => {
    const world = createWorld();
    world.ask("wiki.corp", { type: TYPE.TXT });
    world.resolver.handleSite(world.now(), "wiki", { kind: "failed" });
    expect(world.answers()).toMatchObject([{ rcode: RCODE.servFail }]);
    world.ask("wiki.corp", { type: TYPE.TXT });
    expect(world.wait(9_999)).toEqual([]);
    expect(world.wait(1)).toMatchObject([{ rcode: RCODE.servFail }]);
    // It is forgotten: nothing is sent when the site comes later.
    world.resolver.handleSite(world.now(), "wiki", { kind: "ready", gid: "g", addresses: GATEWAY });
    expect(intoTunnel(world)).toEqual([]);
  });

  it("DN-66: 128 wait, then the oldest fails", () => {
    const world = createWorld();
    for (let i = 0; i < 128; i++) expect(world.ask(`n${i}.corp`, { type: TYPE.TXT, id: i })).toEqual([]);
    const [told] = world.ask("n128.corp", { type: TYPE.TXT, id: 128 });
    expect(told).toMatchObject({ rcode: RCODE.servFail });
    expect(told && toHex(told.bytes.subarray(0, 2))).toBe("0000");
    world.resolver.handleSite(world.now(), "all", { kind: "ready", gid: "g", addresses: GATEWAY });
    expect(intoTunnel(world)).toHaveLength(128);
  });
});
