/**
 * Which proxy addresses stand for which name (DN-41 to DN-47). An address is given to one name for the life of
 * the process: a program may keep it long after the answer's TTL.
 */
import { equalIp, type IpAddress, type Prefix } from "../base/index.ts";
import { domainOf, type Name, toName } from "./name.ts";
import { addressAt, addressKey, isProxyAddress, PROXY_V4, PROXY_V6, sizeOf } from "./pools.ts";
import type { AssignedName, IpStack } from "./resolver-face.ts";

export const PROXIES_PER_FAMILY = 4;
export const MAX_NAMES = 65_536;
/** A longer domain would make the event to the gateway too big (TN-41). */
const DOMAIN_CHARACTERS_MAX = 253;

export interface Assignments {
  /** By name and rid. */
  readonly names: Map<string, AssignedName>;
  readonly byAddress: Map<string, AssignedName>;
  /** Where the search for the next free address begins, as an offset in the range. */
  readonly next: { v4: number; v6: number };
  readonly namesMax: number;
}

export type Assignment =
  | { readonly kind: "known" | "new"; readonly name: AssignedName }
  | { readonly kind: "full" | "too-long" };

export function createAssignments(namesMax = MAX_NAMES): Assignments {
  // The network's own address is none of IPv4's.
  return { names: new Map(), byAddress: new Map(), next: { v4: 1, v6: 0 }, namesMax };
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
  const v4 = of.ipStack === "ipv6_only" ? [] : takeFree(table, PROXY_V4, table.next.v4);
  const v6 = of.ipStack === "ipv4_only" ? [] : takeFree(table, PROXY_V6, table.next.v6);
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

/** The next free addresses, upwards; nothing is taken before they are recorded. */
function takeFree(table: Assignments, range: Prefix, from: number): readonly IpAddress[] | undefined {
  const found: IpAddress[] = [];
  for (let offset = from; offset < sizeOf(range); offset++) {
    const address = addressAt(range, offset);
    if (!isProxyAddress(address) || table.byAddress.has(addressKey(address))) continue;
    found.push(address);
    if (found.length === PROXIES_PER_FAMILY) {
      // Addresses are never given back: what lies below stays taken.
      table.next[range === PROXY_V4 ? "v4" : "v6"] = offset + 1;
      return found;
    }
  }
  return undefined;
}

function record(table: Assignments, name: AssignedName): void {
  table.names.set(keyOf(name.domain, name.rid), name);
  for (const address of name.proxies) table.byAddress.set(addressKey(address), name);
}

function keyOf(domain: string, rid: string): string {
  return `${rid} ${domain}`;
}
