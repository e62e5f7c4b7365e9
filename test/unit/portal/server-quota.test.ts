import { describe, expect, it } from "vitest";
import { EMPTY_STATE } from "../../../src/portal/server/index.ts";
import { createFlow, createWorld, OFFICE, ridOf, TOKENS, type World } from "./server-world.ts";

const ALICE = "actors: [{ name: Alice, type: user, tokens: [{ name: a, env: ALICE }] }]\n";

function limited(text = OFFICE): World {
  return createWorld(text, EMPTY_STATE, { userDevices: 2, serviceDevices: 3, gateways: 2 });
}

const names = (world: World) => world.stored.devices.map(({ externalId }) => externalId);

describe("the quota of a token", () => {
  it("PT-77: the device that has been away longest makes room", () => {
    const world = limited();
    for (const id of ["a", "b", "c"]) {
      const client = world.client({ id });
      world.pass(10_000);
      client.close();
      world.pass(10_000);
    }
    // Seen again, so no longer the oldest.
    world.client({ id: "a" }).close();
    world.pass(10_000);
    expect(names(world)).toEqual(["a", "b", "c"]);
    world.client({ id: "d" });
    expect(names(world).toSorted()).toEqual(["a", "c", "d"]);
    // It is a new device when it comes again, with an address of its own.
    world.client({ id: "e" });
    expect(names(world).toSorted()).toEqual(["a", "d", "e"]);
  });

  it("PT-77: a device that left a moment ago counts as seen then", () => {
    const world = limited();
    const long = world.client({ id: "long" });
    world.client({ id: "short" }).close();
    world.pass(60_000);
    long.close();
    world.client({ id: "third" });
    world.client({ id: "fourth" });
    expect(names(world)).not.toContain("short");
    expect(names(world)).toContain("long");
  });

  it("PT-77: where all are present one more is refused, with a code and a remedy", () => {
    const world = limited();
    const first = world.client({ id: "a" });
    world.client({ id: "b" });
    world.client({ id: "c", joins: false });
    expect(world.upgrade("client", { id: "d" })).toMatchObject({
      refusal: {
        status: 403,
        code: "too_many_devices",
        detail: expect.stringMatching(/all 3 devices of this token are connected; end one/),
        retryAfterS: 60,
      },
    });
    expect(names(world)).toEqual(["a", "b", "c"]);
    // Those that are known come in as ever.
    expect(world.upgrade("client", { id: "b" }).ok).toBe(true);
    first.close();
    expect(world.upgrade("client", { id: "d" }).ok).toBe(true);
  });

  it("PT-77: counts per token, and a person has fewer than a service account", () => {
    const world = limited(`${OFFICE}${ALICE}`);
    for (const id of ["a", "b"]) world.client({ id, token: TOKENS.alice });
    expect(world.upgrade("client", { id: "c", token: TOKENS.alice }).ok).toBe(false);
    for (const id of ["a", "b", "c"]) expect(world.upgrade("client", { id }).ok).toBe(true);
  });

  it("PT-77: gateways have one, too", () => {
    const world = limited();
    const [first] = [world.gateway({ id: "a" }), world.gateway({ id: "b" })];
    expect(world.upgrade("gateway", { id: "c" }).ok).toBe(false);
    first.close();
    expect(world.upgrade("gateway", { id: "c" }).ok).toBe(true);
    expect(world.stored.gateways).toHaveLength(2);
  });

  it("PT-77: without a limit every device stays", () => {
    const world = createWorld();
    for (let n = 0; n < 40; n++) {
      world.client({ id: `device-${n}` }).close();
      world.pass(1_000);
    }
    expect(world.stored.devices).toHaveLength(40);
  });

  it("PT-77: the access of a forgotten device ends at its gateway, and its address is free again", () => {
    const world = limited();
    const gateway = world.gateway();
    const client = world.client({ id: "a" });
    client.send(createFlow(ridOf(client)));
    gateway.answer();
    const { cid } = gateway.last("authorize-flow").client;
    client.close();
    for (const id of ["b", "c", "d"]) {
      world.pass(10_000);
      world.client({ id });
    }
    expect(gateway.last("reject-access")).toMatchObject({ cid });
    expect(world.stored.authorizations).toEqual([]);
    expect(names(world)).toEqual(["b", "c", "d"]);
  });
});
