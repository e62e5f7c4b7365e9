import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { parseBinding } from "../../src/stun/index.ts";
import { NOBLE_CRYPTO } from "../../src/wireguard/noble-crypto.ts";
import { PLANE_KINDS } from "../twin/driven-plane.ts";
import { createDuo, firstEvent, idAt, isEstablished, sentMessages, shown } from "./duo.ts";
import { counters, talk } from "./steps.ts";
import { createWorld } from "./world.ts";

const ANOTHER = "A".repeat(22);

/** A response that does not open, with the mac1 that anyone can make who knows the public key. */
function forge(response: Uint8Array, receiverKey: Uint8Array): Uint8Array {
  const forged = response.slice();
  forged[50] = (forged[50] ?? 0) ^ 1;
  const label = new TextEncoder().encode("mac1----");
  const key = NOBLE_CRYPTO.hash(label, receiverKey);
  forged.set(NOBLE_CRYPTO.mac(key, forged.subarray(0, 60)), 60);
  return forged;
}

function isNominating(bytes: Uint8Array): boolean {
  const message = parseBinding(bytes);
  return message.ok && message.value.kind === "request" && message.value.isNominated;
}

describe("wrong secrets", () => {
  it("SN-93: another preshared key: the client fails on the first response, after one round trip", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.gateway);
    duo.upsert(duo.client, { presharedKey: new Uint8Array(32).fill(1) });
    world.run(1_000);
    const failed = firstEvent(duo.client, "connection-failed");
    expect(failed?.event.reason).toBe("handshake-decrypt");
    expect(sentMessages(duo.client, 1)).toBe(1);
    // The gateway learns it from silence.
    world.run(20_000);
    expect(firstEvent(duo.gateway, "connection-failed")?.event.reason).toBe("ice-timeout");
  });

  it("SN-8, SN-95: other ICE passwords: no path, both failed 17.25 s after the first check", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    const { localCredentials, remoteCredentials } = duo.request(duo.gateway);
    duo.upsert(duo.gateway, {
      localCredentials: { ...localCredentials, password: ANOTHER },
      remoteCredentials: { ...remoteCredentials, password: ANOTHER },
    });
    duo.upsert(duo.client);
    world.run(18_000);
    expect(firstEvent(duo.client, "connection-failed")?.event.reason).toBe("ice-timeout");
    expect(firstEvent(duo.gateway, "connection-failed")?.event.reason).toBe("ice-timeout");
    expect(counters(duo.gateway).stun_bad_integrity).toBeGreaterThan(0);
    expect(counters(duo.client).stun_bad_integrity).toBeGreaterThan(0);
    expect(isEstablished(duo.client)).toBe(false);
  });

  it.each([
    { whose: "gateway's", failsFirst: "client" },
    { whose: "client's", failsFirst: "gateway" },
  ] as const)(
    "SN-8, SN-95, SN-143: with the $whose ICE password wrong alone, the $failsFirst gives up after 17.25 s, and then the other",
    ({ whose, failsFirst }) => {
      const world = createWorld(1);
      const duo = createDuo(world);
      const { localCredentials, remoteCredentials } = duo.request(duo.gateway);
      duo.upsert(
        duo.gateway,
        whose === "gateway's"
          ? { localCredentials: { ...localCredentials, password: ANOTHER } }
          : { remoteCredentials: { ...remoteCredentials, password: ANOTHER } },
      );
      duo.upsert(duo.client);
      const start = world.now();
      talk(world, duo, 60);
      const failed = {
        client: firstEvent(duo.client, "connection-failed"),
        gateway: firstEvent(duo.gateway, "connection-failed"),
      };
      const second = failsFirst === "client" ? "gateway" : "client";
      expect(failed[failsFirst]?.event.reason).toBe("ice-timeout");
      expect(failed[second]?.event.reason).toBe("ice-timeout");
      // Candidates take 40 ms.
      expect((failed[failsFirst]?.at ?? 0) - start).toBeLessThanOrEqual(17_300);
      expect((failed[second]?.at ?? 0) - (failed[failsFirst]?.at ?? 0)).toBeLessThanOrEqual(20_000);
      // The gateway checks nobody's way: it follows the client, whose checks it can answer.
      expect(isEstablished(duo.client)).toBe(whose === "client's");
    },
  );

  it("SN-93: a forged response from an address that is not the peer's changes nothing; from the peer's it ends", () => {
    for (const [source, isEnd] of [
      ["203.0.113.66", false],
      ["198.51.100.20", true],
    ] as const) {
      const world = createWorld(1);
      const duo = createDuo(world);
      let response: Uint8Array | undefined;
      duo.gateway.host.swallows = ({ bytes }) => {
        const isResponse = bytes[0] === 2 && bytes.length === 92;
        if (isResponse) response ??= bytes;
        return isResponse && response === bytes;
      };
      duo.connect();
      world.runUntil(() => response !== undefined, 2_000);
      const forged = forge(response ?? new Uint8Array(92), duo.client.machine.connections.publicKey());
      const from = { address: ip(source), port: 52625 };
      const local = { address: ip("192.0.2.10"), port: 52625 };
      duo.client.machine.handleDatagram(world.now(), { local, from, bytes: forged });
      world.flush(duo.client.host);
      expect(firstEvent(duo.client, "connection-failed")?.event.reason).toBe(
        isEnd ? "handshake-decrypt" : undefined,
      );
      world.run(10_000);
      expect(isEstablished(duo.client)).toBe(!isEnd);
    }
  });

  it("SN-92: the gateway expects another static key: ICE works, the tunnel is gone 15 s after the path", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.gateway, { remoteKey: new Uint8Array(32).fill(9) });
    duo.upsert(duo.client);
    const selected = world.runUntil(() => shown(duo.client)?.state === "connected", 2_000) ?? 0;
    world.run(15_500);
    const failed = firstEvent(duo.client, "connection-failed");
    expect(failed?.event.reason).toBe("wireguard-expired");
    expect((failed?.at ?? 0) - selected).toBeGreaterThanOrEqual(15_000);
    expect((failed?.at ?? 0) - selected).toBeLessThanOrEqual(15_350);
  });
});

describe("packets before the path", () => {
  it("SN-96, SN-136: a client delivers the last 128 of 200, in order; a gateway drops and counts", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    duo.upsert(duo.gateway);
    for (let i = 0; i < 200; i++) duo.send(duo.client, i);
    for (let i = 0; i < 5; i++) duo.send(duo.gateway, i);
    world.run(2_000);
    expect(isEstablished(duo.gateway)).toBe(true);
    const { ip_buffer_overflow, tx_not_ready } = counters(duo.client);
    expect(duo.gateway.received).toEqual(Array.from({ length: 128 }, (_, i) => 72 + i));
    expect([ip_buffer_overflow, tx_not_ready]).toEqual([72, 0]);
    expect(duo.client.machine.plane.drops()).toEqual({});
    expect(counters(duo.gateway).tx_not_ready).toBe(5);
    expect([shown(duo.client)?.drops, shown(duo.gateway)?.drops]).toEqual([
      { ip_buffer_overflow: 72 },
      { tx_not_ready: 5 },
    ]);
    expect(duo.client.received).toEqual([]);
  });

  it("WG-46: of a burst that control has not looked at, the plane hands over the first 128", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    duo.upsert(duo.gateway);
    const { plane } = duo.client.machine;
    for (let i = 0; i < 199; i++) plane.sendPacket(world.now(), duo.packet(duo.client, i));
    duo.send(duo.client, 199);
    expect(plane.drops()).toEqual({ wg_no_session: 72 });
    world.run(2_000);
    expect(duo.gateway.received).toEqual(Array.from({ length: 128 }, (_, i) => i));
    expect(counters(duo.client).ip_buffer_overflow).toBe(0);
  });

  it("SN-96: of 200 packets that control itself sends, the last 128 arrive in order", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    duo.upsert(duo.gateway);
    const { machine } = duo.client;
    for (let i = 0; i < 200; i++) {
      const outcome = machine.apply(world.now(), (connections) =>
        connections.sendPacket(world.now(), idAt(duo.client), duo.packet(duo.client, i)),
      );
      expect(outcome).toBe("buffered");
    }
    expect(counters(duo.client).ip_buffer_overflow).toBe(72);
    world.run(2_000);
    expect(duo.gateway.received).toEqual(Array.from({ length: 128 }, (_, i) => 72 + i));
  });

  it("WG-46: packets before, during and after the handshake arrive in order", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    duo.upsert(duo.client);
    duo.upsert(duo.gateway);
    for (let i = 0; i < 100; i++) {
      duo.send(duo.client, i);
      world.run(3);
    }
    world.run(1_000);
    expect(duo.gateway.received).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it.each(PLANE_KINDS)(
    "WG-46: once what waited for the path has left, packets pass without control (%s)",
    (plane) => {
      const world = createWorld(1);
      const duo = createDuo(world, { plane });
      duo.upsert(duo.client);
      duo.upsert(duo.gateway);
      for (let i = 0; i < 3; i++) duo.send(duo.client, i);
      world.run(2_000);
      expect(duo.gateway.received).toEqual([0, 1, 2]);
      const before = duo.client.machine.plane.punted();
      for (let i = 3; i < 20; i++) duo.send(duo.client, i);
      expect(duo.client.machine.plane.punted()).toBe(before);
      world.run(500);
      expect(duo.gateway.received).toHaveLength(20);
    },
  );

  it("SN-97: the answer to a handshake that overtook the nomination waits for the path", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    const start = world.now();
    // USE-CANDIDATE does not come through at first: the gateway has no path when the initiation arrives.
    duo.client.host.swallows = ({ bytes }) => world.now() - start < 200 && isNominating(bytes);
    duo.establish(2_000);
    // Meanwhile the initiation is repeated once (WG-75), and each is answered when the path is there.
    expect(sentMessages(duo.client, 1)).toBe(2);
    expect(sentMessages(duo.gateway, 2)).toBe(2);
    expect(world.now() - start).toBeGreaterThan(200);
  });
});
