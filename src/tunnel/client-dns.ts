/** The resolver inside of the client's machine: what it is given, and what becomes of what it wants (DN-56). */
import { equalIp, type Instant } from "../base/index.ts";
import { isSentinelRange, LLMNR_GROUPS, type Resolver, type ResolverEvent } from "../dns/index.ts";
import { viewPacket } from "../packet/index.ts";
import type { ClientInterface } from "../portal/protocol/index.ts";
import type { WriteTun } from "./endpoint.ts";
import type { Named } from "./named.ts";
import { allResources, type ResourceTable } from "./resources.ts";

/** What of the resolver's wishes the shell carries out. */
export type ClientDnsEvent = Exclude<ResolverEvent, { kind: "queried" | "site-needed" | "tunnel-flow" }>;

/** What of the client the resolver has to do with. */
interface ResolverHost {
  readonly resolver: Resolver | undefined;
  readonly own: ClientInterface | undefined;
  readonly resources: ResourceTable;
  readonly commands: WriteTun[];
  readonly events: { push(event: { readonly kind: "dns"; readonly event: ClientDnsEvent }): unknown };
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
    // Until packets of its flows come back from the tunnel, servers inside of resources are asked past it.
    tunnelled: [],
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

/** Hears of every query, and whether it was for a name of ours (DN-56). */
export type NoteQuery = (name: Named | undefined) => void;

/** Takes everything out of the resolver. */
export function drainResolver(client: ResolverHost, now: Instant, noteQuery: NoteQuery): void {
  const { resolver } = client;
  if (resolver === undefined) return;
  // Events first: what they cause may be answers.
  for (let event = resolver.pollEvent(); event !== undefined; event = resolver.pollEvent()) {
    takeEvent(client, { resolver, noteQuery }, now, event);
  }
  for (let packet = resolver.pollPacket(); packet !== undefined; packet = resolver.pollPacket()) {
    client.commands.push({ kind: "write-tun", packet });
  }
}

function takeEvent(
  { events }: ResolverHost,
  { resolver, noteQuery }: { readonly resolver: Resolver; readonly noteQuery: NoteQuery },
  now: Instant,
  event: ResolverEvent,
): void {
  switch (event.kind) {
    case "queried":
      return noteQuery(namedIn(event));
    case "tunnel-flow":
      return;
    case "site-needed":
      // Sites are not asked yet: an answer at once rather than after ten seconds.
      return resolver.handleSite(now, event.rid, { kind: "failed" });
    default:
      events.push({ kind: "dns", event });
  }
}

function namedIn({ domain, rid }: Extract<ResolverEvent, { kind: "queried" }>): Named | undefined {
  return domain === undefined || rid === undefined ? undefined : { domain, rid };
}
