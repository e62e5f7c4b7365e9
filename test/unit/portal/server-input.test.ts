import { afterEach, describe, expect, it, vi } from "vitest";
import { clientChannel, gatewayChannel } from "../../../src/portal/protocol/index.ts";
import { createFlow, createWorld, requestOf, ridOf } from "./server-world.ts";

afterEach(() => vi.restoreAllMocks());

/** Nested arrays in a frame, as text: building them as values is what others should not do. */
function deepFrame(levels: number): string {
  return `{"topic":"client","event":"x","payload":${"[".repeat(levels)}${"]".repeat(levels)},"ref":1}`;
}

describe("what one peer sends", () => {
  it("PT-7: a frame of 6,000 levels between join and init is a fault of its sender alone", () => {
    const world = createWorld();
    world.hasDisk = false;
    const client = world.client();
    client.raw(deepFrame(6_000));
    const other = world.client({ id: "other" });
    world.hasDisk = true;
    world.flush();
    expect(client.log).toEqual(["reply ok", "init"]);
    expect(other.log).toEqual(["reply ok", "init"]);
    expect(world.server.counters.badFrames).toBe(1);
  });

  it("PT-7: the frame itself is one level: 63 more are read, 64 are a fault", () => {
    const world = createWorld();
    const client = world.client();
    client.raw(deepFrame(63));
    expect(client.log.at(-1)).toBe("reply unknown_message");
    expect(world.server.counters.badFrames).toBe(0);
    client.raw(deepFrame(64));
    expect(world.server.counters.badFrames).toBe(1);
  });

  it("PT-115: early frames are kept as they came, 32 of them and 64 KiB in all", () => {
    const world = createWorld();
    world.hasDisk = false;
    const [small, large] = [world.client(), world.client({ id: "large" })];
    for (let n = 0; n < 40; n++) small.raw(`{"topic":"client","event":"x","ref":${n},"other":0}`);
    const padding = "p".repeat(20_000);
    for (let n = 0; n < 10; n++)
      large.raw(`{"topic":"client","event":"x","payload":"${padding}","ref":${n}}`);
    expect(world.server.counters.earlyFramesDropped).toBe(8 + 7);
    world.hasDisk = true;
    world.flush();
    const refs = (of: typeof small) =>
      of.frames.filter(({ event }) => event === "phx_reply").map(({ ref }) => ref);
    expect(refs(small)).toEqual([0, ...Array.from({ length: 32 }, (_, n) => n)]);
    expect(refs(large)).toEqual([0, 0, 1, 2]);
  });
});

describe("a defect of ours", () => {
  const defect = () => {
    throw new Error("defect");
  };

  it("PG-18: in reading a frame closes that socket with 1011, and nothing else", () => {
    const world = createWorld();
    const [client, other, gateway] = [world.client(), world.client({ id: "other" }), world.gateway()];
    vi.spyOn(clientChannel, "parseRequest").mockImplementationOnce(defect);
    client.frame("x", {});
    expect(client.closeCode).toBe(1011);
    expect(world.server.counters.inputErrors).toBe(1);
    vi.spyOn(gatewayChannel, "parseRequest").mockImplementationOnce(defect);
    gateway.frame("x", {});
    expect(gateway.closeCode).toBe(1011);
    expect(other.closeCode).toBeUndefined();
    other.frame("x", {});
    expect(other.log.at(-1)).toBe("reply unknown_message");
  });

  it("PG-18: in reading an upgrade refuses it", () => {
    const world = createWorld();
    const request = requestOf("client", {});
    vi.spyOn(request.query, "get").mockImplementationOnce(defect);
    expect(world.server.handleUpgrade(world.now, request)).toEqual({ ok: false, refusal: { status: 500 } });
    expect(world.server.counters.inputErrors).toBe(1);
    expect(world.upgrade("client").ok).toBe(true);
  });

  it("PG-18: in a decision is not hidden: the state may be half changed", () => {
    const world = createWorld();
    const client = world.client();
    world.gateway();
    vi.spyOn(gatewayChannel, "toMessageEvent").mockImplementationOnce(defect);
    expect(() => client.send(createFlow(ridOf(client)))).toThrow("defect");
  });
});
