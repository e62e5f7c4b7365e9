import { describe, expect, it } from "vitest";
import { ip } from "../../src/base/index.ts";
import { type Duo, sentChecks, shown } from "./duo.ts";
import { established } from "./steps.ts";
import type { World } from "./world.ts";

const INSIDE_PORT = 52_625;
const REBOUND_PORT = 40_999;
/** A packet every 50 ms: the last one before, 20 ms to the other end, a round trip of 40 ms, the next packet. */
const GAP_MS = 50 + 20 + 40 + 50;

/** What a NAT in front of the end does when it forgets its mapping: others see another port from now on. */
function rebind({ host }: Duo["client"], outside = REBOUND_PORT): void {
  const { program } = host;
  if (program === undefined) throw new Error("the end runs");
  host.port = outside;
  host.program = {
    ...program,
    handleDatagram: (now, datagram) =>
      program.handleDatagram(now, { ...datagram, local: { ...datagram.local, port: INSIDE_PORT } }),
  };
}

/** Both ends send every 50 ms; the longest time in which nothing arrived at `end`, by default the client. */
function longestGapMs(world: World, duo: Duo, forMs: number, end = duo.client): number {
  let longest = 0;
  let since = world.now();
  let seen = end.received.length;
  for (let ms = 0; ms < forMs; ms += 50) {
    duo.send(duo.client, ms);
    duo.send(duo.gateway, ms);
    world.run(50);
    if (end.received.length === seen) continue;
    seen = end.received.length;
    longest = Math.max(longest, world.now() - since);
    since = world.now();
  }
  return Math.max(longest, world.now() - since);
}

describe("a NAT that forgets its mapping", () => {
  it.each([1, 2, 3, 4, 5])(
    "SN-145: under traffic the gateway follows within one check's round trip (seed %i)",
    (seed) => {
      const { world, duo } = established(seed);
      longestGapMs(world, duo, 3_000 + seed * 170);
      rebind(duo.client);
      expect(longestGapMs(world, duo, 5_000)).toBeLessThanOrEqual(GAP_MS);
      expect(shown(duo.gateway)?.path?.destination.port).toBe(REBOUND_PORT);
      expect(shown(duo.client)?.state).toBe("connected");
    },
  );

  it("SN-145: under traffic the client follows a gateway behind a NAT in the same way", () => {
    const { world, duo } = established(6);
    longestGapMs(world, duo, 3_000);
    rebind(duo.gateway);
    expect(longestGapMs(world, duo, 5_000, duo.gateway)).toBeLessThanOrEqual(GAP_MS);
    expect(shown(duo.client)?.path?.destination.port).toBe(REBOUND_PORT);
    expect(shown(duo.gateway)?.state).toBe("connected");
  });

  it("SN-145: ten times in a row, the path follows each time", () => {
    const { world, duo } = established(7);
    for (let i = 0; i < 10; i++) {
      longestGapMs(world, duo, 2_000);
      rebind(duo.client, REBOUND_PORT + i);
      expect(longestGapMs(world, duo, 2_000), `no. ${i}`).toBeLessThanOrEqual(GAP_MS);
      expect(shown(duo.gateway)?.path?.destination.port).toBe(REBOUND_PORT + i);
    }
  });

  it("SN-145: a lost check is repeated while data comes", () => {
    const { world, duo } = established(8);
    longestGapMs(world, duo, 3_000);
    rebind(duo.client);
    let lost = 0;
    duo.gateway.host.swallows = ({ destination }) => destination.port === REBOUND_PORT && lost++ === 0;
    expect(longestGapMs(world, duo, 5_000)).toBeLessThanOrEqual(250 + GAP_MS);
    expect(lost).toBeGreaterThan(1);
  });

  it.each([1, 2, 3, 4, 5])(
    "SN-141: without data of the client, by its next check and two round trips (seed %i)",
    (seed) => {
      const { world, duo } = established(seed);
      longestGapMs(world, duo, 3_000 + seed * 170);
      rebind(duo.client);
      const isThere = (): boolean => shown(duo.gateway)?.path?.destination.port === REBOUND_PORT;
      for (let ms = 0; ms < 1_500 + 2 * 40 && !isThere(); ms += 10) {
        if (ms % 50 === 0) duo.send(duo.gateway, ms);
        world.run(10);
      }
      expect(isThere()).toBe(true);
    },
  );

  it("SN-153: an idle end that stood still shows its new mapping by one check of every path", () => {
    const { world, duo } = established(10);
    world.run(60_000);
    expect(shown(duo.gateway)?.state).toBe("idle");
    rebind(duo.gateway);
    const before = sentChecks(duo.gateway);
    duo.gateway.machine.apply(world.now(), (connections) => connections.checkAllPaths(world.now()));
    world.flush(duo.gateway.host);
    expect(sentChecks(duo.gateway) - before).toBe(1);
    // One way, the client's check and its answer; the next one by the schedule would come after up to 25 s.
    world.run(3 * 20 + 40);
    expect(shown(duo.client)?.path?.destination.port).toBe(REBOUND_PORT);
    expect([shown(duo.client)?.state, shown(duo.gateway)?.state], "SN-77").toEqual(["idle", "idle"]);
  });

  it("SN-145: a packet that is held back and sent on from elsewhere does not move the path", () => {
    const { world, duo } = established(9);
    longestGapMs(world, duo, 3_000);
    const held: Uint8Array[] = [];
    duo.client.host.swallows = ({ bytes }) => bytes[0] === 4 && held.length < 20 && held.push(bytes) > 0;
    for (let i = 0; i < 20; i++) duo.send(duo.client, i);
    const from = { address: ip("203.0.113.66"), port: 7 };
    const local = { address: ip("198.51.100.20"), port: 52625 };
    for (const bytes of held) {
      duo.gateway.machine.handleDatagram(world.now(), { local, from, bytes });
      world.flush(duo.gateway.host);
      longestGapMs(world, duo, 300);
    }
    expect(duo.gateway.sent.filter(({ destination }) => destination.port === 7).length).toBeGreaterThan(5);
    expect(shown(duo.gateway)?.path?.destination).toEqual({ address: ip("192.0.2.10"), port: 52625 });
    expect(duo.gateway.machine.connections.stats().connections).toHaveLength(1);
  });
});
