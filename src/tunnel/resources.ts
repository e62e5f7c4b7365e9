/** The client's list of resources and the question "whose is this address?" (TN-18, TN-21, TN-24 to TN-27). */
import { contains, covers, equalValues, formatPrefix, type Log, type Prefix } from "../base/index.ts";
import type { ClientResource } from "../portal/protocol/index.ts";
import { INTERNAL_RANGES } from "./constants.ts";
import type { Flow, Reach } from "./reach/face.ts";
import { reachOf } from "./reach/reach.ts";

export interface ListedResource {
  readonly resource: ClientResource;
  readonly reach: Reach;
}

export interface ResourceTable {
  readonly listed: Map<string, ListedResource>;
  /** The user's switch: whatever the portal lists or takes back, only the user changes it (TN-23). */
  isInternetOn: boolean;
  readonly log: Log;
}

/** Ids whose access ended (removed, or replaced by something else of the same id), and whether anything changed. */
export interface ResourceChange {
  readonly removed: readonly string[];
  readonly isChanged: boolean;
}

/** A network, and the resource that it belongs to (TN-21 no. 2). */
export interface ResourceNetwork {
  readonly network: Prefix;
  readonly rid: string;
  /** A resource of this very network has filters: whose a packet is, its port decides. */
  readonly isFiltered: boolean;
}

export function createResourceTable(log: Log, isInternetOn = false): ResourceTable {
  return { listed: new Map(), isInternetOn, log };
}

/** Turning it off is like removing it without forgetting it (TN-23). */
export function switchInternet(table: ResourceTable, isOn: boolean): ResourceChange {
  if (table.isInternetOn === isOn) return { removed: [], isChanged: false };
  table.isInternetOn = isOn;
  const rids = [...table.listed].filter(([, { reach }]) => reach.isRest).map(([rid]) => rid);
  return { removed: isOn ? [] : rids, isChanged: rids.length > 0 };
}

/** Whether packets go by it: the internet resource is only listed while its switch is off. */
export function isActive({ isInternetOn }: ResourceTable, { reach }: ListedResource): boolean {
  return isInternetOn || !reach.isRest;
}

/** Makes the list equal to `wanted`: what is missing goes first, then each is added or updated (TN-24). */
export function replaceResources(table: ResourceTable, wanted: readonly ClientResource[]): ResourceChange {
  const rids = new Set(wanted.map(({ rid }) => rid));
  const gone = [...table.listed.keys()].filter((rid) => !rids.has(rid));
  const changes = [
    ...gone.map((rid) => removeResource(table, rid)),
    ...wanted.map((resource) => upsertResource(table, resource)),
  ];
  return {
    removed: changes.flatMap((change) => change.removed),
    isChanged: changes.some((change) => change.isChanged),
  };
}

/** Adds or updates one (TN-25). */
export function upsertResource(table: ResourceTable, resource: ClientResource): ResourceChange {
  const { rid } = resource;
  const next = { resource, reach: reachOf(resource) };
  if (isReserved(next, table.log)) return removeResource(table, rid);
  const known = table.listed.get(rid);
  table.listed.set(rid, next);
  if (known === undefined) return { removed: [], isChanged: true };
  // Access was granted to something else: it ends, and must be asked for again.
  if (!isSameAccess(known, next)) return { removed: [rid], isChanged: true };
  return { removed: [], isChanged: !equalValues(known.resource, resource) };
}

export function removeResource({ listed }: ResourceTable, rid: string): ResourceChange {
  return listed.delete(rid) ? { removed: [rid], isChanged: true } : { removed: [], isChanged: false };
}

/** In the order in which they are shown: internet first, then by name, then by id (TN-19). */
export function allResources({ listed }: ResourceTable): readonly ListedResource[] {
  return [...listed.values()].sort(byRankAndName);
}

/**
 * The resource that a flow to an address belongs to (TN-21): a network before the internet, one whose filters
 * permit it before one whose do not, then the longest prefix, then an authorised one, then the greatest id.
 */
export function findResource(
  table: ResourceTable,
  flow: Flow,
  isAuthorised: (rid: string) => boolean,
): ListedResource | undefined {
  const found = activeResources(table).flatMap((entry) =>
    entry.reach.networks
      .filter((network) => contains(network, flow.destination))
      .map(({ bits }) => ({ entry, bits, isAllowed: entry.reach.permits(flow) })),
  );
  found.sort((a, b) => {
    if (a.entry.reach.isRest !== b.entry.reach.isRest) return a.entry.reach.isRest ? 1 : -1;
    if (a.isAllowed !== b.isAllowed) return a.isAllowed ? -1 : 1;
    if (a.bits !== b.bits) return b.bits - a.bits;
    return isBetter(a.entry.resource.rid, b.entry.resource.rid, isAuthorised) ? -1 : 1;
  });
  return found[0]?.entry;
}

/** Each distinct network once, with the resource that it belongs to as far as filters do not decide. */
export function networksOf(
  table: ResourceTable,
  isAuthorised: (rid: string) => boolean,
): readonly ResourceNetwork[] {
  const chosen = new Map<string, ResourceNetwork & { readonly isRest: boolean }>();
  for (const { resource, reach } of activeResources(table)) {
    const { rid } = resource;
    const { isRest } = reach;
    for (const network of reach.networks) {
      const key = formatPrefix(network);
      const rival = chosen.get(key);
      const isFirst = rival === undefined || (rival.isRest && !isRest);
      const mayReplace = rival?.isRest === isRest && isBetter(rid, rival.rid, isAuthorised);
      const isFiltered = reach.isFiltered || (rival?.isFiltered ?? false);
      const owner = isFirst || mayReplace ? { rid, isRest } : rival;
      chosen.set(key, { ...owner, network, isFiltered });
    }
  }
  return [...chosen.values()].map(({ network, rid, isFiltered }) => ({ network, rid, isFiltered }));
}

/** Those that packets go by. */
export function activeResources(table: ResourceTable): readonly ListedResource[] {
  return [...table.listed.values()].filter((entry) => isActive(table, entry));
}

function isReserved({ resource, reach }: ListedResource, log: Log): boolean {
  const { rid, name } = resource;
  if (!reach.networks.some((network) => INTERNAL_RANGES.some((range) => covers(range, network))))
    return false;
  log.warn?.("resource ignored: its network lies in a range that the tunnel itself uses", { rid, name });
  return true;
}

function isSameAccess(a: ListedResource, b: ListedResource): boolean {
  const sites = ({ resource }: ListedResource): string[] => resource.sites.map(({ id }) => id).sort();
  return a.reach.identity === b.reach.identity && equalValues(sites(a), sites(b));
}

function isBetter(rid: string, rival: string, isAuthorised: (rid: string) => boolean): boolean {
  const [has, rivalHas] = [isAuthorised(rid), isAuthorised(rival)];
  return has === rivalHas ? rid > rival : has;
}

function byRankAndName(a: ListedResource, b: ListedResource): number {
  if (a.reach.rank !== b.reach.rank) return a.reach.rank - b.reach.rank;
  const [x, y] = [a.resource, b.resource];
  if (x.name !== y.name) return x.name < y.name ? -1 : 1;
  return x.rid < y.rid ? -1 : x.rid > y.rid ? 1 : 0;
}
