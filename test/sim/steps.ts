/** Phrases in which the scenarios of two nodes are written. */
import type { ConnectionsStats } from "../../src/connections/index.ts";
import { createDuo, type Duo, type DuoOptions, type End } from "./duo.ts";
import { createWorld, type World } from "./world.ts";

export interface Established {
  readonly world: World;
  readonly duo: Duo;
}

/** Two ends with a session. */
export function established(seed = 1, options: DuoOptions = {}): Established {
  const world = createWorld(seed);
  const duo = createDuo(world, options);
  duo.establish();
  return { world, duo };
}

/** Traffic in both directions every second, so that nothing goes idle. */
export function talk(world: World, duo: Duo, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    duo.send(duo.client, i);
    duo.send(duo.gateway, i);
    world.run(1_000);
  }
}

/** Takes the end's link down, or up again. */
export function cut(end: End, isDown = true): void {
  end.host.link = { ...end.host.link, isDown };
}

export function counters(end: End): ConnectionsStats["counters"] {
  return end.machine.connections.stats().counters;
}
