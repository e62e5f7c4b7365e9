/**
 * What becomes of the resolver's wishes at a client: its answers, and its own packets into the tunnel and back, to the
 * gateway of a site and to servers inside of resources (DN-56, DN-66 to DN-69, TN-31 no. 5, TN-38).
 */
import { copyOf, equalIp, type Instant } from "../base/index.ts";
import type { Resolver, ResolverEvent } from "../dns/index.ts";
import { viewPacket } from "../packet/index.ts";
import { gatewayOf, wantAccess } from "./access.ts";
import { noteProhibited, route } from "./client-flows.ts";
import { ask, type ClientState, refuseAll } from "./client-state.ts";
import { linkedGateways } from "./gateways.ts";
import type { Named } from "./named.ts";
import { isTunnelAddress } from "./ranges.ts";

/** Hears of every query, and whether it was for a name of ours (DN-56). */
export type NoteQuery = (name: Named | undefined) => void;

/** Takes everything out of the resolver. */
export function drainResolver(client: ClientState, now: Instant, noteQuery: NoteQuery): void {
  const { resolver } = client;
  if (resolver === undefined) return;
  // Each may cause the others: a packet that is refused ends its query.
  for (;;) {
    const event = resolver.pollEvent();
    if (event !== undefined) takeEvent(client, { resolver, noteQuery }, now, event);
    const packet = resolver.pollTunnelPacket();
    if (packet !== undefined) send(client, now, packet);
    if (event === undefined && packet === undefined) break;
  }
  for (let packet = resolver.pollPacket(); packet !== undefined; packet = resolver.pollPacket()) {
    client.commands.push({ kind: "write-tun", packet });
  }
}

function takeEvent(
  client: ClientState,
  { resolver, noteQuery }: { readonly resolver: Resolver; readonly noteQuery: NoteQuery },
  now: Instant,
  event: ResolverEvent,
): void {
  switch (event.kind) {
    case "queried":
      return noteQuery(namedIn(event));
    case "site-needed":
      return reachSite(client, resolver, now, event.rid);
    default:
      client.events.push({ kind: "dns", event });
  }
}

function namedIn({ domain, rid }: Extract<ResolverEvent, { kind: "queried" }>): Named | undefined {
  return domain === undefined || rid === undefined ? undefined : { domain, rid };
}

/** A query waits for the site: its gateway is there, or access to the resource is asked for. */
function reachSite(client: ClientState, resolver: Resolver, now: Instant, rid: string): void {
  const { access, connections, resources } = client;
  const gid = gatewayOf(access, rid);
  if (gid !== undefined && connections.slotOf(gid) !== undefined) return tellSite(client, now, rid, gid);
  if (!resources.listed.has(rid)) return resolver.handleSite(now, rid, { kind: "failed" });
  if (wantAccess(access, now, { rid }).isIntentDue) ask(client, rid);
}

/** Access to a resource is there: what was asked about its names goes to its gateway (TN-31 no. 5). */
export function tellSite({ resolver, gateways }: ClientState, now: Instant, rid: string, gid: string): void {
  const gateway = linkedGateways(gateways).find((one) => one.gid === gid);
  const [v4, v6] = [4, 16].map((bytes) => gateway?.addresses.find(({ length }) => length === bytes));
  const addresses = { ...(v4 && { v4 }), ...(v6 && { v6 }) };
  resolver?.handleSite(now, rid, { kind: "ready", gid, addresses });
}

/** There will be none, by now. */
export function failSite({ resolver }: ClientState, now: Instant, rid: string): void {
  resolver?.handleSite(now, rid, { kind: "failed" });
}

/** To the gateway itself, or wherever the server's address leads (DN-67). */
function send(client: ClientState, now: Instant, packet: Uint8Array): void {
  const destination = copyOf(viewPacket(packet).destination);
  if (!isTunnelAddress(destination)) return route(client, now, packet, { isLinked: false });
  const gateway = linkedGateways(client.gateways).find(({ addresses }) =>
    addresses.some((address) => equalIp(address, destination)),
  );
  if (gateway === undefined) return refuseAll(client, now, [packet], "unreachable");
  client.connections.sendPacket(now, gateway.gid, packet);
}

/** A packet to one of the resolver's ports; a program of the host may have chosen such a port, too (TN-38). */
export function handleResolverPacket(client: ClientState, now: Instant, packet: Uint8Array): void {
  noteProhibited(client, now, packet);
  if (client.resolver?.handleTunnelPacket(now, packet) === true) return;
  client.commands.push({ kind: "write-tun", packet });
}
