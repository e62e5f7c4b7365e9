import { describe, expect, it } from "vitest";
import { formatSocketAddress, ip } from "../../src/base/index.ts";
import type { ConnectionRequest } from "../../src/connections/index.ts";
import { announceAddresses, createDuo, firstEvent, idAt, isEstablished, sentMessages, shown } from "./duo.ts";
import { counters, established, talk } from "./steps.ts";
import { createWorld } from "./world.ts";

const ANOTHER = "A".repeat(22);

describe("upserts", () => {
  it("SN-68, SN-72: nothing changed: reused, every candidate signalled again, the session in use goes on", () => {
    const { world, duo } = established();
    const slot = shown(duo.client)?.slot;
    const before = duo.client.events.filter(({ event }) => event.kind === "candidate-added").length;
    expect(duo.upsert(duo.client)).toEqual({ kind: "reused", slot });
    expect(duo.client.events.filter(({ event }) => event.kind === "candidate-added")).toHaveLength(
      2 * before,
    );
    talk(world, duo, 5);
    expect(duo.gateway.received).toHaveLength(5);
  });

  it("SN-73: a reuse rolls the session over, at most once per 20 s", () => {
    const { world, duo } = established();
    talk(world, duo, 10);
    expect(sentMessages(duo.client, 1)).toBe(1);
    duo.upsert(duo.client);
    expect(sentMessages(duo.client, 1)).toBe(2);
    talk(world, duo, 19);
    duo.upsert(duo.client);
    expect(sentMessages(duo.client, 1)).toBe(2);
    talk(world, duo, 1);
    duo.upsert(duo.client);
    expect(sentMessages(duo.client, 1)).toBe(3);
    talk(world, duo, 1);
    expect(duo.gateway.received).toHaveLength(31);
  });

  it("SN-72: many upserts while connecting make one handshake", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.connect();
    for (let i = 0; i < 20; i++) {
      world.run(10);
      if (shown(duo.client) === undefined) continue;
      expect(duo.upsert(duo.client).kind).toBe("reused");
      expect(duo.upsert(duo.gateway).kind).toBe("reused");
    }
    world.run(1_000);
    expect(isEstablished(duo.client)).toBe(true);
    // The last of them find a path and may roll over once.
    expect(sentMessages(duo.client, 1)).toBeLessThanOrEqual(2);
    duo.send(duo.client, 1);
    world.run(100);
    expect(duo.gateway.received).toEqual([1]);
  });

  const CHANGES: readonly (readonly [string, (request: ConnectionRequest) => Partial<ConnectionRequest>])[] =
    [
      [
        "local user name",
        ({ localCredentials }) => ({ localCredentials: { ...localCredentials, username: "othr" } }),
      ],
      [
        "local password",
        ({ localCredentials }) => ({ localCredentials: { ...localCredentials, password: ANOTHER } }),
      ],
      [
        "remote user name",
        ({ remoteCredentials }) => ({ remoteCredentials: { ...remoteCredentials, username: "othr" } }),
      ],
      [
        "remote password",
        ({ remoteCredentials }) => ({ remoteCredentials: { ...remoteCredentials, password: ANOTHER } }),
      ],
      ["remote key", () => ({ remoteKey: new Uint8Array(32).fill(9) })],
      ["preshared key", () => ({ presharedKey: new Uint8Array(32).fill(9) })],
    ];

  it.each(CHANGES)("SN-68, SN-69: another %s: replaced, in a new slot, without an event", (_what, change) => {
    const { duo } = established();
    const { slot, connectionIndex } = shown(duo.client) ?? {};
    const outcome = duo.upsert(duo.client, change(duo.request(duo.client)));
    expect(outcome.kind).toBe("replaced");
    expect(shown(duo.client)?.slot).not.toBe(slot);
    expect(shown(duo.client)?.connectionIndex).not.toBe(connectionIndex);
    expect(shown(duo.client)?.state).toBe("connecting");
    expect(firstEvent(duo.client, "connection-closed")).toBeUndefined();
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
  });

  it("WG-20, SN-69: replaced at both ends with another preshared key: connects anew and carries packets", () => {
    const { world, duo } = established();
    talk(world, duo, 3);
    const presharedKey = new Uint8Array(32).fill(7);
    duo.upsert(duo.gateway, { presharedKey });
    duo.upsert(duo.client, { presharedKey });
    world.run(1_000);
    expect(shown(duo.client)?.state).toBe("connected");
    talk(world, duo, 3);
    expect(duo.gateway.received).toHaveLength(6);
  });

  it("SN-69: no address and no relay: nothing is changed, also not an existing connection", () => {
    const { world, duo } = established();
    const { machine } = duo.client;
    const slot = shown(duo.client)?.slot;
    machine.apply(world.now(), (connections) => connections.updateHostAddresses(world.now(), []));
    expect(duo.upsert(duo.client, { presharedKey: new Uint8Array(32) })).toEqual({ kind: "no-relays" });
    expect(shown(duo.client)?.slot).toBe(slot);
    expect(duo.upsert(duo.client)).toEqual({ kind: "reused", slot });
    talk(world, duo, 2);
    expect(duo.gateway.received).toHaveLength(2);
  });
});

describe("better ways", () => {
  it("SN-56, SN-73, SN-137: new addresses on both sides: the better path is taken, the session rolled over once", () => {
    const { world, duo } = established();
    talk(world, duo, 10);
    expect(sentMessages(duo.client, 1)).toBe(1);
    for (const [end, address] of [
      [duo.client, "2001:db8:1::10"],
      [duo.gateway, "2001:db8:2::20"],
    ] as const) {
      end.host.addresses = [...end.host.addresses, ip(address)];
      end.host.routed = end.host.addresses;
      announceAddresses(world, end);
    }
    talk(world, duo, 10);
    for (const end of [duo.client, duo.gateway]) {
      expect(shown(end)?.path?.destination.address.length).toBe(16);
      expect(end.received).toHaveLength(20);
    }
    expect(sentMessages(duo.client, 1)).toBe(2);
  });
});

describe("closing, removing, roaming", () => {
  it("SN-106, SN-108: goodbye ends both sides without any time-out", () => {
    const { world, duo } = established();
    const goodbye = Uint8Array.from([
      0x60,
      0,
      0,
      0,
      0,
      8,
      0xff,
      0,
      ...new Array(32).fill(0),
      2,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
    ]);
    const { machine } = duo.client;
    machine.apply(world.now(), (connections) =>
      connections.closeConnection(world.now(), { id: idAt(duo.client), goodbye }),
    );
    world.flush(duo.client.host);
    expect(firstEvent(duo.client, "connection-closed")?.event.id).toBe(idAt(duo.client));
    world.run(50);
    const punt = duo.gateway.machine.pollPunt();
    expect(punt?.reason).toBe("control-event");
    const slot = punt?.reason === "control-event" ? punt.slot : -1;
    expect(duo.gateway.machine.connections.connectionOf(slot)).toBe(idAt(duo.gateway));
    duo.gateway.machine.apply(world.now(), (connections) =>
      connections.removeConnection(world.now(), { id: idAt(duo.gateway), reason: "goodbye" }),
    );
    world.run(60_000);
    expect(duo.gateway.events.filter(({ event }) => event.kind === "connection-failed")).toEqual([]);
    expect(duo.client.machine.pollTimeout()).toBeUndefined();
    expect(duo.gateway.machine.pollTimeout()).toBeUndefined();
  });

  it("SN-106: closing while connecting says so, too, and sends nothing", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    const goodbye = new Uint8Array(48);
    duo.client.machine.apply(world.now(), (connections) => connections.closeAll(world.now(), goodbye));
    world.flush(duo.client.host);
    expect(firstEvent(duo.client, "connection-closed")).toBeDefined();
    world.run(30_000);
    expect(duo.client.sent).toEqual([]);
  });

  it("SN-115: a reset closes all, changes the key, and forgets our addresses", () => {
    const { world, duo } = established();
    const { machine } = duo.client;
    const key = machine.connections.publicKey();
    machine.apply(world.now(), (connections) => connections.reset(world.now()));
    world.flush(duo.client.host);
    expect(firstEvent(duo.client, "connection-closed")?.event.id).toBe(idAt(duo.client));
    expect(machine.connections.publicKey()).not.toEqual(key);
    expect(duo.upsert(duo.client)).toEqual({ kind: "no-relays" });
  });

  it("SN-115 to SN-117, TS-17: roaming to another network: packets flow within 2 s, in a new connection", () => {
    const { world, duo } = established();
    talk(world, duo, 10);
    const before = duo.gateway.received.length;
    duo.client.machine.apply(world.now(), (connections) => connections.reset(world.now()));
    duo.client.host.addresses = [ip("203.0.113.77")];
    duo.client.host.routed = duo.client.host.addresses;
    duo.client.host.port = 40_000;
    announceAddresses(world, duo.client);
    world.flush(duo.client.host);
    // Both requests carry the new key and the credentials that follow from it.
    duo.connect();
    const isBack = (): boolean =>
      duo.client.events.filter(({ event }) => event.kind === "connection-established").length === 2;
    expect(world.runUntil(isBack, 2_000)).toBeDefined();
    world.run(100);
    expect(
      formatSocketAddress(shown(duo.gateway)?.path?.destination ?? { address: ip("0.0.0.0"), port: 0 }),
    ).toBe("203.0.113.77:40000");
    talk(world, duo, 10);
    expect(duo.gateway.received.length - before).toBe(10);
    expect(firstEvent(duo.gateway, "connection-failed")).toBeUndefined();
  });

  it("SN-103: packets for a connection just closed are no surprise; the plane drops its data", () => {
    const { world, duo } = established();
    talk(world, duo, 3);
    duo.gateway.machine.apply(world.now(), (connections) =>
      connections.removeConnection(world.now(), { id: idAt(duo.gateway), reason: "test" }),
    );
    talk(world, duo, 2);
    expect(duo.gateway.machine.plane.drops()["wg_unknown_index"]).toBe(2);
    expect(counters(duo.gateway).stun_unmatched).toBeGreaterThan(0);
  });
});
