/** What an idle connection may send, rule by rule, and what it did send (TS-58, TS-80). */
import { expect } from "vitest";
import { countKinds, type IdleEnd, idleBudget, idleKind } from "../lib/idle-kinds.ts";
import type { ClientPeer, GatewayPeer } from "./peer.ts";
import { type Play, story } from "./story.ts";

const HOUR_S = 3_600;

/** Two ends behind NATs that forget after 30 s whatever comes from outside, and two relays. */
function begin(nat: "port-restricted" | "symmetric"): Play {
  const short = { kind: nat, lifetimeMs: 30_000, isRefreshedFromOutside: false } as const;
  return story(1)
    .network("home", { nat: short })
    .client()
    .network("office", { nat: short })
    .gateway()
    .internet()
    .relay("north")
    .relay("south")
    .begin();
}

/** One packet, then nothing for so long, then one more, which is answered at once by the same connection. */
export function idleFor(nat: "port-restricted" | "symmetric", hours: number): void {
  const play = begin(nat);
  const ends = [play.client(), play.gateway()];
  expect(play.client().reach(5_000)).toBeDefined();
  // Until both are idle and all is given up that nobody answers.
  play.world.run(120_000);
  const [path, since] = [play.path(), sinceOf(play)];
  const before = ends.map(({ sent }) => sent.length);
  play.world.run(hours * HOUR_S * 1_000);
  for (const [i, end] of ends.entries()) {
    const sent = end.sent.slice(before[i]);
    const counts = countKinds(sent.map(({ destination, bytes }) => idleKind(destination.port, bytes)));
    for (const [kind, count] of counts) {
      expect(count, `${kind} of the ${end.name} behind ${nat}`).toBeLessThanOrEqual(
        idleBudget(idleEnd(end), kind, hours),
      );
    }
  }
  expect(play.client().reach(2_000)).toBeDefined();
  expect([play.path(), sinceOf(play)]).toEqual([path, since]);
}

function sinceOf(play: Play): number | undefined {
  return play.client().connections.stats().connections[0]?.createdAt;
}

function idleEnd({ name, connections }: ClientPeer | GatewayPeer): IdleEnd {
  const pairs = (connections.explanations()[0]?.pairs ?? []).filter(({ state }) => state !== "given-up");
  return {
    isClient: name === "client",
    pairs: pairs.length,
    relayPairs: pairs.filter(({ localKind }) => localKind === "relay").length,
    relays: connections.stats().relays.length,
  };
}
