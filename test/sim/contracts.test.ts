/** What every machine owes its shell (D-2, SN-122), asked of all of them at once, tied together by a network. */
import { describe, expect, it } from "vitest";
import { formatSocketAddress } from "../../src/base/index.ts";
import { type Play, story } from "./story.ts";

const SEEDS = [1, 2, 3, 4, 5];

/** Two symmetric NATs, so that relays, channels and all that hangs on them are in use. */
function begin(seed: number): Play {
  return story(seed)
    .network("home", { nat: "symmetric", link: "mobile" })
    .client()
    .network("office", { nat: "symmetric" })
    .gateway()
    .internet()
    .relay("north")
    .relay("south")
    .begin();
}

/** Set-up, traffic, idling and waking. */
function live({ world, client }: Play): void {
  client().longestGap(3_000);
  world.run(60_000);
  client().longestGap(2_000);
}

describe("all machines", () => {
  it.each(SEEDS)("D-2: the same seed, the same bytes (seed %i)", (seed) => {
    const traces = [begin(seed), begin(seed)].map((play) => {
      live(play);
      return play.world.traceHash();
    });
    expect(traces[0]).toBe(traces[1]);
  });

  it.each(SEEDS)("SN-122: a tick at any time changes nothing (seed %i)", (seed) => {
    const [calm, restless] = [begin(seed), begin(seed)];
    const { world } = restless;
    const draw = world.random("ticks");
    const tick = (): void => {
      for (const host of world.hosts()) {
        host.program?.handleTimeout(world.now());
        world.flush(host);
      }
      world.at(1 + 200 * draw.unit(), tick);
    };
    tick();
    live(calm);
    live(restless);
    expect(restless.world.traceHash()).toBe(calm.world.traceHash());
  });

  it.each(SEEDS)(
    "SN-122: with every tick late by up to a second, all stands, and no more is sent (seed %i)",
    (seed) => {
      const [prompt, late] = [begin(seed), begin(seed)];
      const draw = late.world.random("lag");
      const oversleep = (): void => {
        for (const host of late.world.hosts()) host.lagMs = Math.floor(1_000 * draw.unit());
        late.world.at(100, oversleep);
      };
      oversleep();
      const sent = [prompt, late].map((play) => {
        const before = play.client().sent.length + play.gateway().sent.length;
        play.world.run(300_000);
        return play.client().sent.length + play.gateway().sent.length - before;
      });
      expect(sent[1]).toBeLessThanOrEqual(sent[0] ?? 0);
      expect(late.client().reach(10_000)).toBeDefined();
      expect(late.path()).toBe("relayed");
    },
  );

  it("SN-122: an hour in which nothing ran costs one datagram per pair and relay, and nothing breaks for good", () => {
    const play = begin(6);
    live(play);
    const ends = [play.client(), play.gateway()];
    const before = ends.map(({ sent }) => sent.length);
    play.world.sleep(3_600_000);
    play.world.run(10);
    for (const [i, { sent }] of ends.entries()) {
      const to = sent.slice(before[i]).map(({ destination }) => formatSocketAddress(destination));
      expect(to.length).toBeGreaterThan(2);
      expect(new Set(to).size).toBe(to.length);
    }
    expect(play.client().reach(30_000)).toBeDefined();
  });
});
