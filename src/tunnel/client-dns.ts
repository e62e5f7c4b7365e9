/** The resolver inside of the client's machine: what it is given (DN-16, DN-58). */
import { equalIp, type Instant } from "../base/index.ts";
import { isSentinelRange, LLMNR_GROUPS, type Resolver, type ResolverEvent } from "../dns/index.ts";
import { viewPacket } from "../packet/index.ts";
import type { ClientInterface } from "../portal/protocol/index.ts";
import { activeResources, allResources, type ResourceTable } from "./resources.ts";

/** What of the resolver's wishes the shell carries out. */
export type ClientDnsEvent = Exclude<ResolverEvent, { kind: "queried" | "site-needed" }>;

/** What of the client the resolver has to do with. */
interface ResolverHost {
  readonly resolver: Resolver | undefined;
  readonly own: ClientInterface | undefined;
  readonly resources: ResourceTable;
}

/** Brings the resolver to the portal's interface and the list of resources; equal parts change nothing. */
export function configureResolver({ resolver, own, resources }: ResolverHost, now: Instant): void {
  if (resolver === undefined || own === undefined) return;
  const patterns = allResources(resources).flatMap(({ resource }) =>
    resource.kind === "dns"
      ? [{ rid: resource.rid, pattern: resource.address, ipStack: resource.ipStack }]
      : [],
  );
  resolver.configure(now, {
    addresses: { v4: own.ipv4, v6: own.ipv6 },
    patterns,
    upstreamDo53: own.upstreamDo53,
    upstreamDoh: own.upstreamDoh,
    ...(own.searchDomain !== undefined && { searchDomain: own.searchDomain }),
    tunnelled: activeResources(resources).flatMap(({ reach }) => reach.networks),
  });
}

/** Whether a packet of the TUN device is the resolver's; then it goes no further. */
export function handleForResolver({ resolver }: ResolverHost, now: Instant, packet: Uint8Array): boolean {
  if (resolver === undefined) return false;
  const { destination } = viewPacket(packet);
  const isIts = isSentinelRange(destination) || LLMNR_GROUPS.some((group) => equalIp(group, destination));
  if (isIts) resolver.handlePacket(now, packet);
  return isIts;
}
