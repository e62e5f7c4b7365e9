/** What must hold in every network that can be drawn, whether it has a path or not (TS-16, TS-17). */
import { expect } from "vitest";
import { type LinkConditions, type LinkProfile, PROFILES } from "./link.ts";
import type { ClientPeer, GatewayPeer } from "./peer.ts";
import { build, drawTopology, type Route, roundTripMs, routeOf, type Topology } from "./random-network.ts";
import { RELAY_LISTEN } from "./relay.ts";
import type { Play } from "./story.ts";

/** From the intent to the first answer, besides the round trips of set-up (TS-17). */
const FIRST_ANSWER_MS: Readonly<Record<Exclude<Route, "none">, number>> = { direct: 3_000, relayed: 5_000 };
/** To the portal, to the peer by a check, by a handshake, and by the packet itself. */
const SETUP_ROUND_TRIPS = 4;
/** An attempt has failed after 20 s at the latest (SN-95): one may at little loss, three at 20 % each way. */
const LITTLE_LOSS_ANSWER_MS = 25_000;
const LOSSY_ANSWER_MS = 65_000;
/** A direct path is found within a minute where there is one. */
const MOVE_MS = 60_000;
/** An attempt that has failed, and one more that has. */
const HOPELESS_MS = 45_000;
/** Without traffic a dead path is noticed by the fourth check that nobody answers (SN-50). */
const FORGOTTEN_MS = 130_000;
const QUIET_MS = 60_000;
/** What a program gives itself to say goodbye. */
const FAREWELL_MS = 1_000;

/** Throws with the seed, what was drawn, and the end of the trace (TS-2). */
export function liveThrough(seed: number): void {
  const topology = drawTopology(seed);
  const play = build(topology);
  try {
    const route = routeOf(topology);
    if (route === "none") stayApart(play);
    else meet(play, topology, route);
    for (const end of [play.client(), play.gateway()]) expectNoHarm(end);
    part(play, topology);
  } catch (error) {
    const again = `SEEDS=${seed} COUNT=1 npx vitest run test/sim/random-network.test.ts`;
    throw new Error(`seed ${seed} (${again})\n${JSON.stringify(topology)}\n${play.world.recentTrace()}`, {
      cause: error,
    });
  }
}

function meet(play: Play, topology: Topology, route: Exclude<Route, "none">): void {
  const client = play.client();
  expect(client.reach(boundMs(topology, route)), "the time to the first answer").toBeDefined();
  const isThere = (): boolean => play.path() === route;
  for (let ms = 0; ms < MOVE_MS && !isThere(); ms += 1_000) {
    client.ping();
    play.world.runUntil(isThere, 1_000);
  }
  expect(play.path()).toBe(route);
}

function boundMs(topology: Topology, route: Exclude<Route, "none">): number {
  const { client, gateway, relays, portalDelayMs } = topology;
  const links = [client, gateway, ...relays].map(({ link }) => link);
  if (links.includes("lossy")) return LOSSY_ANSWER_MS;
  if (links.some(isLossyLink)) return LITTLE_LOSS_ANSWER_MS;
  return FIRST_ANSWER_MS[route] + SETUP_ROUND_TRIPS * (roundTripMs(topology) + 2 * portalDelayMs);
}

/** Nothing arrives, and what was tried for it is given up. */
function stayApart(play: Play): void {
  const [client, gateway] = [play.client(), play.gateway()];
  expect(client.reach(HOPELESS_MS)).toBeUndefined();
  play.world.run(HOPELESS_MS);
  expectNoConnection(client);
  expectNoConnection(gateway);
  const before = [client.sent.length, gateway.sent.length];
  play.world.run(QUIET_MS);
  const since = [client.sent.slice(before[0]), gateway.sent.slice(before[1])].flat();
  expect(since.filter(({ destination }) => destination.port !== RELAY_LISTEN)).toEqual([]);
}

/** The client goes; nothing of it is left at the gateway or in the relays. */
function part(play: Play, topology: Topology): void {
  const client = play.client();
  client.line.vanish(true);
  client.tunnel.shutdown(play.world.now());
  play.world.flush(client.host);
  play.world.run(FAREWELL_MS);
  expectNoConnection(client);
  client.host.program = undefined;
  play.world.run(FORGOTTEN_MS);
  expectNoConnection(play.gateway());
  // The one request that frees a port may be lost; then it takes ten minutes.
  if (isLossyLink(topology.client.link)) return;
  for (const [i, { link }] of topology.relays.entries()) {
    if (isLossyLink(link)) continue;
    const { server } = play.relay(`relay-${i + 1}`).relay;
    expect(server.stats().allocations, "allocations: the gateway's alone").toBeLessThanOrEqual(1);
  }
}

function isLossyLink(name: LinkProfile): boolean {
  const { loss = 0, burst } = PROFILES[name] as Partial<LinkConditions>;
  return loss > 0 || burst !== undefined;
}

function expectNoHarm({ complaints, connections }: ClientPeer | GatewayPeer): void {
  expect(complaints.filter(({ line }) => line.startsWith("error"))).toEqual([]);
  const { stun_malformed, unknown_format } = connections.stats().counters;
  expect([stun_malformed, unknown_format]).toEqual([0, 0]);
}

function expectNoConnection({ connections, name }: ClientPeer | GatewayPeer): void {
  expect(connections.stats().connections, `connections of the ${name}`).toEqual([]);
}
