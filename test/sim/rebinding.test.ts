import { describe, expect, it } from "vitest";
import { type Duo, shown } from "./duo.ts";
import { established } from "./steps.ts";
import type { World } from "./world.ts";

const REBOUND_PORT = 40_999;

/** What a NAT in front of the end does when it forgets its mapping: others see another port from now on. */
function rebind(end: Duo["client"]): void {
  const { host } = end;
  const { port, program } = host;
  if (program === undefined) throw new Error("the end runs");
  host.port = REBOUND_PORT;
  host.program = {
    ...program,
    handleDatagram: (now, datagram) =>
      program.handleDatagram(now, { ...datagram, local: { ...datagram.local, port } }),
  };
}

/** Both ends send every 50 ms; the longest time in which nothing of the gateway's arrived at the client. */
function longestGapMs(world: World, duo: Duo, forMs: number): number {
  let longest = 0;
  let since = world.now();
  let seen = duo.client.received.length;
  for (let ms = 0; ms < forMs; ms += 50) {
    duo.send(duo.client, ms);
    duo.send(duo.gateway, ms);
    world.run(50);
    if (duo.client.received.length === seen) continue;
    seen = duo.client.received.length;
    longest = Math.max(longest, world.now() - since);
    since = world.now();
  }
  return Math.max(longest, world.now() - since);
}

describe("a NAT that forgets its mapping", () => {
  it.each([1, 2, 3, 4, 5])(
    "SN-141: the gateway follows within a check and two round trips (seed %i)",
    (seed) => {
      const { world, duo } = established(seed);
      longestGapMs(world, duo, 3_000 + seed * 170);
      rebind(duo.client);
      expect(longestGapMs(world, duo, 5_000)).toBeLessThanOrEqual(1_500 + 2 * 40 + 50);
      expect(shown(duo.gateway)?.path?.destination.port).toBe(REBOUND_PORT);
      expect(shown(duo.client)?.state).toBe("connected");
    },
  );
});
