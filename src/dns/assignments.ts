/**
 * Which proxy addresses stand for which name (DN-41 to DN-47). An address is given to one name for the life of
 * the process: a program may keep it long after the answer's TTL.
 */
import { equalIp, type IpAddress, type Prefix } from "../base/index.ts";
import { domainOf, type Name, toName } from "./name.ts";
import { addressAt, addressKey, isProxyAddress, offsetIn, PROXY_V4, PROXY_V6, sizeOf } from "./pools.ts";
import type { AssignedName, IpStack } from "./resolver-face.ts";

export const PROXIES_PER_FAMILY = 4;
export const MAX_NAMES = 65_536;
/** A longer domain would make the event to the gateway too big (TN-41). */
const DOMAIN_CHARACTERS_MAX = 253;

/** Addresses that stand together for one resource, so that its gateway may speak for all of them (TN-39). */
const BLOCK_ADDRESSES = 256;
/** The owner of a block that has names of several resources. */
const SHARED = "";

/** A range, by offsets. */
interface Pool {
  readonly range: Prefix;
  /** By block: the resource that has names there. */
  readonly owners: Map<number, string>;
  /** By resource: where the search in its blocks begins. */
  readonly next: Map<string, number>;
  /** The same for those that get no block, because none is left. */
  scarce: number;
}

export interface Assignments {
  /** By name and rid. */
  readonly names: Map<string, AssignedName>;
  readonly byAddress: Map<string, AssignedName>;
  readonly v4: Pool;
  readonly v6: Pool;
  readonly namesMax: number;
}

export type Assignment =
  | { readonly kind: "known" | "new"; readonly name: AssignedName }
  | { readonly kind: "full" | "too-long" };

export function createAssignments(namesMax = MAX_NAMES): Assignments {
  const pool = (range: Prefix): Pool => ({ range, owners: new Map(), next: new Map(), scarce: 0 });
  return { names: new Map(), byAddress: new Map(), v4: pool(PROXY_V4), v6: pool(PROXY_V6), namesMax };
}

export function findAssigned(table: Assignments, domain: string, rid: string): AssignedName | undefined {
  return table.names.get(keyOf(domain, rid));
}

/** The name's addresses; the first time they are chosen, both families at once. */
export function assign(table: Assignments, name: Name, of: { rid: string; ipStack: IpStack }): Assignment {
  const domain = domainOf(name);
  const known = findAssigned(table, domain, of.rid);
  if (known !== undefined) return { kind: "known", name: known };
  if (domain.length > DOMAIN_CHARACTERS_MAX) return { kind: "too-long" };
  if (table.names.size >= table.namesMax) return { kind: "full" };
  const v4 = of.ipStack === "ipv6_only" ? [] : takeFree(table, table.v4, of.rid);
  const v6 = of.ipStack === "ipv4_only" ? [] : takeFree(table, table.v6, of.rid);
  if (v4 === undefined || v6 === undefined) return { kind: "full" };
  const assigned = { domain, rid: of.rid, proxies: [...v4, ...v6] };
  record(table, assigned);
  return { kind: "new", name: assigned };
}

/** Takes over what an earlier process gave (DN-46): all of it, or nothing if anything is wrong. */
export function restoreAssignments(table: Assignments, names: readonly AssignedName[]): boolean {
  const seen = new Set<string>(table.byAddress.keys());
  const keys = new Set<string>(table.names.keys());
  if (names.length + keys.size > table.namesMax) return false;
  for (const { domain, rid, proxies } of names) {
    const name = toName(domain);
    if (name === undefined || domainOf(name) !== domain || !isWhole(proxies)) return false;
    for (const key of proxies.map(addressKey)) {
      if (seen.has(key)) return false;
      seen.add(key);
    }
    if (keys.has(keyOf(domain, rid))) return false;
    keys.add(keyOf(domain, rid));
  }
  for (const name of names) record(table, name);
  return true;
}

export function assignmentOf({ byAddress }: Assignments, address: IpAddress): AssignedName | undefined {
  return byAddress.get(addressKey(address));
}

/** Four of IPv4, four of IPv6, or both, in this order and from our ranges. */
function isWhole(proxies: readonly IpAddress[]): boolean {
  const v4 = proxies.filter(({ length }) => length === 4);
  const v6 = proxies.filter(({ length }) => length === 16);
  const isCount = (count: number): boolean => count === 0 || count === PROXIES_PER_FAMILY;
  const isOrdered = proxies.every((address, i) => {
    const wanted = i < v4.length ? v4[i] : v6[i - v4.length];
    return wanted !== undefined && equalIp(address, wanted);
  });
  return (
    proxies.length > 0 &&
    isCount(v4.length) &&
    isCount(v6.length) &&
    isOrdered &&
    proxies.every(isProxyAddress)
  );
}

/** The next free addresses of the resource's blocks, upwards; nothing is taken before they are recorded. */
function takeFree(table: Assignments, pool: Pool, rid: string): readonly IpAddress[] | undefined {
  const found: IpAddress[] = [];
  let offset = pool.next.get(rid) ?? blockBehind(pool, rid, -1);
  for (; offset !== undefined; offset = following(pool, rid, offset)) {
    const address = freeAt(table, pool, offset);
    if (address === undefined) continue;
    found.push(address);
    if (found.length < PROXIES_PER_FAMILY) continue;
    // Addresses are never given back: what lies below stays taken.
    pool.next.set(rid, offset);
    return found;
  }
  return takeScarce(table, pool);
}

/** Wherever one is free. */
function takeScarce(table: Assignments, pool: Pool): readonly IpAddress[] | undefined {
  const found: IpAddress[] = [];
  for (let offset = pool.scarce; offset < sizeOf(pool.range); offset++) {
    const address = freeAt(table, pool, offset);
    if (address === undefined) continue;
    found.push(address);
    if (found.length < PROXIES_PER_FAMILY) continue;
    pool.scarce = offset;
    return found;
  }
  return undefined;
}

function freeAt({ byAddress }: Assignments, { range }: Pool, offset: number): IpAddress | undefined {
  const address = addressAt(range, offset);
  return isProxyAddress(address) && !byAddress.has(addressKey(address)) ? address : undefined;
}

function following(pool: Pool, rid: string, offset: number): number | undefined {
  const next = offset + 1;
  return next % BLOCK_ADDRESSES === 0 ? blockBehind(pool, rid, Math.floor(offset / BLOCK_ADDRESSES)) : next;
}

/** The first offset of the next block that is the resource's, or nobody's; `undefined`: there is none. */
function blockBehind({ range, owners }: Pool, rid: string, block: number): number | undefined {
  const count = sizeOf(range) / BLOCK_ADDRESSES;
  for (let next = block + 1; next < count; next++) {
    const owner = owners.get(next);
    if (owner === undefined || owner === rid) return next * BLOCK_ADDRESSES;
  }
  return undefined;
}

function record(table: Assignments, name: AssignedName): void {
  table.names.set(keyOf(name.domain, name.rid), name);
  for (const address of name.proxies) {
    table.byAddress.set(addressKey(address), name);
    const { range, owners } = address.length === 4 ? table.v4 : table.v6;
    const block = Math.floor(offsetIn(range, address) / BLOCK_ADDRESSES);
    const owner = owners.get(block) ?? name.rid;
    owners.set(block, owner === name.rid ? owner : SHARED);
  }
}

function keyOf(domain: string, rid: string): string {
  return `${rid} ${domain}`;
}
