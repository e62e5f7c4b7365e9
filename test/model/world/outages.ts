/** Steps in which the world moves or breaks: networks, relays, portal, processes, clocks, and time that passes. */
import { startPortal, stopPortal } from "../../sim/portal.ts";
import { type Case, violation } from "./case.ts";
import { hasOneGatewayEach, isHeld } from "./held.ts";
import { tellResolver } from "./stage.ts";
import { settle, type Transition } from "./transition.ts";

const IDLE_MS = 360_000;
/** Back at the portal after an outage (PT-27). */
const REJOINED_MS = 20_000;
const HOUR_MS = 3_600_000;

export const OUTAGES: readonly Transition[] = [
  {
    name: "roam",
    weight: 2,
    candidates: whole(({ setup }) => setup.clients.map(({ name }) => name)),
    run(c, client, draw) {
      c.play.roam(c.play.client(client), `${draw.of(["cafe", "home"])} of ${client}`);
      c.shaken.add(client);
      settle(c, 2_000);
    },
  },
  {
    name: "a gateway roams",
    weight: 1,
    // With another gateway in the site, the portal may name that one meanwhile (TN-106, PT-84).
    candidates: whole((c) =>
      c.setup.sites.flatMap(({ gateways }) =>
        gateways.flatMap(({ name, nat }) =>
          nat && (gateways.length === 1 || !isHeld(c, { gateway: name })) ? [name] : [],
        ),
      ),
    ),
    run(c, gateway) {
      c.play.roam(c.play.gateway(gateway), `office of ${gateway}`);
      c.shaken.add(gateway);
      settle(c, 2_000);
    },
  },
  {
    name: "a client reconnects to the portal",
    weight: 1,
    candidates: whole(({ setup }) => setup.clients.map(({ name }) => name)),
    run(c, client) {
      c.play.client(client).line.connect();
      settle(c);
    },
  },
  {
    name: "the portal restarts",
    weight: 2,
    candidates: whole(() => [""]),
    run(c, _, draw) {
      stopPortal(c.play.portal);
      c.play.world.run(draw.of([100, 5_000, 60_000]));
      startPortal(c.play.portal);
      c.play.world.run(REJOINED_MS);
    },
  },
  {
    name: "a client restarts",
    weight: 1,
    candidates: whole((c) =>
      c.setup.clients.map(({ name }) => name).filter((client) => !isHeld(c, { client })),
    ),
    run: (c, client, draw) => restart(c, client, draw.of(["shutdown", "kill"])),
  },
  {
    name: "a gateway restarts",
    weight: 1,
    candidates: whole((c) => gatewaysWithout(c)),
    run: (c, gateway, draw) => restart(c, gateway, draw.of(["shutdown", "kill"])),
  },
  {
    name: "a relay reboots unnoticed",
    weight: 1,
    candidates: whole(relaysToSpare),
    run(c, relay) {
      c.play.relay(relay).kill();
      c.play.relay(relay).start();
      c.shaken.add(relay);
      settle(c, 3_000);
    },
  },
  {
    name: "a relay goes and comes",
    weight: 1,
    candidates: whole(relaysToSpare),
    run(c, relay, draw) {
      if (draw.oneIn(2)) c.play.relay(relay).kill();
      else c.play.relay(relay).drain();
      c.play.world.run(draw.of([1_000, 30_000]));
      c.play.relay(relay).start();
      c.shaken.add(relay);
      settle(c, 3_000);
    },
  },
  {
    name: "a clock is set",
    weight: 1,
    candidates: ({ setup }) => [
      ...setup.clients.map(({ name }) => name),
      ...setup.sites.flatMap(({ gateways }) => gateways.map(({ name }) => name)),
    ],
    run(c, name, draw) {
      c.play.hostOf(name).clockSkewMs = draw.of([-HOUR_MS, HOUR_MS, 0]);
    },
  },
  {
    name: "idle",
    weight: 1,
    candidates: whole(() => [""]),
    run(c) {
      c.play.world.run(IDLE_MS);
    },
  },
];

function gatewaysWithout(c: Case): readonly string[] {
  const names = c.setup.sites.flatMap(({ gateways }) => gateways.map(({ name }) => name));
  return names.filter((gateway) => !isHeld(c, { gateway }));
}

/** A connection through the only relay fails with it. */
function relaysToSpare(c: Case): readonly string[] {
  const { relays } = c.setup;
  const isSpare = relays.length > 1 || c.held.length === 0 || hasOneGatewayEach(c);
  return isSpare ? relays.map(({ name }) => name) : [];
}

/** Possible only while nothing is cut off. */
export function whole(candidates: (c: Case) => readonly string[]): (c: Case) => readonly string[] {
  return (c) => (c.reference.cuts.size > 0 ? [] : candidates(c));
}

function restart(c: Case, name: string, how: "shutdown" | "kill"): void {
  const { play, reference } = c;
  play.stop(name, how);
  play.world.run(1_000);
  play.start(name);
  c.shaken.add(name);
  if (name.startsWith("gateway")) c.sites.begin(name);
  else {
    tellResolver(c, name);
    // Without a memory on disk, names are numbered anew.
    for (const key of reference.proxies.keys()) if (key.startsWith(`${name} `)) reference.proxies.delete(key);
  }
  settle(c, 2_000);
  const joined = play.portal.server.status(play.world.now());
  const isBack = [...joined.clients, ...joined.gateways].some(({ externalId }) => externalId === name);
  if (!isBack) violation(`${name} has not joined the portal within two seconds of its start`);
}
