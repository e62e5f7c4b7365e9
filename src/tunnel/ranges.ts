/** In which of the tunnel's own ranges an address lies (TN-15). */
import { contains, type IpAddress } from "../base/index.ts";
import { PROXY_RANGES, SENTINEL_RANGES, TUNNEL_RANGES } from "./constants.ts";

export function isTunnelAddress(address: IpAddress): boolean {
  return TUNNEL_RANGES.some((range) => contains(range, address));
}

export function isSentinel(address: IpAddress): boolean {
  return SENTINEL_RANGES.some((range) => contains(range, address));
}

/** "In the proxy range", as TN-15 means it. */
export function isProxyAddress(address: IpAddress): boolean {
  return PROXY_RANGES.some((range) => contains(range, address)) && !isSentinel(address);
}
