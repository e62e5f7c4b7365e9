import { describe, expect, it } from "vitest";
import { ip, unixMs } from "../../src/base/index.ts";
import { type Access, CID, createAccess, testPacket } from "./access.ts";
import { createWorld } from "./world.ts";

const OFFICE = "00000000-0000-4000-8000-0000000000a1";
const NETWORKS = { [OFFICE]: "172.20.0.0/16" };
const SERVER = "172.20.0.9";
const CLIENT = "100.64.0.2";
const EVERY_MS = 50;
const SWITCHES = 100;

function send(access: Access, number: number): void {
  access.send(access.client, testPacket(CLIENT, SERVER, number & 0xff));
}

/** Sends every 50 ms until something arrives at the gateway; how long that took. */
function outageMs(access: Access, withinMs: number): number {
  const { world, gateway } = access;
  const start = world.now();
  const before = gateway.delivered.length;
  while (gateway.delivered.length === before && world.now() - start < withinMs) {
    send(access, 0);
    world.run(EVERY_MS);
  }
  return world.now() - start;
}

function connected(seed: number): Access {
  const access = createAccess(createWorld(seed));
  access.init(NETWORKS);
  expect(outageMs(access, 3_000)).toBeLessThan(3_000);
  return access;
}

/** What the programs do (PG-75): reset, sockets 100 to 200 ms later, then the portal. */
function switchNetwork(access: Access, seed: number): void {
  const { world, client } = access;
  client.host.addresses = [ip(`192.0.2.${20 + (seed % 200)}`)];
  client.host.routed = client.host.addresses;
  access.apply(client, ({ tunnel }) => tunnel.reset(world.now()));
  const boundMs = 100 + (seed % 101);
  world.at(boundMs, () =>
    access.apply(client, ({ tunnel, host }) =>
      tunnel.handleOwnAddresses(
        world.now(),
        host.addresses.map((address) => ({ address, port: host.port })),
      ),
    ),
  );
  world.at(boundMs + 60, () => access.init(NETWORKS));
}

/** It has another key, and the portal knows that; its clients do not. */
function resetGateway(access: Access): void {
  const { world, gateway } = access;
  access.apply(gateway, ({ tunnel, host }) => {
    tunnel.reset(world.now());
    const own = host.addresses.map((address) => ({ address, port: host.port }));
    tunnel.handleOwnAddresses(world.now(), own);
  });
  access.initGateway([{ cid: CID, rid: OFFICE, expiresAt: unixMs(world.unixNow() + 3_600_000) }]);
}

/** The server repeats its answer every 500 ms; the client sends nothing. */
function answerWithin(access: Access, withinMs: number): boolean {
  const { world, gateway, client } = access;
  const until = world.now() + withinMs;
  const before = client.delivered.length;
  while (client.delivered.length === before && world.now() < until) {
    access.send(gateway, testPacket(SERVER, CLIENT, 1));
    world.run(500);
  }
  return client.delivered.length > before;
}

describe("another network", () => {
  it("TN-107: after each of 100 switches the tunnel carries again within 1.5 s", { timeout: 120_000 }, () => {
    const access = connected(1);
    const outages = Array.from({ length: SWITCHES }, (_, seed) => {
      access.world.run(500 + seed * 13);
      switchNetwork(access, seed);
      return outageMs(access, 20_000);
    });
    expect(Math.max(...outages)).toBeLessThan(1_500);
  });

  it("TN-107: an answer to what was asked with the old key is not taken", () => {
    const access = createAccess(createWorld(1));
    access.init(NETWORKS);
    // The intent is on its way when the network changes.
    send(access, 0);
    switchNetwork(access, 1);
    access.world.run(100);
    expect(access.client.events.some(({ kind }) => kind === "connected")).toBe(false);
    expect(outageMs(access, 5_000)).toBeLessThan(1_500);
    expect(access.intents).toEqual([OFFICE, OFFICE]);
  });

  it("TN-107: a gateway that was reset takes no flow before the portal has greeted it", () => {
    const access = createAccess(createWorld(2));
    access.init(NETWORKS);
    send(access, 0);
    access.apply(access.gateway, ({ tunnel, host }) => {
      tunnel.reset(access.world.now());
      tunnel.handleOwnAddresses(
        access.world.now(),
        host.addresses.map((address) => ({ address, port: host.port })),
      );
    });
    access.world.run(200);
    expect(access.gateway.events.some(({ kind }) => kind === "request")).toBe(false);
  });
});

describe("a gateway that stood still", () => {
  it.each([7_000, 11_000, 15_000])(
    "PG-74, SN-153: under traffic for %i ms, it goes on with its key, its sessions and its grants",
    (stillMs) => {
      const access = connected(4);
      const { world, gateway } = access;
      const { link, lagMs } = gateway.host;
      const key = gateway.publicKey();
      world.run(1_000);
      // It hears nothing, and does nothing.
      gateway.host.link = { ...link, isDown: true };
      gateway.host.lagMs = stillMs;
      expect(outageMs(access, stillMs)).toBe(stillMs);
      gateway.host.link = link;
      gateway.host.lagMs = lagMs;
      access.apply(gateway, ({ tunnel }) => tunnel.checkPaths(world.now()));
      expect(outageMs(access, 3_000)).toBeLessThan(200);
      expect(gateway.publicKey()).toEqual(key);
      expect(access.intents).toEqual([OFFICE]);
      for (const { events } of [access.client, gateway]) {
        expect((events as { kind: string }[]).some(({ kind }) => kind === "disconnected")).toBe(false);
      }
    },
  );
});

describe("a gateway that the portal has lost", () => {
  it("TN-106, SN-142: dead, it is given up and another one asked for within 3 s", () => {
    const access = connected(1);
    access.world.run(2_000);
    const before = access.intents.length;
    access.gateway.host.link = { ...access.gateway.host.link, isDown: true };
    access.world.run(50);
    access.tellLeft();
    const at = access.world.now();
    send(access, 1);
    const asked = access.world.runUntil(() => access.intents.length > before, 10_000);
    expect((asked ?? Number.POSITIVE_INFINITY) - at).toBeLessThan(3_000);
    expect(access.client.events.some(({ kind }) => kind === "disconnected")).toBe(true);
  });

  it("TN-106, SN-142: alive, it is kept, at 20 % loss each way, too", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const access = connected(seed);
      access.client.host.link = { ...access.client.host.link, loss: 0.2 };
      access.world.run(2_000);
      const before = access.intents.length;
      access.tellLeft();
      for (let i = 0; i < 100; i++) {
        send(access, i);
        access.world.run(100);
      }
      expect(access.client.events.some(({ kind }) => kind === "disconnected")).toBe(false);
      expect(access.intents.length).toBe(before);
    }
  });

  it.each([
    [25_000, 1],
    [296_000, 1],
    [305_000, 0],
  ])(
    "TN-106: dead, %i ms after the last packet, it is given up as fast, and asked for %i times",
    (ms, times) => {
      const access = connected(3);
      access.world.run(ms);
      const before = access.intents.length;
      access.gateway.host.link = { ...access.gateway.host.link, isDown: true };
      access.tellLeft();
      access.world.run(5_000);
      expect(access.client.events.some(({ kind }) => kind === "disconnected")).toBe(true);
      expect(access.intents.length - before).toBe(times);
    },
  );

  it("TN-106: without a word of the portal, one that waits for an answer has it within two minutes", () => {
    const access = connected(5);
    access.world.run(25_000);
    resetGateway(access);
    expect(answerWithin(access, 130_000)).toBe(true);
    // Nothing was sent, so nobody waits, should that one be lost, too.
    expect(access.intents).toEqual([OFFICE, OFFICE]);
  });

  it("TN-106, PT-94: as soon as the portal tells, within 3 s", () => {
    const access = connected(6);
    access.world.run(60_000);
    resetGateway(access);
    access.tellLeft();
    expect(answerWithin(access, 3_000)).toBe(true);
  });

  it("TN-106, PT-94: also where the gateway was still away when it was asked for", () => {
    const access = connected(7);
    access.world.run(60_000);
    access.answers.set(OFFICE, { kind: "refuse", reason: "offline" });
    resetGateway(access);
    access.tellLeft();
    expect(answerWithin(access, 20_000), "nobody there").toBe(false);
    access.answers.delete(OFFICE);
    access.tellLeft();
    expect(answerWithin(access, 1_000)).toBe(true);
    access.tellLeft();
    access.world.run(5_000);
    expect(access.intents, "it is there").toHaveLength(3);
  });
});
