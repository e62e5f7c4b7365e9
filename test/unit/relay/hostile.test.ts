import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import { METHOD_BINDING, type StunClass } from "../../../src/stun/index.ts";
import { encodeTurn, METHOD_ALLOCATE, METHOD_REFRESH, METHOD_SEND } from "../../../src/turn/index.ts";
import fc from "../../lib/property.ts";
import {
  at,
  codeOf,
  createClient,
  createWorld,
  encodeRequest,
  fetchNonce,
  newTransaction,
  UDP,
  type World,
} from "./relay-world.ts";

const ADDRESS = "192.0.2.1:51820";

function dropsOf(world: World) {
  return Object.fromEntries(world.server.stats().drops);
}

/** How many of `count` equal requests are answered. */
function answered(count: number, send: (n: number) => unknown): number {
  let answers = 0;
  for (let n = 0; n < count; n++) if (send(n) !== undefined) answers += 1;
  return answers;
}

describe("what is no request of a client", () => {
  it.each([
    "192.0.2.1:0",
    "0.0.0.0:1",
    "224.0.0.1:1",
    "239.255.255.255:1",
    "255.255.255.255:1",
    "[::]:1",
    "[ff02::1]:1",
    "198.51.100.7:3478",
    "[2001:db8::7]:3478",
  ])("RL-13: nothing comes from %s", (source) => {
    const world = createWorld();
    expect(world.send(at(source), encodeRequest(METHOD_BINDING, {}))).toBeUndefined();
    expect(dropsOf(world)).toEqual({ bad_source: 1 });
  });

  it("RL-13: our own address with another port is a client like any other", () => {
    const world = createWorld();
    expect(codeOf(world.send(at("198.51.100.7:3479"), encodeRequest(METHOD_BINDING, {})))).toBe("success");
  });

  it.each([
    ["indication", METHOD_BINDING, "not_request"],
    ["success", METHOD_ALLOCATE, "not_request"],
    ["error", METHOD_ALLOCATE, "not_request"],
    ["indication", METHOD_SEND, "send_indication"],
  ] as const)("RL-14, RL-41: a %s of method %s is dropped as %s", (kind, method, reason) => {
    const world = createWorld();
    const datagram = new Uint8Array(100);
    const content = { method, class: kind as StunClass, transactionId: newTransaction(), fields: {} };
    const length = encodeTurn(datagram, content);
    expect(world.send(at(ADDRESS), datagram.subarray(0, length))).toBeUndefined();
    expect(dropsOf(world)).toEqual({ [reason]: 1 });
  });

  it("RL-14: an unknown method is refused to a client, and dropped for strangers", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(codeOf(client.request(0x00a, {}))).toBe(400);
    expect(world.send(at(ADDRESS), encodeRequest(0x00a, {}))).toBeUndefined();
    expect(dropsOf(world)).toEqual({ unknown_method: 1 });
  });

  it("RL-16: Binding refuses attributes that it must know and does not", () => {
    const world = createWorld();
    const request = encodeRequest(METHOD_BINDING, { software: "abcd" }).slice();
    // SOFTWARE becomes CHANGE-REQUEST.
    request[20] = 0x00;
    request[21] = 0x03;
    const answer = world.send(at(ADDRESS), request);
    expect(codeOf(answer)).toBe(420);
    expect(answer?.fields.unknownAttributes).toEqual([0x0003]);
  });

  it("RL-14: every truncation and every changed byte of a request is dropped or refused, never more", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const nonce = fetchNonce(world, client);
    const { username, key } = client;
    const request = encodeRequest(METHOD_ALLOCATE, UDP, { username, key, nonce, hasFingerprint: true });
    for (let length = 0; length < request.length; length++) {
      expect(world.send(client.address, request.subarray(0, length))).toBeUndefined();
    }
    // Behind MESSAGE-INTEGRITY stands FINGERPRINT: under another type it is not looked at (RL-2).
    for (let i = 0; i < request.length - 8; i++) {
      const changed = request.slice();
      changed[i] = (changed[i] ?? 0) ^ 0x01;
      expect(codeOf(world.send(client.address, changed)), `byte ${i}`).not.toBe("success");
    }
    expect(world.server.stats().allocations).toBe(0);
    expect(codeOf(world.send(client.address, request))).toBe("success");
  });

  it("RL-14: random bytes and random changes never throw, and leave no state", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    const nonce = fetchNonce(world, client);
    const { username, key } = client;
    const request = encodeRequest(METHOD_REFRESH, UDP, { username, key, nonce });
    const change = fc.record({ at: fc.nat(request.length - 1), value: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 6 }),
        fc.uint8Array({ maxLength: 80 }),
        (changes, tail) => {
          const datagram = Uint8Array.from([...request, ...tail]);
          for (const { at: index, value } of changes) datagram[index] = value;
          world.send(at(ADDRESS), datagram);
          world.send(at(ADDRESS), tail);
        },
      ),
      { numRuns: 500 },
    );
    expect(world.server.stats()).toMatchObject({ allocations: 0, pending: 0, reservations: 0 });
    expect(world.server.pollTimeout()).toBeUndefined();
  });
});

describe("floods", () => {
  it("RL-59: Binding is answered 400 times at once, then 200 times a second, by address", () => {
    const world = createWorld();
    const ask = (from: string) => world.send(at(from), encodeRequest(METHOD_BINDING, {}));
    expect(answered(500, () => ask(ADDRESS))).toBe(400);
    expect(ask("192.0.2.2:51820")).toBeDefined();
    world.wait(1000);
    expect(answered(500, () => ask(ADDRESS))).toBe(200);
    expect(dropsOf(world)).toEqual({ rate: 400 });
  });

  it("RL-59: a /64 of IPv6 is one address", () => {
    const world = createWorld();
    const ask = (from: string) => world.send(at(from), encodeRequest(METHOD_BINDING, {}));
    expect(answered(500, (n) => ask(`[2001:db8:1:1::${n.toString(16)}]:1`))).toBe(400);
    expect(ask("[2001:db8:1:2::1]:1")).toBeDefined();
  });

  it("RL-59: refusals of strangers go out 100 times at once, then 50 times a second", () => {
    const world = createWorld();
    const ask = () => world.send(at(ADDRESS), encodeRequest(METHOD_ALLOCATE, UDP));
    expect(answered(200, ask)).toBe(100);
    world.wait(1000);
    expect(answered(200, ask)).toBe(50);
    expect(world.send(at(ADDRESS), encodeRequest(METHOD_BINDING, {}))).toBeDefined();
  });

  it("RL-59: an allocation has a share of its own, which a flood from its address does not touch", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    client.allocate();
    answered(200, () => world.send(at(ADDRESS), encodeRequest(METHOD_ALLOCATE, UDP)));
    expect(answered(200, () => client.refresh())).toBe(100);
    world.wait(1000);
    expect(answered(200, () => client.refresh())).toBe(50);
  });

  it("RL-59: clients without allocation share one by address", () => {
    const world = createWorld();
    const client = createClient(world, ADDRESS);
    expect(answered(200, () => client.refresh())).toBe(100);
    const neighbour = createClient(world, "192.0.2.2:1");
    expect(codeOf(neighbour.refresh())).toBe(437);
  });

  it("RL-59, RL-60: forged sources get 20,000 answers a second together, and leave no state", () => {
    const world = createWorld();
    const address = ip("203.0.113.0");
    const binding = encodeRequest(METHOD_BINDING, {});
    const send = (n: number) => {
      new DataView(address.buffer).setUint32(0, 0x0b00_0000 + n);
      return world.send({ address: address.slice(), port: 1 }, binding);
    };
    expect(answered(30_000, send)).toBe(20_000);
    expect(world.server.pollTimeout()).toBeUndefined();
    expect(world.server.stats()).toMatchObject({ allocations: 0, pending: 0, reservations: 0 });
  });
});
