/** Names of resources, as the parts of the client speak of them. */
import { type Prefix, toPrefix } from "../base/index.ts";
import type { AssignedName } from "../dns/index.ts";

/** A name, and whose it is. */
export type Named = Pick<AssignedName, "rid" | "domain">;

/** What the flows of a name are found by. */
export function ownerOf({ rid, domain }: Named): string {
  return `${rid} ${domain}`;
}

/** Proxy addresses, by resource: a gateway may speak for those of its own (TN-39). */
export function proxiesByResource(names: Iterable<AssignedName>): ReadonlyMap<string, readonly Prefix[]> {
  const proxies = new Map<string, Prefix[]>();
  for (const name of names) {
    const list = proxies.get(name.rid) ?? [];
    list.push(...name.proxies.map((address) => toPrefix(address, address.length * 8)));
    proxies.set(name.rid, list);
  }
  return proxies;
}
