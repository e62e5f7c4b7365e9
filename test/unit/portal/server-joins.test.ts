import { describe, expect, it } from "vitest";
import { ip } from "../../../src/base/index.ts";
import { createWorld, type Identity, type World } from "./server-world.ts";

const wireOf = (world: World, role: "client" | "gateway", n: number, identity: Identity = {}) => {
  const address = ip(`198.51.${100 + (n >> 8)}.${n & 255}`);
  const own = { id: `${role}-${n}`, joins: false, remote: address, ...identity };
  return role === "client" ? world.client(own) : world.gateway(own);
};

/** Registered devices that are away: new ones have a rate of their own. */
function known(count: number): World {
  const first = createWorld();
  for (let n = 0; n < count; n++) {
    wireOf(first, "client", n).close();
    wireOf(first, "gateway", n).close();
    first.pass(100);
  }
  return createWorld(undefined, first.stored);
}

describe("joins", () => {
  it("PT-72: 100 at once, then 1,000 a second, gateways first", () => {
    const world = known(60);
    const clients = Array.from({ length: 60 }, (_, n) => wireOf(world, "client", n));
    const gateways = Array.from({ length: 60 }, (_, n) => wireOf(world, "gateway", n));
    for (const wire of [...clients, ...clients, ...gateways]) wire.frame("phx_join", {});
    const joined = (of: readonly { log: string[] }[]) => of.filter(({ log }) => log.includes("init")).length;
    // Sixty clients came first and again; forty gateways found room, twenty wait.
    const atOnce = [joined(clients), joined(gateways)];
    expect(atOnce[0]).toBe(60);
    world.pass(9);
    expect([joined(clients), joined(gateways)]).toEqual(atOnce);
    world.pass(40);
    expect([joined(clients), joined(gateways)]).toEqual([60, 60]);
  });

  it("PT-72: clients wait behind gateways", () => {
    const world = known(130);
    const clients = Array.from({ length: 130 }, (_, n) => wireOf(world, "client", n));
    for (const client of clients) client.frame("phx_join", {});
    const gateway = wireOf(world, "gateway", 1);
    gateway.frame("phx_join", {});
    expect(gateway.log).toEqual([]);
    const waiting = clients.filter(({ log }) => log.length === 0).length;
    expect(waiting).toBe(30);
    world.pass(10);
    expect(gateway.log).toEqual(["reply ok", "init"]);
    expect(clients.filter(({ log }) => log.length === 0).length).toBe(waiting - 9);
    world.pass(1_000);
    expect(clients.filter(({ log }) => log.length === 0)).toEqual([]);
  });

  it("PT-72: who leaves while waiting is forgotten", () => {
    const world = known(110);
    const clients = Array.from({ length: 110 }, (_, n) => wireOf(world, "client", n));
    for (const client of clients) client.frame("phx_join", {});
    for (const client of clients) client.close();
    world.pass(1_000);
    expect(world.server.status(world.now).clients).toEqual([]);
  });

  it("PT-72: one that joins again and again is closed with 1008", () => {
    const world = createWorld();
    const client = world.client();
    for (let n = 0; n < 5; n++) client.frame("phx_join", {});
    expect(client.closeCode).toBeUndefined();
    client.frame("phx_join", {});
    expect(client.closeCode).toBe(1008);
    expect(client.log.filter((event) => event === "init")).toHaveLength(6);
  });
});

describe("one address", () => {
  it("PT-72: asks 1,000 times at once and then 100 times a second, whatever it asks for", () => {
    const world = createWorld();
    const remote = ip("192.0.2.1");
    let asked = 0;
    while (world.server.handleRequest(world.now, remote)) asked++;
    expect(asked).toBe(1_000);
    expect(world.upgrade("client", { remote })).toMatchObject({
      refusal: { status: 503, code: "rate_limit", retryAfterS: 1 },
    });
    expect(world.upgrade("client", { remote: ip("192.0.2.2") }).ok).toBe(true);
    world.pass(10);
    expect(world.upgrade("client", { remote, id: "other" }).ok).toBe(true);
  });

  it("PT-72: 500 clients of one office behind one NAT come in together", () => {
    const first = createWorld();
    for (let n = 0; n < 500; n++) {
      wireOf(first, "client", n).close();
      first.pass(100);
    }
    const world = createWorld(undefined, first.stored);
    const remote = ip("192.0.2.1");
    const clients = Array.from({ length: 500 }, (_, n) => wireOf(world, "client", n, { remote }));
    for (const client of clients) client.frame("phx_join", {});
    world.pass(1_000);
    expect(clients.filter(({ log }) => log.includes("init"))).toHaveLength(500);
  });
});
