import { beforeEach, describe, expect, it } from "vitest";
import { ip, unixMs } from "../../src/base/index.ts";
import { encodeEchoRequest } from "../../src/packet/index.ts";
import { DEFAULT_PLANE, PLANE_KINDS, type PlaneKind } from "../twin/driven-plane.ts";
import { type Access, CID, contents, createAccess, sourceOf, testPacket } from "./access.ts";
import { createWorld } from "./world.ts";

const OFFICE = "00000000-0000-4000-8000-0000000000a1";
const LAB = "00000000-0000-4000-8000-0000000000a2";
const SERVER = "172.20.0.9";
const OTHER_SERVER = "172.21.0.9";
const CLIENT = "100.64.0.2";
const BOUND_MS = 3_000;

/** The plane of both ends, for the test at hand. */
let kind: PlaneKind = DEFAULT_PLANE;

function createOffice(seed = 1): Access {
  const access = createAccess(createWorld(seed), kind);
  access.init({ [OFFICE]: "172.20.0.0/16", [LAB]: "172.21.0.0/16" });
  return access;
}

const toServer = (number: number, destination = SERVER) => testPacket(CLIENT, destination, number);
const toClient = (number: number, source = SERVER) => testPacket(source, CLIENT, number);

/** Sends the first packet and waits until it is through. */
function connect(access: Access, number = 0, destination = SERVER): void {
  const before = access.gateway.delivered.length;
  access.send(access.client, toServer(number, destination));
  const at = access.world.runUntil(() => access.gateway.delivered.length > before, BOUND_MS);
  expect(at, access.world.recentTrace()).toBeDefined();
}

describe.each(PLANE_KINDS)("access to a CIDR resource, on the plane as %s (SN-130)", (plane) => {
  beforeEach(() => {
    kind = plane;
  });

  it("TN-28, TN-31, TS-17: the first packet asks once and arrives within 3 s, the burst behind it in order", () => {
    const access = createOffice();
    for (let i = 0; i < 10; i++) access.send(access.client, toServer(i));
    for (let i = 10; i < 40; i++) access.world.at(i * 20, () => access.send(access.client, toServer(i)));
    expect(access.world.runUntil(() => access.gateway.delivered.length === 40, BOUND_MS)).toBeDefined();
    expect(contents(access.gateway.delivered)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    expect(access.intents).toEqual([OFFICE]);
  });

  it("WG-46, TN-31: a route on a living connection: hold, publish, send what waited, release", () => {
    const access = createOffice();
    connect(access);
    access.world.run(1000);
    const before = access.client.commands.length;
    access.send(access.client, toServer(1, OTHER_SERVER));
    access.world.run(1000);
    const order = access.client.commands
      .slice(before)
      .filter((kind) => ["hold", "publish", "inject", "release"].includes(kind));
    // Published before anything can be answered; cleared after what was punted before has been handled.
    expect(order).toEqual(["hold", "publish", "inject", "release"]);
    expect(contents(access.gateway.delivered)).toContain(1);
  });

  it("SN-139: what was punted before the route opened goes ahead of the release", () => {
    const access = createOffice();
    connect(access);
    const before = access.client.commands.length;
    access.send(access.client, toServer(1, OTHER_SERVER));
    const { plane, tunnel } = access.client;
    // The plane has punted another packet, which control sees only when it has opened the route.
    const handle = tunnel.handlePortalMessage;
    access.client.tunnel.handlePortalMessage = (now, message) => {
      if (message.kind === "flow-created") plane.sendPacket(now, toServer(2, OTHER_SERVER));
      handle(now, message);
    };
    access.world.run(1000);
    const order = access.client.commands
      .slice(before)
      .filter((kind) => ["hold", "publish", "inject", "release"].includes(kind));
    expect(order).toEqual(["hold", "publish", "inject", "inject", "release"]);
    expect(contents(access.gateway.delivered)).toEqual([0, 1, 2]);
  });

  it("TN-62 row 9: the answer reaches the client", () => {
    const access = createOffice();
    connect(access);
    access.send(access.gateway, toClient(7));
    access.world.run(100);
    expect(contents(access.client.delivered)).toEqual([7]);
  });

  it("TN-20 row 8: what belongs to no resource is dropped and asks for nothing", () => {
    const access = createOffice();
    access.send(access.client, toServer(1, "192.0.2.77"));
    access.world.run(5_000);
    expect(access.intents).toEqual([]);
    expect(access.client.plane.drops()).toEqual({ "unknown-resource": 1 });
  });

  it("TN-20 row 3: a source that is not ours is dropped", () => {
    const access = createOffice();
    access.send(access.client, testPacket("10.9.9.9", SERVER, 1));
    expect(access.client.plane.drops()).toEqual({ "bad-source": 1 });
    expect(access.intents).toEqual([]);
  });

  it("TN-61 row 14: the gateway prohibits what it was never told to grant, and says so to the client", () => {
    const access = createOffice();
    connect(access);
    access.answers.set(LAB, { kind: "client-only" });
    access.send(access.client, toServer(1, OTHER_SERVER));
    access.world.run(2_000);
    expect(contents(access.gateway.delivered)).toEqual([0]);
    expect(contents(access.client.delivered)).toEqual(["prohibited"]);
    expect(sourceOf(access.client.delivered[0])).toEqual(ip(OTHER_SERVER));
    expect(access.gateway.tunnel.counters().refused).toBe(1);
  });

  it("TN-62 rows 6, 10: nobody but a granted network reaches the client", () => {
    const access = createOffice();
    connect(access);
    access.send(access.gateway, toClient(1, OTHER_SERVER));
    access.send(access.gateway, toClient(2, "100.64.0.77"));
    access.send(access.gateway, testPacket(SERVER, "100.64.0.77", 3));
    access.send(access.gateway, testPacket(SERVER, "192.0.2.1", 4));
    access.world.run(1_000);
    expect(access.client.delivered).toEqual([]);
    expect(access.gateway.plane.drops()).toEqual({ "not-allowed": 2, "no-peer-state": 1, "not-a-peer": 1 });
  });

  it("TN-53, TN-54: access ends at its expiry, with goodbye; the next packet asks again", () => {
    const access = createOffice();
    access.answers.set(OFFICE, { kind: "grant", expiresAt: unixMs(access.world.unixNow() + 30_000) });
    connect(access);
    access.world.run(28_000);
    access.send(access.client, toServer(1));
    access.world.run(500);
    expect(contents(access.gateway.delivered)).toEqual([0, 1]);
    access.world.run(2_000);
    access.answers.set(OFFICE, { kind: "refuse", reason: "forbidden" });
    access.send(access.client, toServer(2));
    access.world.run(1_000);
    expect(contents(access.gateway.delivered)).toEqual([0, 1]);
    expect(access.intents).toEqual([OFFICE, OFFICE]);
    expect(contents(access.client.delivered)).toEqual(["prohibited"]);
  });

  it("TN-54: one of two grants revoked cuts only that one, at once and in both directions", () => {
    const access = createOffice();
    connect(access);
    connect(access, 1, OTHER_SERVER);
    access.apply(access.gateway, ({ tunnel }) =>
      tunnel.handlePortalMessage(access.world.now(), { kind: "reject-access", cid: CID, rid: LAB }),
    );
    access.send(access.client, toServer(2, OTHER_SERVER));
    access.send(access.gateway, toClient(3, OTHER_SERVER));
    access.send(access.client, toServer(4));
    access.world.run(1_000);
    expect(contents(access.gateway.delivered)).toEqual([0, 1, 4]);
    expect(contents(access.client.delivered)).toEqual(["prohibited"]);
  });

  it("TN-55: an init without the authorisation revokes it", () => {
    const access = createOffice();
    connect(access);
    access.initGateway([]);
    access.answers.set(OFFICE, { kind: "refuse", reason: "forbidden" });
    access.world.run(200);
    access.send(access.client, toServer(1));
    access.world.run(1_000);
    expect(contents(access.gateway.delivered)).toEqual([0]);
  });

  it("TN-32: offline is answered with unreachable, another refusal with prohibited", () => {
    const access = createOffice();
    access.answers.set(OFFICE, { kind: "refuse", reason: "offline" });
    access.answers.set(LAB, { kind: "refuse", reason: "forbidden" });
    access.send(access.client, toServer(1));
    access.send(access.client, toServer(2, OTHER_SERVER));
    access.world.run(1_000);
    expect(contents(access.client.delivered)).toEqual(["unreachable", "prohibited"]);
    expect(access.client.tunnel.resources().map(({ status }) => status)).toEqual(["offline", "offline"]);
    access.world.run(300_000);
    expect(access.client.tunnel.resources().map(({ status }) => status)).toEqual(["unknown", "unknown"]);
  });

  it("TN-34: a gateway that is cut off is noticed, and the next packet asks again", () => {
    const access = createOffice();
    connect(access);
    access.gateway.host.link = { ...access.gateway.host.link, isDown: true };
    for (let i = 1; i < 25; i++) access.world.at(i * 1_000, () => access.send(access.client, toServer(100)));
    const isGone = () => access.client.events.some(({ kind }) => kind === "disconnected");
    expect(access.world.runUntil(isGone, 20_000)).toBeDefined();
    access.gateway.host.link = { ...access.gateway.host.link, isDown: false };
    const before = access.gateway.delivered.length;
    expect(access.world.runUntil(() => access.gateway.delivered.length > before, 10_000)).toBeDefined();
    expect(access.intents.length).toBeGreaterThanOrEqual(2);
  });

  it("TN-43, TN-50: goodbye from the client takes all its grants away", () => {
    const access = createOffice();
    connect(access);
    access.apply(access.client, ({ tunnel }) => tunnel.shutdown(access.world.now()));
    access.world.run(500);
    expect(access.gateway.events.at(-1)).toEqual({ kind: "disconnected", cid: CID });
    access.send(access.gateway, toClient(1));
    expect(access.gateway.plane.drops()["no-peer-state"]).toBe(1);
  });

  it("TN-35: after a reset of the client a packet connects anew", () => {
    const access = createOffice();
    connect(access);
    access.client.host.addresses = [ip("192.0.2.99")];
    access.client.host.routed = access.client.host.addresses;
    access.apply(access.client, ({ tunnel, host }) => {
      tunnel.reset(access.world.now());
      tunnel.handleOwnAddresses(
        access.world.now(),
        host.addresses.map((address) => ({ address, port: host.port })),
      );
    });
    access.init({ [OFFICE]: "172.20.0.0/16", [LAB]: "172.21.0.0/16" });
    connect(access, 5);
    expect(contents(access.gateway.delivered)).toEqual([0, 5]);
  });

  it.each([
    [1_000, 1],
    [60_000, 0],
  ])(
    "TN-35: %i ms after the last packet a reset has its resource asked for %i times by itself",
    (idleMs, times) => {
      const access = createOffice();
      connect(access);
      access.world.run(idleMs);
      access.apply(access.client, ({ tunnel, host }) => {
        tunnel.reset(access.world.now());
        const own = host.addresses.map((address) => ({ address, port: host.port }));
        tunnel.handleOwnAddresses(access.world.now(), own);
      });
      access.world.run(100);
      const before = access.intents.length;
      access.init({ [OFFICE]: "172.20.0.0/16", [LAB]: "172.21.0.0/16" });
      access.world.run(1_000);
      expect(access.intents.length - before).toBe(times);
    },
  );

  it("TN-28: one packet soon after a refusal is answered as soon as the portal grants", () => {
    const access = createOffice();
    access.answers.set(OFFICE, { kind: "refuse", reason: "offline" });
    access.send(access.client, toServer(1));
    access.world.run(500);
    access.answers.set(OFFICE, { kind: "grant", filters: [] });
    const before = access.intents.length;
    access.send(access.client, toServer(2));
    const arrived = () => access.gateway.delivered.length > 0;
    expect(access.world.runUntil(arrived, 4_000)).toBeDefined();
    expect(access.intents.length - before).toBe(1);
    expect(contents(access.gateway.delivered)).toEqual([2]);
  });

  it("TN-56 to TN-61: filters pass what they name, both ways, and refuse the rest at once", () => {
    const access = createOffice();
    access.answers.set(OFFICE, { kind: "grant", filters: [{ protocol: "icmp" }] });
    // The client is not told of the filters: the gateway's verdict is the one that counts (TN-22).
    access.send(access.client, toServer(1));
    access.world.run(5_000);
    expect(contents(access.gateway.delivered)).toEqual([]);
    expect(contents(access.client.delivered)).toEqual(["prohibited"]);
    const echo = (source: string, destination: string) => {
      const way = { source: ip(source), destination: ip(destination) };
      const made = encodeEchoRequest({ ...way, identifier: 9, sequence: 1, body: new Uint8Array(4) });
      if (!made.ok) throw new Error(made.reason);
      return made.value;
    };
    access.send(access.client, echo("100.64.0.2", "172.20.0.9"));
    access.world.run(100);
    expect(access.gateway.delivered).toEqual([echo("100.64.0.2", "172.20.0.9")]);
    access.send(access.gateway, echo("172.20.0.9", "100.64.0.2"));
    access.world.run(100);
    expect(access.client.delivered.at(-1)).toEqual(echo("172.20.0.9", "100.64.0.2"));
    access.send(access.gateway, toClient(2));
    access.world.run(100);
    expect(access.client.delivered).toHaveLength(2);
    const permitted = Array.from({ length: 20 }, () => echo("100.64.0.2", "172.20.0.9"));
    const before = access.gateway.plane.punted();
    for (const packet of permitted) access.send(access.client, packet);
    access.world.run(100);
    expect(access.gateway.delivered).toHaveLength(21);
    // A flow that is known never reaches control.
    expect(access.gateway.plane.punted()).toBe(before);
  });

  it("TN-26: a resource that is taken from the list closes its gateway with goodbye", () => {
    const access = createOffice();
    connect(access);
    access.apply(access.client, ({ tunnel }) =>
      tunnel.handlePortalMessage(access.world.now(), { kind: "resource-deleted", rid: OFFICE }),
    );
    access.world.run(500);
    expect(access.gateway.events.at(-1)).toEqual({ kind: "disconnected", cid: CID });
    access.send(access.client, toServer(1));
    expect(access.client.plane.drops()).toEqual({ "unknown-resource": 1 });
  });

  it("TS-7: the same seed gives the same trace", () => {
    const trace = (seed: number): string => {
      const access = createOffice(seed);
      connect(access);
      access.world.run(60_000);
      return access.world.traceHash();
    };
    expect(trace(3)).toBe(trace(3));
    expect(trace(3)).not.toBe(trace(4));
  });
});

it("SN-130, TS-7: the world cannot tell the twin from the WebAssembly: the same datagrams, byte for byte", () => {
  const [twin, webAssembly] = PLANE_KINDS.map((plane) => {
    kind = plane;
    const access = createOffice(5);
    connect(access);
    for (let i = 0; i < 20; i++) access.world.at(i * 50, () => access.send(access.client, toServer(i)));
    for (let i = 0; i < 20; i++) access.world.at(i * 70, () => access.send(access.gateway, toClient(i)));
    access.world.at(900, () => access.send(access.client, toServer(20, OTHER_SERVER)));
    access.world.run(200_000);
    return { trace: access.world.traceHash(), drops: access.gateway.plane.drops() };
  });
  expect(twin).toEqual(webAssembly);
});

it("poll law: extra ticks of client and gateway at arbitrary times do not change a byte of what is sent", () => {
  const trace = (tickMs: number | undefined): string => {
    kind = DEFAULT_PLANE;
    const access = createOffice(7);
    const { client, gateway, world } = access;
    for (let at = 1; tickMs !== undefined && at < 90_000; at += tickMs) {
      world.at(at, () => {
        for (const end of [client, gateway])
          access.apply(end, ({ tunnel }) => tunnel.handleTimeout(world.now()));
      });
    }
    access.answers.set(OFFICE, { kind: "grant", expiresAt: unixMs(world.unixNow() + 40_000) });
    for (let i = 0; i < 30; i++) world.at(i * 2_500, () => access.send(client, toServer(i)));
    world.at(1_000, () => access.send(client, toServer(99, OTHER_SERVER)));
    world.run(90_000);
    return world.traceHash();
  };
  const expected = trace(undefined);
  for (const tickMs of [173, 999, 4_001]) expect(trace(tickMs), `ticks of ${tickMs} ms`).toBe(expected);
});
