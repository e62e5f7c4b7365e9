/** The ranges that stand for something at a client, and their addresses as keys of maps (dns.md §2). */
import { contains, type IpAddress, ip, type Prefix, prefix } from "../base/index.ts";

export const SENTINELS_V4: Prefix = prefix("100.100.111.0/24");
export const SENTINELS_V6: Prefix = prefix("fd00:2021:1111:8000:100:100:111:0/120");
export const PROXY_V4: Prefix = prefix("100.96.0.0/11");
export const PROXY_V6: Prefix = prefix("fd00:2021:1111:8000::/107");

export const LLMNR_GROUPS: readonly IpAddress[] = [ip("224.0.0.252"), ip("ff02::1:3")];

export function isSentinelRange(address: IpAddress): boolean {
  return contains(SENTINELS_V4, address) || contains(SENTINELS_V6, address);
}

/** Whether a name can have the address: in the range, not a sentinel, neither network nor broadcast. */
export function isProxyAddress(address: IpAddress): boolean {
  if (address.length === 16) return contains(PROXY_V6, address);
  if (!contains(PROXY_V4, address) || contains(SENTINELS_V4, address)) return false;
  const host = offsetIn(PROXY_V4, address);
  return host !== 0 && host !== sizeOf(PROXY_V4) - 1;
}

export function sizeOf({ address, bits }: Prefix): number {
  return 2 ** (address.length * 8 - bits);
}

/** The address `offset` places behind the first; at most 32 bits of a prefix are counted. */
export function addressAt(range: Prefix, offset: number): Uint8Array<ArrayBuffer> {
  const address = Uint8Array.from(range.address);
  const view = new DataView(address.buffer);
  const at = address.length - 4;
  view.setUint32(at, view.getUint32(at) + offset);
  return address;
}

/** How many places behind the first of the range. */
export function offsetIn({ address: first }: Prefix, address: IpAddress): number {
  const low = (of: IpAddress): number =>
    new DataView(of.buffer, of.byteOffset, of.byteLength).getUint32(of.length - 4);
  return low(address) - low(first);
}

/** An address as the key of a map: shorter to make than text for people. */
export function addressKey(address: IpAddress): string {
  return String.fromCharCode(...address);
}
