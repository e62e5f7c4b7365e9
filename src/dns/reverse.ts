/** Names of addresses: `1.0.96.100.in-addr.arpa` and the like (RFC 1035 §3.5, RFC 3596 §2.5). */
import type { IpAddress } from "../base/index.ts";
import { isWithin, labelsOf, toName } from "./name.ts";

/** The address that a name is the reverse name of (DN-37). */
export function addressOfReverse(key: string): IpAddress | undefined {
  const labels = labelsOf(key);
  const zone = labels.slice(-2).join(".");
  const parts = labels.slice(0, -2).reverse();
  if (zone === "in-addr.arpa" && parts.length === 4) {
    const isDecimal = parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
    return isDecimal ? Uint8Array.from(parts, Number) : undefined;
  }
  if (zone !== "ip6.arpa" || parts.length !== 32) return undefined;
  if (!parts.every((part) => /^[0-9a-f]$/.test(part))) return undefined;
  return Uint8Array.from({ length: 16 }, (_, i) =>
    Number.parseInt(`${parts[2 * i] ?? ""}${parts[2 * i + 1] ?? ""}`, 16),
  );
}

/** Reverse zones of 100.64.0.0/10 and fd00:2021:1111::/48. */
const INTERNAL_ZONES: readonly string[] = [
  ...Array.from({ length: 64 }, (_, i) => `${64 + i}.100.in-addr.arpa`),
  "1.1.1.1.1.2.0.2.0.0.d.f.ip6.arpa",
].map((zone) => toName(zone)?.key ?? "");

/** Cheap for all names but reverse ones. */
export function isInternalReverse(key: string): boolean {
  return key.endsWith("\x04arpa\0") && INTERNAL_ZONES.some((zone) => isWithin(key, zone));
}
