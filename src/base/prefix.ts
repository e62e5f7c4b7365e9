import { formatIp, type IpAddress, parseIp } from "./ip.ts";
import { malformed, type Parsed, parsed } from "./result.ts";

/** A network: `address` with the host bits cut off, and its length in bits. */
export interface Prefix {
  readonly address: IpAddress;
  readonly bits: number;
}

export type MalformedPrefix = "not-an-address" | "bad-length";

/** Reads `192.0.2.0/24`, or a bare address as a full-length prefix. Host bits are cut off. */
export function parsePrefix(text: string): Parsed<Prefix, MalformedPrefix> {
  const [host = "", length, ...rest] = text.split("/");
  const address = parseIp(host);
  if (!address.ok || rest.length > 0) return malformed("not-an-address");
  const most = address.value.length * 8;
  if (length === undefined) return parsed(toPrefix(address.value, most));
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) return malformed("bad-length");
  return parsed(toPrefix(address.value, Number(length)));
}

/** Like `parsePrefix` for prefixes that the source code itself writes. */
export function prefix(text: string): Prefix {
  const result = parsePrefix(text);
  if (!result.ok) throw new Error(`not a prefix: ${text}`);
  return result.value;
}

/** Addresses of the host itself (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3). */
export const LOOPBACK: readonly Prefix[] = [prefix("127.0.0.0/8"), prefix("::1/128")];

/** Addresses that mean one link only (RFC 3927, RFC 4291 §2.5.6). */
export const LINK_LOCAL: readonly Prefix[] = [prefix("169.254.0.0/16"), prefix("fe80::/10")];

export function toPrefix(address: IpAddress, bits: number): Prefix {
  const network = Uint8Array.from(address, (byte, i) => {
    const kept = Math.min(8, Math.max(0, bits - 8 * i));
    return byte & (0xff << (8 - kept));
  });
  return { address: network, bits };
}

/** Whether `address` lies in `prefix`. Different families never match. */
export function contains(prefix: Prefix, address: IpAddress): boolean {
  if (address.length !== prefix.address.length) return false;
  const whole = prefix.bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== prefix.address[i]) return false;
  const rest = prefix.bits & 7;
  if (rest === 0) return true;
  const mask = 0xff << (8 - rest);
  return ((address[whole] ?? 0) & mask) === ((prefix.address[whole] ?? 0) & mask);
}

/** Whether every address of `inner` lies in `outer`. */
export function covers(outer: Prefix, inner: Prefix): boolean {
  return outer.bits <= inner.bits && contains(outer, inner.address);
}

export function formatPrefix({ address, bits }: Prefix): string {
  return `${formatIp(address)}/${bits}`;
}

export function equalPrefix(a: Prefix, b: Prefix): boolean {
  return a.bits === b.bits && covers(a, b);
}

/** The prefixes that make up `whole` without `holes`. */
export function subtract(whole: Prefix, holes: readonly Prefix[]): readonly Prefix[] {
  if (holes.some((hole) => covers(hole, whole))) return [];
  if (!holes.some((hole) => covers(whole, hole))) return [whole];
  return halves(whole).flatMap((half) => subtract(half, holes));
}

function halves({ address, bits }: Prefix): readonly Prefix[] {
  const upper = Uint8Array.from(address);
  upper[bits >> 3] = (upper[bits >> 3] ?? 0) | (0x80 >> (bits & 7));
  return [toPrefix(address, bits + 1), toPrefix(upper, bits + 1)];
}
