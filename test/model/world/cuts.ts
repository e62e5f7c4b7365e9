/** Steps that cut somebody off, and those that join what was cut (TN-98, TS-14). */
import { type Case, violation } from "./case.ts";
import { hasOneGatewayEach, isHeld } from "./held.ts";
import { whole } from "./outages.ts";
import { settle, type Transition } from "./transition.ts";

/** A connection to the portal whose other end is gone is found dead, and made anew (PT §3). */
const REJOINED_MS = 60_000;
/** A dead path has failed, and another one is there (SN-95). */
const NOTICED_MS = 30_000;

export const CUTS: readonly Transition[] = [
  {
    name: "cut off from the portal",
    weight: 3,
    candidates: (c) => peersOf(c).filter((name) => !c.reference.cuts.has(name)),
    run(c, name) {
      c.play.portal.cutOff.add(c.play.hostOf(name));
      c.reference.cuts.set(name, "portal");
    },
  },
  {
    name: "cut off from everything",
    weight: 2,
    candidates: (c) => peersOf(c).filter((name) => !c.reference.cuts.has(name) && !isHeldBy(c, name)),
    run(c, name) {
      setLink(c, name, true);
      c.reference.cuts.set(name, "all");
    },
  },
  {
    name: "time passes while somebody is cut off",
    weight: 4,
    candidates: ({ reference }) => (reference.cuts.size > 0 ? [""] : []),
    run: (c, _, draw) => c.play.world.run(draw.of([1_000, 10_000, 50_000])),
  },
  {
    name: "join what was cut",
    weight: 12,
    candidates: ({ reference }) => (reference.cuts.size > 0 ? [""] : []),
    run(c) {
      for (const [name, what] of c.reference.cuts) {
        if (what === "portal") c.play.portal.cutOff.delete(c.play.hostOf(name));
        else setLink(c, name, false);
        c.shaken.add(name);
      }
      c.reference.cuts.clear();
      c.play.world.run(REJOINED_MS);
      expectJoined(c);
    },
  },
  {
    name: "a short cut under open connections",
    weight: 2,
    candidates: whole((c) => peersOf(c).filter((name) => isHeldBy(c, name) && hasOneGatewayEach(c))),
    run(c, name, draw) {
      setLink(c, name, true);
      c.play.world.run(draw.of([500, 3_000, 10_000, 25_000]));
      setLink(c, name, false);
      c.shaken.add(name);
      c.play.world.run(NOTICED_MS);
      settle(c);
    },
  },
];

function peersOf({ setup }: Case): readonly string[] {
  const gateways = setup.sites.flatMap((site) => site.gateways);
  return [...setup.clients, ...gateways].map(({ name }) => name);
}

function isHeldBy(c: Case, name: string): boolean {
  return isHeld(c, name.startsWith("gateway") ? { gateway: name } : { client: name });
}

function setLink(c: Case, name: string, isDown: boolean): void {
  const host = c.play.hostOf(name);
  host.link = { ...host.link, isDown };
}

export function expectJoined(c: Case): void {
  const { clients, gateways } = c.play.portal.server.status(c.play.world.now());
  const present = new Set([...clients, ...gateways].map(({ externalId }) => externalId));
  const missing = peersOf(c).filter((name) => !present.has(name));
  if (missing.length > 0) violation(`not back at the portal: ${missing.join(" ")}`);
}
