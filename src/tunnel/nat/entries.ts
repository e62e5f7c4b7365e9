/**
 * One client's translation entries at a gateway: which real address a proxy address stands for (TN-63, TN-64).
 */
import { contains, equalIp, type IpAddress, LINK_LOCAL, type Prefix, prefix } from "../../base/index.ts";
import { INTERNAL_RANGES, PROXIES_PER_FAMILY } from "../constants.ts";
import { isProxyAddress } from "../ranges.ts";
import { addressKey } from "./keys.ts";

/** A name of a resource. */
export interface NamedResource {
  readonly rid: string;
  readonly domain: string;
}

export interface Entry extends NamedResource {
  readonly proxy: IpAddress;
  /** Absent: the name has no address of this family. */
  readonly real?: IpAddress;
}

/** By proxy address. */
export type Entries = Map<string, Entry>;

export function createEntries(): Entries {
  return new Map();
}

export function entryOf(entries: Entries, proxy: IpAddress): Entry | undefined {
  return entries.get(addressKey(proxy));
}

/**
 * Whether a client may have such a list: otherwise it could name any address as proxy address, and the filters of
 * one resource would open that address (TN-63 no. 2).
 */
export function isProxyList(proxies: readonly IpAddress[]): boolean {
  const distinct = new Set(proxies.map(addressKey));
  return (
    proxies.length > 0 &&
    proxies.length <= 2 * PROXIES_PER_FAMILY &&
    distinct.size === proxies.length &&
    proxies.every(isProxyAddress)
  );
}

/** Addresses that no name may lead to, whoever controls its domain (TN-64 no. 2). */
const NEVER_REAL: readonly Prefix[] = [
  prefix("0.0.0.0/8"),
  prefix("127.0.0.0/8"),
  prefix("224.0.0.0/4"),
  prefix("255.255.255.255/32"),
  prefix("::/128"),
  prefix("::1/128"),
  prefix("::ffff:0:0/96"),
  prefix("ff00::/8"),
  ...INTERNAL_RANGES,
];

export function usableReals(
  addresses: readonly IpAddress[],
  { allowLinkLocal }: { readonly allowLinkLocal: boolean },
): readonly IpAddress[] {
  const refused = allowLinkLocal ? NEVER_REAL : [...NEVER_REAL, ...LINK_LOCAL];
  return addresses.filter((address) => !refused.some((range) => contains(range, address)));
}

/** Whether the list gives an address of another name away: the client has begun to number anew (TN-64 no. 3). */
export function isRenumbered(
  entries: Entries,
  { rid, domain }: NamedResource,
  proxies: readonly IpAddress[],
): boolean {
  return proxies.some((proxy) => {
    const entry = entryOf(entries, proxy);
    return entry !== undefined && (entry.rid !== rid || entry.domain !== domain);
  });
}

/** Both lists in numeric order per family; the i-th proxy address gets the (i mod n)-th real one (TN-64 no. 4). */
export function setEntries(
  entries: Entries,
  { rid, domain }: NamedResource,
  { proxies, reals }: { readonly proxies: readonly IpAddress[]; readonly reals: readonly IpAddress[] },
): void {
  for (const bytes of [4, 16]) {
    const ofFamily = (list: readonly IpAddress[]) =>
      list.filter(({ length }) => length === bytes).toSorted(byValue);
    const real = ofFamily(reals).filter(
      (address, i, all) => i === 0 || !equalIp(address, all[i - 1] ?? address),
    );
    for (const [i, proxy] of ofFamily(proxies).entries()) {
      const target = real[i % real.length];
      entries.set(addressKey(proxy), { rid, domain, proxy, ...(target !== undefined && { real: target }) });
    }
  }
}

/** What cannot be resolved just now keeps what it had; what had nothing gets entries without address. */
export function keepEntries(entries: Entries, name: NamedResource, proxies: readonly IpAddress[]): void {
  const missing = proxies.filter((proxy) => entryOf(entries, proxy) === undefined);
  setEntries(entries, name, { proxies: missing, reals: [] });
}

function byValue(a: IpAddress, b: IpAddress): number {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}
