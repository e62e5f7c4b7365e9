/** The client's list of resources and the question "whose is this address?" (TN-18, TN-21, TN-24 to TN-27). */
import { contains, covers, equalPrefix, type IpAddress, type Log } from "../base/index.ts";
import type { ClientResource } from "../portal/protocol/index.ts";
import { RESERVED_RANGES, TUNNEL_RANGES } from "./constants.ts";

export interface ResourceTable {
  /** Makes the list equal to `listed`: what is missing goes first, then each is added or updated (TN-24). */
  replaceAll(listed: readonly ClientResource[]): ResourceChange;
  /** Adds or updates one (TN-25). */
  upsert(resource: ClientResource): ResourceChange;
  remove(rid: string): ResourceChange;
  get(rid: string): ClientResource | undefined;
  all(): readonly ClientResource[];
  /** The CIDR resource that `destination` belongs to (TN-21): longest prefix, authorised, greatest id. */
  find(destination: IpAddress, isAuthorised: (rid: string) => boolean): ClientResource | undefined;
  /** One resource per distinct network, chosen as `find` chooses. */
  networks(isAuthorised: (rid: string) => boolean): readonly CidrResource[];
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
    if (isReserved(resource, log)) return remove(resource.rid);
    const known = resources.get(resource.rid);
    resources.set(resource.rid, resource);
    if (known === undefined) return { removed: [], isChanged: true };
    // Access was granted for another address: it ends, and must be asked for again (TN-25).
    if (!isSameAccess(known, resource)) return { removed: [resource.rid], isChanged: true };
    return { removed: [], isChanged: JSON.stringify(known) !== JSON.stringify(resource) };
  }

  function remove(rid: string): ResourceChange {
    return resources.delete(rid) ? { removed: [rid], isChanged: true } : { removed: [], isChanged: false };
  }

  function networks(isAuthorised: (rid: string) => boolean): CidrResource[] {
    const chosen: CidrResource[] = [];
    for (const resource of resources.values()) {
      if (resource.kind !== "cidr") continue;
      const at = chosen.findIndex((other) => equalPrefix(other.address, resource.address));
      const rival = chosen[at];
      if (rival === undefined) chosen.push(resource);
      else if (isBetter(resource, rival, isAuthorised)) chosen[at] = resource;
    }
    return chosen;
  }

  return {
    replaceAll(listed) {
      const rids = new Set(listed.map(({ rid }) => rid));
      const gone = [...resources.keys()].filter((rid) => !rids.has(rid));
      const changes = [...gone.map(remove), ...listed.map(upsert)];
      return {
        removed: changes.flatMap((change) => change.removed),
        isChanged: changes.some((change) => change.isChanged),
      };
    },
    upsert,
    remove,
    get: (rid) => resources.get(rid),
    all: () => [...resources.values()].sort(byRankAndName),
    find(destination, isAuthorised) {
      let best: CidrResource | undefined;
      for (const resource of networks(isAuthorised)) {
        if (!contains(resource.address, destination)) continue;
        if (best === undefined || resource.address.bits > best.address.bits) best = resource;
      }
      return best;
    },
    networks,
  };
}

function isReserved(resource: ClientResource, log: Log): boolean {
  if (resource.kind !== "cidr") return false;
  const range = [...TUNNEL_RANGES, ...RESERVED_RANGES].find((reserved) => covers(reserved, resource.address));
  if (range === undefined) return false;
  log.warn?.("resource ignored: its network lies in a range that the tunnel itself uses", {
    rid: resource.rid,
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
  if (a.kind === "cidr" && b.kind === "cidr") return equalPrefix(a.address, b.address);
  if (a.kind === "dns" && b.kind === "dns") return a.address === b.address && a.ipStack === b.ipStack;
  return true;
}

function isBetter(a: CidrResource, b: CidrResource, isAuthorised: (rid: string) => boolean): boolean {
  const [aHas, bHas] = [isAuthorised(a.rid), isAuthorised(b.rid)];
  return aHas === bHas ? a.rid > b.rid : aHas;
}

/** The order in which resources are listed: internet first, then by name, then by id (TN-19). */
function byRankAndName(a: ClientResource, b: ClientResource): number {
  const rank = (resource: ClientResource): number => (resource.kind === "internet" ? 0 : 1);
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.rid < b.rid ? -1 : a.rid > b.rid ? 1 : 0;
}
