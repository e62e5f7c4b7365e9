import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { announceAddresses, type Duo, firstEvent, idAt, sentChecks, sentMessages, shown } from "./duo.ts";
import { cut, established, talk } from "./steps.ts";
import type { World } from "./world.ts";

describe("idling", () => {
  it("SN-75, SN-76: idle 20 s after the last activity, not before; checks then every 25 s", () => {
    const { world, duo } = established();
    talk(world, duo, 10);
    const last = world.now() - 1_000;
    world.run(last + 19_999 - world.now());
    expect(shown(duo.client)?.state).toBe("connected");
    world.run(100);
    expect([shown(duo.client)?.state, shown(duo.gateway)?.state]).toEqual(["idle", "idle"]);
    world.run(2_000);
    const before = sentChecks(duo.client);
    world.run(100_000);
    expect(sentChecks(duo.client) - before).toBe(4);
  });

  it.each([0, 500, 1_000, 1_500])(
    "SN-75: an idle time that ends while ICE is disconnected begins no idling (path dead after %i ms)",
    (ms) => {
      const { world, duo } = established();
      talk(world, duo, 10);
      world.run(ms);
      cut(duo.client);
      while (firstEvent(duo.gateway, "connection-failed") === undefined) {
        world.run(100);
        expect(shown(duo.gateway)?.state).not.toBe("idle");
      }
      const failed = firstEvent(duo.gateway, "connection-failed");
      expect(failed?.event).toMatchObject({ reason: "ice-timeout", wasIdle: false });
    },
  );

  it("SN-77: keepalives and handshakes are no activity", () => {
    const { world, duo } = established();
    world.run(300_000);
    expect([shown(duo.client)?.state, shown(duo.gateway)?.state]).toEqual(["idle", "idle"]);
    expect(sentMessages(duo.client, 1)).toBeGreaterThan(1);
    expect(sentMessages(duo.client, 4)).toBeGreaterThan(5);
    duo.send(duo.client, 5);
    world.run(100);
    expect(duo.gateway.received).toEqual([5]);
  });

  it.each(["client", "gateway"] as const)(
    "SN-79, SN-129: a data packet of the %s wakes both ends",
    (side) => {
      const { world, duo } = established();
      world.run(60_000);
      expect([shown(duo.client)?.state, shown(duo.gateway)?.state]).toEqual(["idle", "idle"]);
      const checks = sentChecks(duo.client);
      duo.send(side === "client" ? duo.client : duo.gateway, 3);
      world.run(25);
      expect([shown(duo.client)?.state, shown(duo.gateway)?.state]).toEqual(["connected", "connected"]);
      world.run(6_000);
      expect(sentChecks(duo.client) - checks).toBeGreaterThanOrEqual(4);
      world.run(20_000);
      expect([shown(duo.client)?.state, shown(duo.gateway)?.state]).toEqual(["idle", "idle"]);
    },
  );

  const TRIGGERS: readonly (readonly [string, (world: World, duo: Duo) => void])[] = [
    ["upsert", (_world, duo) => void duo.upsert(duo.gateway)],
    [
      "a known host candidate again",
      (world, { client, gateway }) => {
        const texts = client.machine.connections.localCandidates(idAt(client));
        gateway.machine.apply(world.now(), (connections) =>
          connections.addRemoteCandidates(world.now(), idAt(gateway), texts),
        );
      },
    ],
    [
      "a candidate withdrawn",
      (world, { gateway }) => {
        const gone = ["candidate:x 1 udp 9 203.0.113.9 1 typ relay"];
        gateway.machine.apply(world.now(), (connections) =>
          connections.removeRemoteCandidates(world.now(), idAt(gateway), gone),
        );
      },
    ],
    [
      "an address of our own",
      (world, { gateway }) => {
        gateway.host.addresses = [...gateway.host.addresses, ip("198.51.100.21")];
        announceAddresses(world, gateway);
      },
    ],
  ];

  it.each(TRIGGERS)("SN-76, SN-78: woken by %s, for 20 s", (_what, trigger) => {
    const { world, duo } = established();
    world.run(60_000);
    expect(shown(duo.gateway)?.state).toBe("idle");
    trigger(world, duo);
    expect(shown(duo.gateway)?.state).toBe("connected");
    world.run(19_999);
    expect(shown(duo.gateway)?.state).toBe("connected");
    world.run(1);
    expect(shown(duo.gateway)?.state).toBe("idle");
  });

  it("SN §5.3: a new path in idle is applied, and the connection stays idle", () => {
    const { world, duo } = established(1, {
      client: { addresses: ["192.0.2.10", "2001:db8:1::10"] },
      gateway: { addresses: ["198.51.100.20", "2001:db8:2::20"] },
    });
    world.run(60_000);
    expect(shown(duo.client)?.path?.destination.address.length).toBe(16);
    duo.gateway.host.routed = [ip("198.51.100.20")];
    duo.client.host.routed = [ip("192.0.2.10")];
    world.run(130_000);
    expect(shown(duo.client)).toMatchObject({ state: "idle", path: { destination: { port: 52625 } } });
    expect(shown(duo.client)?.path?.destination.address.length).toBe(4);
    duo.send(duo.client, 1);
    duo.send(duo.gateway, 2);
    world.run(200);
    expect([duo.gateway.received, duo.client.received]).toEqual([[1], [2]]);
  });

  it("SN-81: a packet after so long an idle time that the session has expired is not lost", () => {
    const { world, duo } = established();
    talk(world, duo, 3);
    world.sleep(300_000);
    duo.send(duo.client, 77);
    world.run(1_000);
    expect(duo.gateway.received.at(-1)).toBe(77);
    expect(duo.gateway.machine.plane.drops()).toEqual({});
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
  });

  it("WG-38, SN-92: after ten minutes without running there is no session to go on with", () => {
    const { world, duo } = established();
    world.sleep(600_000);
    world.run(100);
    expect(firstEvent(duo.client, "connection-failed")?.event.reason).toBe("wireguard-expired");
  });

  it("SN-122: a minute in which nothing ran does not end a connection", () => {
    const { world, duo } = established();
    talk(world, duo, 5);
    world.sleep(60_000);
    talk(world, duo, 30);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    expect(duo.gateway.received.at(-1)).toBe(29);
  });
});
