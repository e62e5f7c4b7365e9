import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import {
  announceAddresses,
  createDuo,
  firstEvent,
  idAt,
  isEstablished,
  sentChecks,
  sentMessages,
  shown,
} from "./duo.ts";
import { cut, established, talk } from "./steps.ts";
import { createWorld } from "./world.ts";

describe("a path that dies", () => {
  it("SN-95: under traffic, without another: both ends have failed between 12 and 20 s later", () => {
    const { world, duo } = established();
    talk(world, duo, 30);
    const died = world.now();
    cut(duo.client);
    talk(world, duo, 21);
    for (const end of [duo.client, duo.gateway]) {
      const failed = firstEvent(end, "connection-failed");
      expect(failed?.event.reason).toBe("ice-timeout");
      expect((failed?.at ?? 0) - died).toBeGreaterThan(12_000);
      expect((failed?.at ?? 0) - died).toBeLessThanOrEqual(20_000);
      expect(end.machine.connections.slotOf(idAt(end))).toBeUndefined();
      expect(end.machine.pollTimeout()).toBeUndefined();
    }
  });

  it("a path that comes back before the last check was sent keeps the connection", () => {
    const { world, duo } = established();
    talk(world, duo, 30);
    cut(duo.client);
    talk(world, duo, 14);
    cut(duo.client, false);
    talk(world, duo, 60);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    expect(firstEvent(duo.gateway, "connection-failed")).toBeUndefined();
    expect(duo.gateway.received.at(-1)).toBe(59);
  });

  it("SN-63, SN-90: candidates sent again save it until the very end of the grace, 2 s after the last pair", () => {
    const failedAt = (savedAt: number | undefined): number | undefined => {
      const { world, duo } = established(5);
      talk(world, duo, 30);
      cut(duo.client);
      if (savedAt !== undefined) {
        world.at(savedAt - world.now(), () => {
          cut(duo.client, false);
          for (const [from, to] of [
            [duo.client, duo.gateway],
            [duo.gateway, duo.client],
          ] as const) {
            const texts = from.machine.connections.localCandidates(idAt(from));
            to.machine.apply(world.now(), (connections) =>
              connections.addRemoteCandidates(world.now(), idAt(to), texts),
            );
            world.flush(to.host);
          }
        });
      }
      world.run(60_000);
      const ends = [
        firstEvent(duo.client, "connection-failed"),
        firstEvent(duo.gateway, "connection-failed"),
      ];
      const times = ends.flatMap((failed) => (failed === undefined ? [] : [failed.at]));
      return times.length === 0 ? undefined : Math.min(...times);
    };
    const end = failedAt(undefined);
    expect(end).toBeDefined();
    expect(failedAt((end ?? 0) - 1)).toBeUndefined();
    expect(failedAt(end)).toBeUndefined();
    expect(failedAt((end ?? 0) + 1)).toBe(end);
  });

  it("SN-58, SN-95: another succeeded pair takes over within 18 s, and the tunnel goes on", () => {
    const { world, duo } = established(1, {
      client: { addresses: ["192.0.2.10", "2001:db8:1::10"] },
      gateway: { addresses: ["198.51.100.20", "2001:db8:2::20"] },
    });
    talk(world, duo, 30);
    const before = duo.gateway.received.length;
    expect(shown(duo.client)?.path?.destination.address.length).toBe(16);
    duo.gateway.host.routed = [ip("198.51.100.20")];
    duo.client.host.routed = [ip("192.0.2.10")];
    talk(world, duo, 18);
    expect(shown(duo.client)?.path?.destination.address.length).toBe(4);
    expect(shown(duo.gateway)?.path?.destination.address.length).toBe(4);
    talk(world, duo, 20);
    expect(duo.gateway.received.length - before).toBeGreaterThanOrEqual(19);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
  });

  it("SN-92: a rekey that runs while the path dies does not turn the fail-over into a failure", () => {
    const { world, duo } = established(1, {
      client: { addresses: ["192.0.2.10", "2001:db8:1::10"] },
      gateway: { addresses: ["198.51.100.20", "2001:db8:2::20"] },
    });
    talk(world, duo, 119);
    const handshakes = sentMessages(duo.client, 1);
    duo.gateway.host.routed = [ip("198.51.100.20")];
    duo.client.host.routed = [ip("192.0.2.10")];
    talk(world, duo, 40);
    // The attempt began on the dead path and outlived its 15 s.
    expect(sentMessages(duo.client, 1) - handshakes).toBeGreaterThanOrEqual(4);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    expect(duo.gateway.received.at(-1)).toBe(39);
  });

  it("SN-95: a reuse on a connection whose peer is gone: failed within 20 s, also out of idle", () => {
    const { world, duo } = established();
    world.run(40_000);
    expect(shown(duo.gateway)?.state).toBe("idle");
    cut(duo.client);
    world.run(10_000);
    const at = world.now();
    expect(duo.upsert(duo.gateway).kind).toBe("reused");
    world.run(20_000);
    expect((firstEvent(duo.gateway, "connection-failed")?.at ?? 0) - at).toBeGreaterThan(11_000);
  });

  it("SN-50: in idle and silence a dead path is noticed within 125 s and the grace", () => {
    const { world, duo } = established();
    world.run(60_000);
    cut(duo.gateway);
    const died = world.now();
    world.run(128_000);
    for (const end of [duo.client, duo.gateway]) {
      const failed = firstEvent(end, "connection-failed");
      expect((failed?.at ?? 0) - died).toBeGreaterThan(70_000);
      expect((failed?.at ?? 0) - died).toBeLessThanOrEqual(127_000);
    }
  });
});

describe("candidates that do not come", () => {
  it("SN-91: no remote candidate: failed 10 s after the upsert, not before", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    const start = world.now();
    world.run(9_999);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    world.run(1);
    expect(firstEvent(duo.client, "connection-failed")?.event.reason).toBe("no-remote-candidates");
    expect(firstEvent(duo.client, "connection-failed")?.at).toBe(start + 10_000);
  });

  it("SN-95: no pair works: failed 17.25 s after the first check", () => {
    const world = createWorld(1);
    const duo = createDuo(world, { client: { routed: [] }, gateway: { routed: [] } });
    duo.connect();
    world.run(30_000);
    const first = world.now() - 30_000 + 20;
    for (const end of [duo.client, duo.gateway]) {
      const failed = firstEvent(end, "connection-failed");
      expect(failed?.event.reason).toBe("ice-timeout");
      expect((failed?.at ?? 0) - first).toBeGreaterThanOrEqual(17_250);
      expect((failed?.at ?? 0) - first).toBeLessThanOrEqual(17_350);
    }
    expect(sentChecks(duo.client), "four of them extra (SN-144)").toBe(16);
  });

  it.each(["client", "gateway"] as const)(
    "SN-95: nothing of what the %s sends arrives: both failed within 20 s",
    (mute) => {
      const world = createWorld(1);
      const duo = createDuo(world);
      duo[mute].host.swallows = () => true;
      duo.connect();
      world.run(20_000);
      for (const end of [duo.client, duo.gateway]) {
        expect(firstEvent(end, "connection-failed")?.event.reason).toBe("ice-timeout");
      }
    },
  );

  it("SN-62: candidates of the peer before our own address is usable: checking goes on when it comes", () => {
    const world = createWorld(1);
    const duo = createDuo(world, { client: { routed: [] } });
    duo.connect();
    world.run(5_000);
    expect(isEstablished(duo.client)).toBe(false);
    duo.client.host.addresses = [...duo.client.host.addresses, ip("192.0.2.11")];
    duo.client.host.routed = [ip("192.0.2.11")];
    announceAddresses(world, duo.client);
    world.run(1_000);
    expect(isEstablished(duo.client) && isEstablished(duo.gateway)).toBe(true);
  });
});
