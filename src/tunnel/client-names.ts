/** Names at a client: which gateway is told of them, and when (TN-45 to TN-49). */
import type { Instant } from "../base/index.ts";
import { type DomainStatus, encodeAssignedIps } from "../packet/index.ts";
import { gatewayOf } from "./access.ts";
import { type ClientState, publishNames } from "./client-state.ts";
import type { NatChange, NatKey } from "./dns-nat.ts";
import { type Named, ownerOf } from "./named.ts";

/** Any query: what is unanswered is asked for again; a name of ours is told first (TN-47). */
export function noteQuery(client: ClientState, now: Instant, name: Named | undefined): void {
  const { nat } = client;
  // Asked for hints or texts alone, a name has nothing that a gateway could be told (DN-41).
  const key = name && hasProxies(client, name) ? keyOf(client, name) : undefined;
  if (key !== undefined) {
    nat.query(key);
    tellName(client, now, key);
  } else if (name !== undefined && !areSourcesRight(client, name)) publishNames(client, now);
  for (const held of nat.updateAll(now)) client.flows.drop(ownerOf(held));
  sendEvents(client, now);
}

/** Access to the resource is there: its gateway is told all names that were asked for before (TN-31 no. 4). */
export function tellNames(client: ClientState, now: Instant, rid: string): void {
  for (const name of client.resolver?.names() ?? []) {
    const key = name.rid === rid ? keyOf(client, name) : undefined;
    if (key !== undefined) follow(client, now, key, client.nat.update(now, key));
  }
  sendEvents(client, now);
}

/** Whether the packet waits until the gateway knows the name; a copy of it does. */
export function holdForName(client: ClientState, now: Instant, key: NatKey, packet: Uint8Array): boolean {
  const isHeld = client.nat.packet(now, key, packet) === "held";
  sendEvents(client, now);
  return isHeld;
}

/** What a gateway says of a name. */
export function handleDomainStatus(
  client: ClientState,
  now: Instant,
  gid: string,
  { rid, domain, isActive }: DomainStatus,
): void {
  const key = { gid, rid, domain };
  if (client.nat.stateOf(key) === undefined) {
    return client.log.debug?.("status of a name that was not told", { gid, rid });
  }
  // At INFO it would say where people go.
  client.log.debug?.("gateway knows a name", { ...key, isActive });
  follow(client, now, key, client.nat.status(key, isActive));
}

function hasProxies({ resolver }: ClientState, { rid, domain }: Named): boolean {
  return (resolver?.proxiesOf(domain, rid) ?? []).length > 0;
}

function keyOf({ access, connections }: ClientState, { rid, domain }: Named): NatKey | undefined {
  const gid = gatewayOf(access, rid);
  return gid === undefined || connections.slotOf(gid) === undefined ? undefined : { gid, rid, domain };
}

/** A name that the gateway did not know: its proxy addresses become allowed sources, if they are none yet. */
function tellName(client: ClientState, now: Instant, key: NatKey): void {
  const isNew = client.nat.stateOf(key) === undefined;
  follow(client, now, key, client.nat.update(now, key));
  if (isNew && !areSourcesRight(client, key)) publishNames(client, now);
}

/** Whether the gateway of a new name may speak for its proxy addresses by now, and no other one may (TN-39). */
function areSourcesRight({ access, proxyBlocks, resolver }: ClientState, { rid, domain }: Named): boolean {
  return proxyBlocks.isCovered(resolver?.proxiesOf(domain, rid) ?? [], gatewayOf(access, rid));
}

function follow(client: ClientState, now: Instant, key: NatKey, change: NatChange): void {
  switch (change.kind) {
    case "none":
      return;
    case "holds":
      // Known flows must not pass the packets that wait (TN-84).
      return client.flows.drop(ownerOf(key));
    case "released":
      for (const packet of change.packets) client.connections.sendPacket(now, key.gid, packet);
      return;
    default:
      return change satisfies never;
  }
}

function sendEvents({ nat, resolver, connections }: ClientState, now: Instant): void {
  for (let key = nat.pollSend(); key !== undefined; key = nat.pollSend()) {
    const { gid, rid, domain } = key;
    const proxies = resolver?.proxiesOf(domain, rid) ?? [];
    if (proxies.length > 0) connections.sendPacket(now, gid, encodeAssignedIps({ rid, domain, proxies }));
  }
}
