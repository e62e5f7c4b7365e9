/**
 * Networks drawn from seeds: wherever theory says that a path exists, both ends are connected in time, by a
 * direct one if there is one; elsewhere nothing stays behind. 10,000 of them: `random-network.long.test.ts`.
 */
import { describe, expect, it } from "vitest";
import { liveThrough } from "./live-through.ts";
import { build, drawTopology, type Route, routeOf } from "./random-network.ts";

/** `SEEDS=4711 COUNT=1` repeats one. */
const FIRST = Number(process.env["SEEDS"] ?? 0);
const COUNT = Number(process.env["COUNT"] ?? 150);
const GROUP = 25;
const groups = Array.from({ length: Math.ceil(COUNT / GROUP) }, (_, i) => FIRST + i * GROUP);

describe("networks drawn at random", () => {
  it.each(groups)(
    "TS-16, TS-17: connect where a path exists, and leave nothing behind (from %i)",
    {
      timeout: 60_000,
    },
    (from) => {
      const end = Math.min(from + GROUP, FIRST + COUNT);
      for (let seed = from; seed < end; seed++) liveThrough(seed);
    },
  );

  it("TS-18: all kinds of ends occur among them", () => {
    const routes = new Set<Route>();
    const nats = new Set<string>();
    for (let seed = 0; seed < 150; seed++) {
      const topology = drawTopology(seed);
      routes.add(routeOf(topology));
      for (const { nat } of [...topology.client.routers, ...topology.gateway.routers]) {
        if (typeof nat === "object") nats.add(nat.kind);
      }
    }
    expect([...routes].sort()).toEqual(["direct", "none", "relayed"]);
    expect(nats.size).toBe(7);
  });

  it("TS-7: the same seed, the same bytes", () => {
    const traceOf = (seed: number): string => {
      const play = build(drawTopology(seed));
      play.client().longestGap(3_000);
      return play.world.traceHash();
    };
    const seeds = Array.from({ length: 20 }, (_, seed) => seed);
    const traces = seeds.map(traceOf);
    expect(seeds.map(traceOf)).toEqual(traces);
    expect(new Set(traces).size).toBe(seeds.length);
  });
});
