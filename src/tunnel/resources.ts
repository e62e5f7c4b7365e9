/** The client's list of resources and the question "whose is this address?" (TN-18, TN-21, TN-24 to TN-27). */
import { contains, covers, equalPrefix, type IpAddress, type Log, type Prefix } from "../base/index.ts";
import { RESERVED_RANGES, TUNNEL_RANGES } from "./constants.ts";
import type { Filter } from "./filter.ts";

export interface Site {
  readonly id: string;
  readonly name: string;
}

interface ResourceBase {
  /** UUID in lower case; `rid` in logs. */
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly sites: readonly Site[];
  readonly filters: readonly Filter[];
}

/** What the portal lets this client reach. Only `cidr` has an effect yet; the others are listed. */
export type ClientResource =
  | (ResourceBase & { readonly kind: "cidr"; readonly network: Prefix })
  | (ResourceBase & { readonly kind: "dns"; readonly pattern: string; readonly ipStack: string })
  | (ResourceBase & { readonly kind: "internet" });

export interface ResourceTable {
  /** Makes the list equal to `listed`: what is missing goes first, then each is added or updated (TN-24). */
  replaceAll(listed: readonly ClientResource[]): ResourceChange;
  /** Adds or updates one (TN-25). */
  upsert(resource: ClientResource): ResourceChange;
  remove(id: string): ResourceChange;
  get(id: string): ClientResource | undefined;
  all(): readonly ClientResource[];
  /** The CIDR resource that `destination` belongs to (TN-21): longest prefix, authorised, greatest id. */
  find(destination: IpAddress, isAuthorised: (id: string) => boolean): ClientResource | undefined;
  /** One resource per distinct network, chosen as `find` chooses. */
  networks(isAuthorised: (id: string) => boolean): readonly CidrResource[];
}

export type CidrResource = Extract<ClientResource, { kind: "cidr" }>;

/** Ids whose access ended (removed, or replaced by something else of the same id), and whether anything changed. */
export interface ResourceChange {
  readonly removed: readonly string[];
  readonly isChanged: boolean;
}

export function createResourceTable(log: Log): ResourceTable {
  const resources = new Map<string, ClientResource>();

  function upsert(resource: ClientResource): ResourceChange {
    if (isReserved(resource, log)) return remove(resource.id);
    const known = resources.get(resource.id);
    resources.set(resource.id, resource);
    if (known === undefined) return { removed: [], isChanged: true };
    // Access was granted for another address: it ends, and must be asked for again (TN-25).
    if (!isSameAccess(known, resource)) return { removed: [resource.id], isChanged: true };
    return { removed: [], isChanged: JSON.stringify(known) !== JSON.stringify(resource) };
  }

  function remove(id: string): ResourceChange {
    return resources.delete(id) ? { removed: [id], isChanged: true } : { removed: [], isChanged: false };
  }

  function networks(isAuthorised: (id: string) => boolean): CidrResource[] {
    const chosen: CidrResource[] = [];
    for (const resource of resources.values()) {
      if (resource.kind !== "cidr") continue;
      const at = chosen.findIndex((other) => equalPrefix(other.network, resource.network));
      const rival = chosen[at];
      if (rival === undefined) chosen.push(resource);
      else if (isBetter(resource, rival, isAuthorised)) chosen[at] = resource;
    }
    return chosen;
  }

  return {
    replaceAll(listed) {
      const ids = new Set(listed.map(({ id }) => id));
      const gone = [...resources.keys()].filter((id) => !ids.has(id));
      const changes = [...gone.map(remove), ...listed.map(upsert)];
      return {
        removed: changes.flatMap((change) => change.removed),
        isChanged: changes.some((change) => change.isChanged),
      };
    },
    upsert,
    remove,
    get: (id) => resources.get(id),
    all: () => [...resources.values()].sort(byRankAndName),
    find(destination, isAuthorised) {
      let best: CidrResource | undefined;
      for (const resource of networks(isAuthorised)) {
        if (!contains(resource.network, destination)) continue;
        if (best === undefined || resource.network.bits > best.network.bits) best = resource;
      }
      return best;
    },
    networks,
  };
}

function isReserved(resource: ClientResource, log: Log): boolean {
  if (resource.kind !== "cidr") return false;
  const range = [...TUNNEL_RANGES, ...RESERVED_RANGES].find((reserved) => covers(reserved, resource.network));
  if (range === undefined) return false;
  log.warn?.("resource ignored: its network lies in a range that the tunnel itself uses", {
    rid: resource.id,
    name: resource.name,
  });
  return true;
}

function isSameAccess(a: ClientResource, b: ClientResource): boolean {
  const sites = (resource: ClientResource): string =>
    resource.sites
      .map(({ id }) => id)
      .sort()
      .join();
  if (a.kind !== b.kind || sites(a) !== sites(b)) return false;
  if (a.kind === "cidr" && b.kind === "cidr") return equalPrefix(a.network, b.network);
  if (a.kind === "dns" && b.kind === "dns") return a.pattern === b.pattern && a.ipStack === b.ipStack;
  return true;
}

function isBetter(a: CidrResource, b: CidrResource, isAuthorised: (id: string) => boolean): boolean {
  const [aHas, bHas] = [isAuthorised(a.id), isAuthorised(b.id)];
  return aHas === bHas ? a.id > b.id : aHas;
}

/** The order in which resources are listed: internet first, then by name, then by id (TN-19). */
function byRankAndName(a: ClientResource, b: ClientResource): number {
  const rank = (resource: ClientResource): number => (resource.kind === "internet" ? 0 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
