/**
 * What the plane of a gateway knows of its clients: a policy each, in the slot of the client's connection. A change
 * concerns the client whose it is, so that it costs the same with one client and with ten thousand.
 */
import type { Instant } from "../base/index.ts";
import { encodeGoodbye } from "../packet/index.ts";
import { TUNNEL_RANGES } from "./constants.ts";
import { announceInterface, announcePeers, ownAddresses } from "./endpoint.ts";
import { forgetFlows, type GatewayState, realsOf } from "./gateway-state.ts";
import type { Revocation } from "./grants.ts";
import type { Placed } from "./placed.ts";
import { GATEWAY_TABLES, policyOfClient } from "./policy.ts";

/** The portal has said who we are; of the clients' policies each names us. */
export function placeAll(gateway: GatewayState, now: Instant): void {
  const { placed, connections, grants } = gateway;
  announceInterface(gateway, TUNNEL_RANGES);
  if (!placed.areTablesThere) connections.publish(now, GATEWAY_TABLES);
  placed.areTablesThere = true;
  for (const { cid } of grants.clients()) place(gateway, now, cid);
}

/** After a change of the client's grants, names, addresses or connection: the plane obeys the new state. */
export function place(gateway: GatewayState, now: Instant, cid: string): void {
  const { connections, grants, nats, placed, isHostOpen, flowLog } = gateway;
  const client = grants.client(cid);
  const slot = client && connections.slotOf(cid);
  const before = placed.byClient.get(cid);
  if (before !== undefined && before.slot !== slot) remove(gateway, now, cid, before);
  if (client === undefined || slot === undefined) return;
  const former = placed.bySlot.get(slot);
  if (former !== undefined && former !== cid) forget(gateway, former);
  placed.byClient.set(cid, { slot, addresses: client.addresses });
  placed.bySlot.set(slot, cid);
  const policy = policyOfClient(client, {
    ownAddresses: ownAddresses(gateway),
    reals: realsOf(nats.get(cid)),
    isHostOpen,
    isLogged: flowLog !== undefined,
  });
  connections.setPolicy(now, slot, policy);
  const removed = before?.slot === slot ? before.addresses : [];
  announcePeers(gateway, { removed, added: client.addresses });
}

function remove(gateway: GatewayState, now: Instant, cid: string, { slot }: Placed): void {
  if (gateway.placed.bySlot.get(slot) === cid) gateway.connections.setPolicy(now, slot, undefined);
  forget(gateway, cid);
}

function forget(gateway: GatewayState, cid: string): void {
  const { byClient, bySlot } = gateway.placed;
  const placed = byClient.get(cid);
  if (placed === undefined) return;
  byClient.delete(cid);
  if (bySlot.get(placed.slot) === cid) bySlot.delete(placed.slot);
  announcePeers(gateway, { removed: placed.addresses, added: [] });
}

/** Ends what was revoked; a client without any grant left is told goodbye (TN-54). */
export function applyRevocations(
  gateway: GatewayState,
  now: Instant,
  revocations: readonly Revocation[],
): void {
  if (revocations.length === 0) return;
  for (const { cid, rid, reason, isLast } of revocations) {
    gateway.log.info?.("access ended", { cid, rid, reason });
    forgetFlows(gateway, cid);
    gateway.flowLog?.end(now, cid, rid);
    if (!isLast) continue;
    gateway.refusals.delete(cid);
    gateway.nats.get(cid)?.mappings.clear();
    gateway.nats.delete(cid);
    if (reason === "goodbye") gateway.connections.removeConnection(now, { id: cid, reason });
    else gateway.connections.closeConnection(now, { id: cid, goodbye: encodeGoodbye() });
  }
  for (const cid of new Set(revocations.map(({ cid }) => cid))) place(gateway, now, cid);
}
