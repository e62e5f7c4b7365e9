import { describe, expect, it } from "vitest";
import { firstEvent, isEstablished, shown } from "./duo.ts";
import { keepApart, letMeet, listRelays, relayedDuo, stream, updateRelays } from "./relayed.ts";

const SEEDS = [1, 2, 3, 4, 5];

describe("two ends that only relays can reach", () => {
  it.each(SEEDS)(
    "SN-83 to SN-86, TS-17: connect within 5 s, and packets pass both ways in order (seed %i)",
    (seed) => {
      const relayed = relayedDuo(seed);
      const { world, duo, relays } = relayed;
      listRelays(relayed, relays);
      const since = world.now();
      duo.establish(5_000);
      expect(world.now() - since).toBeLessThanOrEqual(5_000);
      const paths = [shown(duo.client)?.path?.kind, shown(duo.gateway)?.path?.kind];
      for (const kind of paths) expect(["relay-to-peer", "peer-to-relay", "relay-to-relay"]).toContain(kind);
      for (let n = 1; n <= 50; n++) {
        duo.send(duo.client, n);
        duo.send(duo.gateway, n);
        world.run(3);
      }
      world.run(1_000);
      const all = Array.from({ length: 50 }, (_, i) => i + 1);
      expect(duo.gateway.received).toEqual(all);
      expect(duo.client.received).toEqual(all);
      for (const end of [duo.client, duo.gateway]) {
        const { counters, relayBytesSent } = end.machine.connections.stats();
        expect([counters.tx_no_channel, counters.tx_no_relay, counters.unknown_format]).toEqual([0, 0, 0]);
        expect(relayBytesSent).toBeGreaterThan(0);
      }
    },
  );

  it("SN-136: STUN through relays is counted apart, with its headers", () => {
    const relayed = relayedDuo(1);
    listRelays(relayed, relayed.relays);
    relayed.duo.establish(5_000);
    const { stunBytesSent, stunBytesRelayed } = shown(relayed.duo.client) ?? {};
    expect(stunBytesSent).toBeGreaterThan(0);
    expect(stunBytesRelayed).toBeGreaterThan(0);
  });
});

describe("relays as a fall-back", () => {
  it("SN-138: a direct path is taken where there is one, and a relay that comes later does not disturb it", () => {
    const relayed = relayedDuo(1, { isApart: false });
    const { world, duo, relays } = relayed;
    duo.establish(3_000);
    expect(shown(duo.client)?.path?.kind).toBe("peer-to-peer");
    expect(shown(duo.client)?.relay).toBeUndefined();
    listRelays(relayed, relays);
    expect(stream(relayed, duo.client, { count: 200, everyMs: 20 })).toBeLessThanOrEqual(40);
    expect(shown(duo.client)?.path?.kind).toBe("peer-to-peer");
    expect(shown(duo.client)?.relay).toMatch(/^relay-[12]$/);
    // Should the direct path die, the relay is there already.
    keepApart(duo);
    world.run(20_000);
    expect(shown(duo.client)?.path?.kind).not.toBe("peer-to-peer");
    expect(stream(relayed, duo.client, { count: 50, everyMs: 20 })).toBeLessThanOrEqual(60);
  });

  it("SN-112, SN-109: a relay that dies is found by the next list, and the tunnel moves to the other", () => {
    const relayed = relayedDuo(2);
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays.slice(0, 1));
    duo.establish(5_000);
    const [first, second] = relays;
    if (first === undefined || second === undefined) throw new Error("two relays");
    world.run(2_000);
    first.host.link = { ...first.host.link, isDown: true };
    // The portal notices: it lists another one. The first is asked once, with a deadline of 1 s.
    listRelays(relayed, [second]);
    expect(stream(relayed, duo.client, { count: 300, everyMs: 20 })).toBeLessThanOrEqual(3_500);
    for (const end of [duo.client, duo.gateway]) {
      expect(shown(end)?.relay).toBe("relay-2");
      expect(firstEvent(end, "connection-failed")).toBeUndefined();
      expect(firstEvent(end, "relays-exhausted")).toBeUndefined();
    }
    expect(stream(relayed, duo.gateway, { count: 50, everyMs: 20 })).toBeLessThanOrEqual(60);
  });

  it("SN-109: a relay that the portal takes away is left at once, and another one carries the path", () => {
    const relayed = relayedDuo(3);
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays.slice(0, 1));
    duo.establish(5_000);
    world.run(2_000);
    for (const end of [duo.client, duo.gateway]) {
      updateRelays(world, end, {
        remove: ["relay-1"],
        add: relays.slice(1).map((relay) => relay.entryFor(end.role)),
      });
    }
    expect(stream(relayed, duo.client, { count: 200, everyMs: 20 })).toBeLessThanOrEqual(2_000);
    expect(relays[0]?.server.stats().allocations).toBe(0);
  });

  it("SN-109, RL-70: a relay that was restarted comes under another id, at the same socket", () => {
    const relayed = relayedDuo(4);
    const { world, duo, relays } = relayed;
    const [relay] = relays;
    if (relay === undefined) throw new Error("a relay");
    listRelays(relayed, [relay]);
    duo.establish(5_000);
    world.run(2_000);
    relay.restart();
    for (const end of [duo.client, duo.gateway]) {
      updateRelays(world, end, { add: [{ ...relay.entryFor(end.role), id: "relay-1 again" }] });
    }
    expect(stream(relayed, duo.client, { count: 250, everyMs: 20 })).toBeLessThanOrEqual(3_000);
    expect(shown(duo.client)?.relay).toBe("relay-1 again");
    expect(duo.client.machine.connections.stats().relays).toHaveLength(1);
  });

  it("RL-117: renewed credentials do not move anything", () => {
    const relayed = relayedDuo(5);
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays);
    duo.establish(5_000);
    world.run(2_000);
    const events = duo.client.events.length;
    for (const end of [duo.client, duo.gateway]) {
      updateRelays(world, end, { add: relays.map((relay) => relay.entryFor(end.role, 100_000)) });
    }
    expect(stream(relayed, duo.client, { count: 100, everyMs: 20 })).toBeLessThanOrEqual(40);
    expect(duo.client.events.length).toBe(events);
  });

  it("SN-113: the last relay that goes is reported, once", () => {
    const relayed = relayedDuo(1, { isApart: false });
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays);
    duo.establish(3_000);
    for (const { host } of relays) host.link = { ...host.link, isDown: true };
    listRelays(relayed, []);
    world.run(2_000);
    const exhausted = duo.client.events.filter(({ event }) => event.kind === "relays-exhausted");
    expect(exhausted).toHaveLength(1);
    // The direct path lives on.
    expect(stream(relayed, duo.client, { count: 50, everyMs: 20 })).toBeLessThanOrEqual(40);
  });
});

describe("time with relays", () => {
  it("RL-102, RL-87, RL-111: an hour of little traffic through a relay: the path stands all the time", {
    timeout: 60_000,
  }, () => {
    const relayed = relayedDuo(1);
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays.slice(0, 1));
    duo.establish(5_000);
    for (let n = 1; n <= 60; n++) {
      world.run(60_000);
      duo.send(duo.client, n);
    }
    world.run(1_000);
    expect(duo.gateway.received).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    expect(duo.client.machine.connections.stats().counters.tx_no_channel).toBe(0);
  });

  it("SN-117, SN-91: with nothing but a relay that never answers a connection ends after 10 s", () => {
    const relayed = relayedDuo(1, { client: { addresses: ["192.0.2.10"] } });
    const { world, duo, relays } = relayed;
    const [relay] = relays;
    if (relay === undefined) throw new Error("a relay");
    relay.host.link = { ...relay.host.link, isDown: true };
    duo.client.machine.apply(world.now(), (connections) => connections.updateHostAddresses(world.now(), []));
    updateRelays(world, duo.client, { add: [relay.entryFor("client")] });
    expect(duo.upsert(duo.client).kind).toBe("created");
    world.run(1_000);
    duo.client.machine.apply(world.now(), (connections) =>
      connections.addRemoteCandidates(world.now(), "gateway-1", [
        "candidate:x 1 udp 2130706175 198.51.100.20 52625 typ host",
      ]),
    );
    world.run(8_000);
    expect(firstEvent(duo.client, "connection-failed")).toBeUndefined();
    world.run(1_100);
    expect(firstEvent(duo.client, "connection-failed")?.event.reason).toBe("no-local-candidates");
  });

  it("SN-115, SN-109: after a reset the relays show our addresses again, and a new connection stands", () => {
    const relayed = relayedDuo(3);
    const { world, duo, relays } = relayed;
    listRelays(relayed, relays);
    duo.establish(5_000);
    world.run(1_000);
    for (const end of [duo.client, duo.gateway]) {
      end.machine.apply(world.now(), (connections) => connections.reset(world.now()));
      end.events.length = 0;
      world.flush(end.host);
    }
    // No list of own addresses: the relays alone show them (SN-16).
    duo.connect();
    const at = world.runUntil(() => isEstablished(duo.client) && isEstablished(duo.gateway), 5_000);
    expect(at, world.recentTrace()).toBeDefined();
    const counters = duo.client.machine.connections.stats().counters;
    expect(counters.unknown_format).toBe(0);
  });
});

describe("a direct path that opens later", () => {
  it.each(SEEDS)(
    "SN-146: is found under traffic within 31 s, and no packet is lost on the way (seed %i)",
    (seed) => {
      const relayed = relayedDuo(seed);
      const { world, duo, relays } = relayed;
      listRelays(relayed, relays);
      duo.establish(5_000);
      // Until the direct pairs have been given up, at any point between two rounds.
      expect(stream(relayed, duo.client, { count: 1_000 + 150 * seed, everyMs: 20 })).toBeLessThanOrEqual(60);
      expect(shown(duo.client)?.path?.kind).not.toBe("peer-to-peer");
      letMeet(duo);
      const since = world.now();
      let sent = 0;
      while (shown(duo.client)?.path?.kind !== "peer-to-peer" && world.now() - since < 31_000) {
        duo.send(duo.client, 5_000 + sent++);
        world.run(20);
      }
      world.run(1_000);
      expect(shown(duo.client)?.path?.kind).toBe("peer-to-peer");
      expect(shown(duo.gateway)?.path?.kind).toBe("peer-to-peer");
      const received = duo.gateway.received.filter((sequence) => sequence >= 5_000);
      expect(received.toSorted()).toEqual(Array.from({ length: sent }, (_, i) => 5_000 + i));
    },
  );
});
