/** The MTU of a `postern wg` whose file names none (WG-63). */
import { RT_TABLE_MAIN, type Rtnetlink } from "../../bindings/linux/index.ts";
import type { SocketAddress } from "../base/index.ts";

/** IPv6 40, UDP 8, WireGuard 32: what a sealed packet is longer than its inner one. */
const OVERHEAD_BYTES = 80;
const UNKNOWN_MTU = 1420;
const MTU_MIN = 576;
const MTU_MAX = 0xffff;

/**
 * From the devices by which the endpoints are reached, else from those of the default routes: the
 * largest, less the overhead.
 */
export function wgMtu(
  rtnetlink: Pick<Rtnetlink, "bestRoute" | "links" | "routes">,
  endpoints: readonly Pick<SocketAddress, "address" | "scope">[],
): number {
  const links = rtnetlink.links();
  const mtuOf = (index: number | undefined): number => links.find((link) => link.index === index)?.mtu ?? 0;
  const towards = endpoints.map(({ address, scope }) =>
    mtuOf(scope ?? rtnetlink.bestRoute(address)?.outputIndex),
  );
  const largest = Math.max(0, ...towards) || Math.max(0, ...defaultRouteIndices(rtnetlink).map(mtuOf));
  return largest === 0 ? UNKNOWN_MTU : Math.max(MTU_MIN, Math.min(MTU_MAX, largest - OVERHEAD_BYTES));
}

function defaultRouteIndices(rtnetlink: Pick<Rtnetlink, "routes">): readonly (number | undefined)[] {
  return ([4, 6] as const)
    .flatMap((family) => rtnetlink.routes(family, RT_TABLE_MAIN))
    .filter(({ destination }) => destination.bits === 0)
    .map(({ outputIndex }) => outputIndex);
}
