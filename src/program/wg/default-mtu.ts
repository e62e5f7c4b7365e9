/** The MTU when the file names none (WG-63): what the way to the endpoints leaves after WireGuard's part. */
import type { Rtnetlink } from "../../../bindings/linux/index.ts";
import { ip, type SocketAddress } from "../../base/index.ts";

/** Outer IPv6 and UDP headers, header and tag of the message: the most that a packet grows by. */
const OVERHEAD_BYTES = 80;
const UNKNOWN_MTU = 1420;
/** Stand for "anywhere": the default route leads to them. */
const ANYWHERE = [ip("192.0.2.1"), ip("2001:db8::1")];

/** The largest MTU among the devices towards the endpoints, else of the default routes, less 80. */
export function defaultMtu(rtnetlink: Rtnetlink, endpoints: readonly SocketAddress[]): number {
  const links = new Map(rtnetlink.links().map((link) => [link.index, link.mtu]));
  const mtuTowards = (address: Uint8Array): number => {
    const route = rtnetlink.bestRoute(address);
    return route === undefined ? 0 : (links.get(route.outputIndex) ?? 0);
  };
  const towards = endpoints.map(({ address }) => mtuTowards(address));
  const best = Math.max(0, ...(towards.some((mtu) => mtu > 0) ? towards : ANYWHERE.map(mtuTowards)));
  return best > OVERHEAD_BYTES ? best - OVERHEAD_BYTES : UNKNOWN_MTU;
}
