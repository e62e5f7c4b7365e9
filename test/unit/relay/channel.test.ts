import { describe, expect, it } from "vitest";
import { METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION } from "../../../src/turn/index.ts";
import { at, codeOf, createClient, createWorld, LIMITS, PUBLIC_V4, portOf, UDP } from "./relay-world.ts";

const ADDRESS = "192.0.2.1:51820";
const PEER = "203.0.113.9:40000";
const OTHER = "203.0.113.9:40001";
const DUAL = { ...UDP, additionalFamily: 2 };

function bound() {
  const world = createWorld();
  const client = createClient(world, ADDRESS);
  const port = portOf(client.allocate());
  world.commands.length = 0;
  return { world, client, port };
}

describe("ChannelBind, each row of RL-27", () => {
  it.each([
    ["no channel", { peerAddress: at(PEER) }, 400],
    ["no peer", { channelNumber: 0x4000 }, 400],
    ["channel 0x3fff", { channelNumber: 0x3fff, peerAddress: at(PEER) }, 400],
    ["channel 0x4000", { channelNumber: 0x4000, peerAddress: at(PEER) }, "success"],
    ["channel 0x7fff", { channelNumber: 0x7fff, peerAddress: at(PEER) }, "success"],
    ["channel 0x8000", { channelNumber: 0x8000, peerAddress: at(PEER) }, 400],
    ["port 0", { channelNumber: 0x4000, peerAddress: at("203.0.113.9:0") }, 400],
    [
      "a peer of a family that the allocation lacks",
      { channelNumber: 0x4000, peerAddress: at("[2001:db9::1]:1") },
      443,
    ],
    ["a peer that policy denies", { channelNumber: 0x4000, peerAddress: at("169.254.169.254:80") }, 403],
  ])("RL-27: %s", (_, fields, expected) => {
    expect(codeOf(bound().client.request(METHOD_CHANNEL_BIND, fields))).toBe(expected);
  });

  it("RL-27: without allocation 437, after 400", () => {
    const client = createClient(createWorld(), ADDRESS);
    expect(codeOf(client.bind(0x4000, PEER))).toBe(437);
    expect(codeOf(client.bind(0x3fff, PEER))).toBe(400);
  });

  it("RL-27: 443 comes before 403", () => {
    expect(codeOf(bound().client.bind(0x4000, "[::1]:1"))).toBe(443);
  });

  it("RL-27: neither a bound peer nor a bound channel can be bound otherwise", () => {
    const { client } = bound();
    expect(codeOf(client.bind(0x4000, PEER))).toBe("success");
    expect(codeOf(client.bind(0x4001, PEER))).toBe(400);
    expect(codeOf(client.bind(0x4000, OTHER))).toBe(400);
    expect(codeOf(client.bind(0x4001, OTHER))).toBe("success");
    expect(codeOf(client.bind(0x4000, OTHER))).toBe(400);
  });

  it("RL-27: other clients may bind the same channel and the same peer", () => {
    const { world, client } = bound();
    client.bind(0x4000, PEER);
    const bob = createClient(world, "192.0.2.2:1", { user: "bob" });
    bob.allocate();
    expect(codeOf(bob.bind(0x4000, PEER))).toBe("success");
  });

  it("RL-27: limits of an allocation and of the relay are answered with 508", () => {
    const world = createWorld({ limits: { ...LIMITS, bindingsMax: 3, bindingsPerAllocation: 2 } });
    const alice = createClient(world, ADDRESS);
    const bob = createClient(world, "192.0.2.2:1", { user: "bob" });
    alice.allocate();
    bob.allocate();
    const bind = (client: typeof alice, n: number) => codeOf(client.bind(0x4000 + n, `203.0.113.9:${n + 1}`));
    expect([0, 1, 2].map((n) => bind(alice, n))).toEqual(["success", "success", 508]);
    expect(bind(alice, 0)).toBe("success");
    expect([0, 1].map((n) => bind(bob, n))).toEqual(["success", 508]);
    // Cooling bindings count: their memory is still in use.
    world.wait(0);
    alice.refresh({ lifetimeSeconds: 0 });
    expect(bind(bob, 1)).toBe("success");
  });
});

describe("the life of a binding", () => {
  it("RL-30: the data path has it before the answer is there", () => {
    const { world, client, port } = bound();
    const transactionless = client.bind(0x4000, PEER);
    expect(codeOf(transactionless)).toBe("success");
    expect(world.commands).toEqual([
      {
        kind: "add-binding",
        binding: { client: at(ADDRESS), channel: 0x4000, port, peer: at(PEER), isHairpin: false },
      },
    ]);
  });

  it("RL-29: cools after 600 s, is forgotten 300 s later", () => {
    const { world, client } = bound();
    client.refresh({ lifetimeSeconds: 3600 });
    client.bind(0x4000, PEER);
    world.wait(599_999);
    expect(world.commands.at(-1)?.kind).toBe("add-binding");
    world.wait(1);
    expect(world.commands.at(-1)).toMatchObject({ kind: "remove-binding", binding: { channel: 0x4000 } });
    expect(world.server.stats()).toMatchObject({ boundChannels: 0, coolingChannels: 1 });
    world.wait(299_999);
    expect(codeOf(client.bind(0x4001, PEER))).toBe(400);
    expect(codeOf(client.bind(0x4000, OTHER))).toBe(400);
    world.wait(1);
    expect(codeOf(client.bind(0x4001, PEER))).toBe("success");
    expect(codeOf(client.bind(0x4000, OTHER))).toBe("success");
  });

  it("RL-29: cools from when it ended, however late that is noticed", () => {
    const { world, client } = bound();
    client.refresh({ lifetimeSeconds: 3600 });
    client.bind(0x4000, PEER);
    world.wait(900_000);
    expect(world.server.stats()).toMatchObject({ boundChannels: 0, coolingChannels: 0 });
    expect(codeOf(client.bind(0x4001, PEER))).toBe("success");
  });

  it("RL-28: is prolonged by the same pair, without news for the data path", () => {
    const { world, client } = bound();
    client.refresh({ lifetimeSeconds: 3600 });
    client.bind(0x4000, PEER);
    world.wait(500_000);
    expect(codeOf(client.bind(0x4000, PEER))).toBe("success");
    world.wait(599_999);
    expect(world.commands).toHaveLength(1);
    world.wait(1);
    expect(world.commands).toHaveLength(2);
  });

  it("RL-28: comes back by the same pair while it cools", () => {
    const { world, client } = bound();
    client.refresh({ lifetimeSeconds: 3600 });
    client.bind(0x4000, PEER);
    world.wait(899_999);
    expect(codeOf(client.bind(0x4000, PEER))).toBe("success");
    expect(world.commands.map(({ kind }) => kind)).toEqual(["add-binding", "remove-binding", "add-binding"]);
    expect(world.server.stats()).toMatchObject({ boundChannels: 1, coolingChannels: 0 });
    world.wait(599_999);
    expect(world.server.stats().boundChannels).toBe(1);
  });

  it("RL-29: ends with its allocation, without cooling", () => {
    const { world, client } = bound();
    client.bind(0x4000, PEER);
    client.bind(0x4001, OTHER);
    world.wait(600_000);
    expect(world.server.stats()).toMatchObject({ allocations: 0, boundChannels: 0, coolingChannels: 0 });
    expect(world.server.pollTimeout()).toBeUndefined();
    expect(world.commands.at(-1)?.kind).toBe("free-port");
    client.allocate();
    expect(codeOf(client.bind(0x4001, PEER))).toBe("success");
  });

  it("RL-50: data leaves from the address that the client asked last", () => {
    const { world, client } = bound();
    const [first, second] = [Uint8Array.of(198, 51, 100, 8), Uint8Array.of(198, 51, 100, 9)];
    let local = first;
    const { handleClient } = world.server;
    world.server.handleClient = (now, input) => handleClient(now, { ...input, local });
    client.bind(0x4000, PEER);
    client.bind(0x4000, PEER);
    local = second;
    client.bind(0x4000, PEER);
    expect(world.commands).toMatchObject([{ binding: { local: first } }, { binding: { local: second } }]);
  });
});

describe("hairpin", () => {
  it("RL-45: a peer on one of our own allocation ports stays inside", () => {
    const { world, client } = bound();
    expect(codeOf(client.bind(0x4000, `${PUBLIC_V4.join(".")}:49152`))).toBe("success");
    expect(world.commands).toMatchObject([{ kind: "add-binding", binding: { isHairpin: true } }]);
    expect(codeOf(client.bind(0x4001, `${PUBLIC_V4.join(".")}:49151`))).toBe(403);
  });
});

describe("CreatePermission", () => {
  it.each([
    ["a peer", { peerAddress: at(PEER) }, "success"],
    ["our own address, whatever the port", { peerAddress: at("198.51.100.7:1") }, "success"],
    ["no peer", {}, 400],
    ["a peer of the other family", { peerAddress: at("[2001:db9::1]:1") }, 443],
    ["a denied peer", { peerAddress: at("127.0.0.1:1") }, 403],
  ])("RL-40: with %s", (_, fields, expected) => {
    const { world, client } = bound();
    expect(codeOf(client.request(METHOD_CREATE_PERMISSION, fields))).toBe(expected);
    expect(world.commands).toEqual([]);
  });

  it("RL-40: without allocation", () => {
    const client = createClient(createWorld(), ADDRESS);
    expect(codeOf(client.request(METHOD_CREATE_PERMISSION, {}))).toBe(437);
  });

  it("RL-44: families of client and peer are independent", () => {
    const world = createWorld();
    const client = createClient(world, "[2001:db8:2::1]:1");
    client.allocate(DUAL);
    expect(codeOf(client.bind(0x4000, PEER))).toBe("success");
    expect(codeOf(client.bind(0x4001, "[2001:db8:3::1]:1"))).toBe("success");
  });
});
