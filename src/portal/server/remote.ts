/** Whose address counts: the connection's, or what a trusted proxy says of it (PT-73). */
import { contains, type IpAddress, type Prefix, parseIp, toHex } from "../../base/index.ts";

/** One IPv4 address, or the /64 that one IPv6 host can choose from. */
export function networkOf(address: IpAddress): string {
  return toHex(address.length === 16 ? address.slice(0, 8) : address);
}

export function isTrusted(proxies: readonly Prefix[], address: IpAddress): boolean {
  return proxies.some((proxy) => contains(proxy, address));
}

/** More entries than these are not looked at: no chain of proxies is so long. */
const MAX_ENTRIES = 32;

/**
 * The right-most address of `X-Forwarded-For` that no trusted proxy has. Entries left of it are what
 * somebody claims. An unreadable entry ends the search at the proxy that passed it on.
 */
export function forwardedAddress(
  peer: IpAddress,
  header: string | readonly string[] | undefined,
  proxies: readonly Prefix[],
): IpAddress {
  let address = peer;
  const entries = (typeof header === "string" ? [header] : (header ?? [])).join(",").split(",");
  for (let i = entries.length - 1; i >= Math.max(0, entries.length - MAX_ENTRIES); i--) {
    if (!isTrusted(proxies, address)) return address;
    const next = parseEntry(entries[i] ?? "");
    if (next === undefined) return address;
    address = next;
  }
  return address;
}

/** `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, `::ffff:192.0.2.1`. */
function parseEntry(text: string): IpAddress | undefined {
  const bare = text
    .trim()
    .replace(/^\[([^\]]*)\](?::\d+)?$/, "$1")
    .replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, "$1")
    .replace(/^::ffff:(?=\d+\.)/i, "");
  const address = parseIp(bare);
  return address.ok ? address.value : undefined;
}
