/** The addresses by which others may reach us: host candidates (PG-142, SN-137). */
import {
  type InterfaceAddress,
  type KernelRoute,
  type Link,
  RT_TABLE_MAIN,
  type Rtnetlink,
} from "../../bindings/linux/index.ts";
import { contains, equalIp, type IpAddress, LINK_LOCAL, TUNNEL_V4, TUNNEL_V6 } from "../base/index.ts";

export const ADDRESSES_MAX_PER_FAMILY = 8;
/** Devices of tunnels, whose addresses in our range are another instance's or product's. */
const TUNNEL_KINDS = ["tun", "wireguard"];

export interface NetworkSnapshot {
  readonly links: readonly Link[];
  readonly addresses: readonly InterfaceAddress[];
  /** Of the main table, both families. */
  readonly routes: readonly KernelRoute[];
}

/**
 * Of every interface that is up, without loopback, our own TUN, other tunnels' addresses, link-local,
 * tentative and deprecated ones; those on the interface of the default route first.
 */
export function selectOwnAddresses(
  snapshot: NetworkSnapshot,
  tunIndex: number | undefined,
  /** `--egress-interface`: what leaves by it alone has an address of it alone (PG-62). */
  device?: string,
): readonly IpAddress[] {
  const usable = snapshot.addresses.filter(({ index, address, isTentative, isDeprecated }) => {
    const link = snapshot.links.find((one) => one.index === index);
    if (link === undefined || !link.isUp || link.isLoopback || index === tunIndex) return false;
    if (isTentative || isDeprecated || (device !== undefined && link.name !== device)) return false;
    const isOfTunnel = link.kind !== undefined && TUNNEL_KINDS.includes(link.kind);
    const excluded = isOfTunnel ? [TUNNEL_V4, TUNNEL_V6, ...LINK_LOCAL] : LINK_LOCAL;
    return !excluded.some((network) => contains(network, address));
  });
  return ([4, 16] as const).flatMap((length) => {
    const ofFamily = usable.filter(({ address }) => address.length === length);
    const primary = defaultInterface(snapshot.routes, length);
    const first = ofFamily.filter(({ index }) => index === primary);
    const others = ofFamily.filter(({ index }) => index !== primary);
    return [...first, ...others].slice(0, ADDRESSES_MAX_PER_FAMILY).map(({ address }) => address);
  });
}

/** The interface of the default route with the smallest metric. */
function defaultInterface(routes: readonly KernelRoute[], addressBytes: 4 | 16): number | undefined {
  const defaults = routes.filter(
    ({ destination }) => destination.bits === 0 && destination.address.length === addressBytes,
  );
  const best = defaults.reduce<KernelRoute | undefined>(
    (found, route) => (found === undefined || (route.metric ?? 0) < (found.metric ?? 0) ? route : found),
    undefined,
  );
  return best?.outputIndex;
}

export function readNetwork(rtnetlink: Rtnetlink): NetworkSnapshot {
  return {
    links: rtnetlink.links(),
    addresses: rtnetlink.addresses(),
    routes: [...rtnetlink.routes(4, RT_TABLE_MAIN), ...rtnetlink.routes(6, RT_TABLE_MAIN)],
  };
}

/** An equal list is no news (PG-142). */
export function equalAddresses(a: readonly IpAddress[], b: readonly IpAddress[]): boolean {
  return a.length === b.length && a.every((one, i) => equalIp(one, b[i] ?? new Uint8Array()));
}
