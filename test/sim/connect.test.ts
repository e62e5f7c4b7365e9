import { describe, expect, it } from "vitest";
import { formatSocketAddress } from "../../src/base/index.ts";
import fc from "../lib/property.ts";
import { createDuo, type Delivery, firstEvent, isEstablished, sentMessages, shown } from "./duo.ts";
import { createStream } from "./streams.ts";
import { createWorld, type LinkConditions } from "./world.ts";

const NUMBERS = Array.from({ length: 10 }, (_, i) => i);

describe("two nodes with host candidates", () => {
  it("SN-137, SN-138: connect without a relay and carry packets both ways, in order", () => {
    const world = createWorld(1);
    const duo = createDuo(world);
    const start = world.now();
    expect(duo.establish() - start).toBeLessThan(500);
    for (const i of NUMBERS) {
      duo.send(duo.client, i);
      duo.send(duo.gateway, i);
    }
    world.run(1_000);
    expect(duo.gateway.received).toEqual(NUMBERS);
    expect(duo.client.received).toEqual(NUMBERS);
    expect(shown(duo.client)?.path?.kind).toBe("peer-to-peer");
    expect(shown(duo.client)?.rttMs).toBe(40);
  });

  it("SN-74: the gateway never initiates", () => {
    const world = createWorld(2);
    const duo = createDuo(world);
    duo.establish();
    for (let i = 0; i < 60; i++) {
      duo.send(duo.gateway, i);
      if (i % 2 === 0) duo.send(duo.client, i);
      world.run(5_000);
    }
    expect(sentMessages(duo.gateway, 1)).toBe(0);
    expect(sentMessages(duo.client, 1)).toBeGreaterThan(1);
    expect(duo.client.received).toHaveLength(60);
  });

  it("both ends have addresses that nobody can reach, and IPv6 wins over IPv4 (SN-18)", () => {
    const world = createWorld(3);
    const duo = createDuo(world, {
      client: {
        addresses: ["10.0.0.5", "172.17.0.1", "192.0.2.10", "2001:db8:1::10"],
        routed: ["192.0.2.10", "2001:db8:1::10"],
      },
      gateway: {
        addresses: ["10.0.0.5", "198.51.100.20", "2001:db8:2::20"],
        routed: ["198.51.100.20", "2001:db8:2::20"],
      },
    });
    duo.establish();
    world.run(500);
    const path = shown(duo.client)?.path;
    expect(path && formatSocketAddress(path.destination)).toBe("[2001:db8:2::20]:52625");
    expect(path && formatSocketAddress(path.source)).toBe("[2001:db8:1::10]:52625");
  });

  it("IPv6 only", () => {
    const world = createWorld(4);
    const duo = createDuo(world, {
      client: { addresses: ["2001:db8:1::10"] },
      gateway: { addresses: ["2001:db8:2::20"] },
    });
    duo.establish();
    duo.send(duo.client, 7);
    world.run(100);
    expect(duo.gateway.received).toEqual([7]);
  });

  it("SN-36: candidates for an unknown connection are counted and forgotten", () => {
    const world = createWorld(5);
    const duo = createDuo(world);
    const { machine } = duo.gateway;
    machine.apply(world.now(), (connections) =>
      connections.addRemoteCandidates(world.now(), "nobody", ["x", "y"]),
    );
    expect(machine.connections.stats().counters.candidate_unknown_connection).toBe(2);
  });

  it("SN-64, SN-33: a check overtakes the candidates (50 ms portal, 5 ms link) and the path does not flap", () => {
    const world = createWorld(6);
    const duo = createDuo(world, {
      client: { link: { latencyMs: 2.5 } },
      gateway: { link: { latencyMs: 2.5 } },
      portal: { delayMs: 25 },
    });
    duo.establish();
    world.run(5_000);
    expect(duo.client.events.filter(({ event }) => event.kind === "connection-failed")).toEqual([]);
    expect(shown(duo.client)?.path?.kind).toBe("peer-to-peer");
    expect(shown(duo.gateway)?.path?.kind).toBe("peer-to-peer");
    // One handshake: no second path, no roll-over.
    expect(sentMessages(duo.client, 1)).toBe(1);
  });

  it("SN-64: one side never hears of the other's candidates and learns them from its checks", () => {
    for (const mute of ["client", "gateway"] as const) {
      const world = createWorld(7);
      const duo = createDuo(world, {
        portal: { candidates: (candidates, from) => (from === mute ? [] : [{ afterMs: 0, candidates }]) },
      });
      duo.establish();
      duo.send(duo.client, 1);
      duo.send(duo.gateway, 2);
      world.run(200);
      expect([duo.gateway.received, duo.client.received]).toEqual([[1], [2]]);
    }
  });

  it("SN-17, SN-30: candidates late, doubled, shuffled, and mixed with rubbish: established soon after the first useful one", {
    timeout: 60_000,
  }, () => {
    const delivery = fc.record({ afterMs: fc.integer({ min: 0, max: 6_000 }), isReversed: fc.boolean() });
    const side = fc.array(delivery, { minLength: 1, maxLength: 3 });
    const link = fc.record({
      client: fc.integer({ min: 0, max: 200 }),
      gateway: fc.integer({ min: 0, max: 200 }),
    });
    fc.assert(
      fc.property(fc.nat(), side, side, link, (seed, toGateway, toClient, latency) => {
        const world = createWorld(seed);
        const duo = createDuo(world, {
          client: {
            addresses: ["10.0.0.5", "192.0.2.10"],
            routed: ["192.0.2.10"],
            link: { latencyMs: latency.client },
          },
          gateway: {
            addresses: ["172.16.0.1", "198.51.100.20"],
            routed: ["198.51.100.20"],
            link: { latencyMs: latency.gateway },
          },
          portal: {
            delayMs: 10,
            candidates: (candidates, from): readonly Delivery[] =>
              (from === "client" ? toGateway : toClient).map(({ afterMs, isReversed }) => ({
                afterMs,
                candidates: ["rubbish", ...(isReversed ? [...candidates].reverse() : candidates)],
              })),
          },
        });
        const first = Math.min(...[...toGateway, ...toClient].map(({ afterMs }) => afterMs));
        const start = world.now();
        // Three round trips (check, nomination, handshake) and the portal's part.
        const rttMs = 2 * (latency.client + latency.gateway);
        expect(duo.establish(20_000) - start).toBeLessThanOrEqual(first + 100 + 4 * rttMs);
        expect(sentMessages(duo.gateway, 1)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("TS-10: survives 20 % loss, duplication, reordering and flipped bits with traffic for five minutes", () => {
    for (const seed of [1, 2, 3]) {
      const world = createWorld(seed);
      const bad: Partial<LinkConditions> = {
        latencyMs: 20,
        jitterMs: 10,
        loss: 0.1,
        duplication: 0.05,
        reordering: 0.05,
        corruption: 0.01,
      };
      const duo = createDuo(world, { client: { link: bad }, gateway: { link: bad } });
      duo.connect();
      // The gateway's session waits for a packet of the client's that comes through (WG-16).
      for (let i = 0; i < 15; i++) {
        duo.send(duo.client, 1_000 + i);
        world.run(1_000);
      }
      expect([isEstablished(duo.client), isEstablished(duo.gateway)], `seed ${seed}`).toEqual([true, true]);
      for (let i = 0; i < 300; i++) {
        duo.send(duo.client, i);
        duo.send(duo.gateway, i);
        world.run(1_000);
      }
      for (const end of [duo.client, duo.gateway]) {
        expect(firstEvent(end, "connection-failed")).toBeUndefined();
        expect(end.received.length).toBeGreaterThan(200);
        expect(new Set(end.received).size).toBe(end.received.length);
      }
    }
  });
});

describe("the world", () => {
  it("TS-7: 20 cases run twice give equal traces, and different seeds different ones", {
    timeout: 60_000,
  }, () => {
    const trace = (seed: number): string => {
      const world = createWorld(seed);
      const draw = createStream(seed, "case");
      const link = (): Partial<LinkConditions> => ({
        latencyMs: draw.unit() * 100,
        jitterMs: 20,
        loss: draw.unit() * 0.3,
      });
      const duo = createDuo(world, { client: { link: link() }, gateway: { link: link() } });
      duo.connect();
      for (let i = 0; i < 40; i++) {
        if (isEstablished(duo.client)) duo.send(duo.client, i);
        world.run(1_000);
      }
      return world.traceHash();
    };
    const seeds = Array.from({ length: 20 }, (_, i) => i);
    const first = seeds.map(trace);
    expect(seeds.map(trace)).toEqual(first);
    expect(new Set(first).size).toBe(20);
  });

  it("SN-118, poll law: extra ticks at arbitrary times do not change a byte of what is sent", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 7, max: 900 }), (seed, tickMs) => {
        const run = (hasTicks: boolean): string => {
          const world = createWorld(seed);
          const duo = createDuo(world, { client: { link: { loss: 0.1 } }, gateway: { link: { loss: 0.1 } } });
          duo.connect();
          for (let t = 0; t < 60_000; t += tickMs) {
            if (Math.floor(t / 10_000) !== Math.floor((t - tickMs) / 10_000)) duo.send(duo.client, t);
            world.run(tickMs);
            if (!hasTicks) continue;
            for (const end of [duo.client, duo.gateway]) {
              end.machine.handleTimeout(world.now());
              world.flush(end.host);
            }
          }
          return world.traceHash();
        };
        expect(run(true)).toBe(run(false));
      }),
      { numRuns: 15 },
    );
  });
});
