/** Steps of the administrator, of the users at their switches, and of those who keep the names. */
import { reloadPortal } from "../../sim/portal.ts";
import type { Case } from "./case.ts";
import { isHeld } from "./held.ts";
import { DOMAINS, drawFilters, drawRecords, NETWORKS, type Resource } from "./setup.ts";
import { settle, type Transition } from "./transition.ts";

export const ADMINISTRATION: readonly Transition[] = [
  {
    name: "list a resource",
    weight: 5,
    candidates: ({ reference }) =>
      namesOf(reference.resources.values()).filter((name) => !reference.listed.has(name)),
    run(c, name) {
      c.reference.listed.add(name);
      reload(c);
    },
  },
  {
    name: "remove a resource",
    weight: 1,
    candidates: (c) => listedAndFree(c).map(({ name }) => name),
    run(c, name) {
      c.reference.listed.delete(name);
      reload(c);
    },
  },
  {
    name: "allow",
    weight: 3,
    candidates: ({ setup, reference }) =>
      setup.clients.flatMap(({ name }) =>
        namesOf(reference.resources.values()).flatMap((resource) =>
          reference.access.has(`${name} ${resource}`) ? [] : [`${name} ${resource}`],
        ),
      ),
    run(c, pair) {
      c.reference.access.add(pair);
      reload(c);
    },
  },
  {
    name: "forbid",
    weight: 2,
    candidates: (c) =>
      [...c.reference.access].filter((pair) => {
        const [client = "", resource = ""] = pair.split(" ");
        return !isHeld(c, { client, resource });
      }),
    run(c, pair) {
      c.reference.access.delete(pair);
      reload(c);
    },
  },
  {
    name: "change a network",
    weight: 1,
    candidates: (c) => listedAndFree(c).flatMap(({ name, kind }) => (kind === "cidr" ? [name] : [])),
    run: (c, name, draw) => change(c, name, { address: draw.of(NETWORKS) }),
  },
  {
    name: "move to another site",
    weight: 1,
    candidates: (c) => (c.setup.sites.length > 1 ? listedAndFree(c).map(({ name }) => name) : []),
    run: (c, name, draw) => change(c, name, { site: draw.of(c.setup.sites).name }),
  },
  {
    name: "change filters",
    weight: 2,
    candidates: (c) => listedAndFree(c).flatMap(({ name, kind }) => (kind === "internet" ? [] : [name])),
    run: (c, name, draw) => change(c, name, { filters: drawFilters(draw) }),
  },
  {
    name: "turn the internet switch",
    weight: 1,
    candidates: ({ setup }) => setup.clients.map(({ name }) => name),
    run(c, client) {
      const { internet } = c.reference;
      if (!internet.delete(client)) internet.add(client);
      const peer = c.play.client(client);
      peer.tunnel.setInternet(c.play.world.now(), internet.has(client));
      c.play.world.flush(peer.host);
      settle(c);
    },
  },
  {
    name: "change records",
    weight: 5,
    candidates: () => DOMAINS,
    run(c, domain, draw) {
      c.reference.records.set(domain, draw.oneIn(5) ? [] : drawRecords(draw));
    },
  },
  {
    name: "break a name, or mend it",
    weight: 1,
    candidates: () => DOMAINS,
    run({ reference: { failing } }, domain) {
      if (!failing.delete(domain)) failing.add(domain);
    },
  },
];

function change(c: Case, name: string, part: Partial<Resource>): void {
  const { resources } = c.reference;
  const before = resources.get(name);
  if (before === undefined) return;
  resources.set(name, { ...before, ...part });
  reload(c);
}

export function reload(c: Case): void {
  reloadPortal(c.play.portal, c.file());
  settle(c);
}

function namesOf(resources: Iterable<Resource>): readonly string[] {
  return [...resources].map(({ name }) => name);
}

/** A held connection ends with the resource: what has one is left alone (TN-98). */
function listedAndFree(c: Case): readonly Resource[] {
  const { resources, listed } = c.reference;
  return [...resources.values()].filter(({ name }) => listed.has(name) && !isHeld(c, { resource: name }));
}
