/** What the portal's messages do at a client (TN §4.5). */
import { type Instant, unreachable } from "../base/index.ts";
import type { ClientMessage, FlowCreated, FlowFailureReason } from "../portal/protocol/index.ts";
import {
  accessTo,
  awaitedFrom,
  endAccess,
  gatewayOf,
  grantAccess,
  refuseAccess,
  restartIntents,
} from "./access.ts";
import { route } from "./client-flows.ts";
import { tellNames } from "./client-names.ts";
import { askFor } from "./client-packets.ts";
import { failSite, tellSite } from "./client-queries.ts";
import {
  announceClientInterface,
  announceResources,
  ask,
  type ClientState,
  closeUnused,
  publish,
  refuseAll,
  tablesOf,
} from "./client-state.ts";
import { isForUs } from "./endpoint.ts";
import { addGateway, linkedGateways, noteLeft, setSitesOffline } from "./gateways.ts";
import { takeRelays, wantRelays } from "./relays.ts";
import { type ResourceChange, removeResource, replaceResources, upsertResource } from "./resources.ts";

export function handlePortalMessage(client: ClientState, now: Instant, message: ClientMessage): void {
  if (!isForUs(client, message)) return;
  const { connections, resources } = client;
  switch (message.kind) {
    case "init":
      return handleInit(client, now, message);
    case "config-changed":
      client.own = message.interface;
      announceClientInterface(client);
      return publish(client, now);
    case "resource-created-or-updated":
      return applyChange(client, now, upsertResource(resources, message.resource));
    case "resource-deleted":
      return applyChange(client, now, removeResource(resources, message.rid));
    case "flow-created":
      return handleFlowCreated(client, now, message);
    case "flow-creation-failed":
      return handleFlowFailed(client, now, message);
    case "ice-candidates":
      return connections.addRemoteCandidates(now, message.gid, message.candidates);
    case "invalidate-ice-candidates":
      return connections.removeRemoteCandidates(now, message.gid, message.candidates);
    case "gateway-left":
      return handleGatewayLeft(client, now, message.gid);
    case "relays-presence":
      return takeRelays(client, now, { gone: message.disconnectedIds, listed: message.connected });
    default:
      return unreachable(message);
  }
}

function handleInit(
  client: ClientState,
  now: Instant,
  message: Extract<ClientMessage, { kind: "init" }>,
): void {
  const { connections, resources, access, gateways, candidates } = client;
  client.own = message.interface;
  takeRelays(client, now, { gone: [], listed: message.relays });
  applyChange(client, now, { ...replaceResources(resources, message.resources), isChanged: true });
  for (const rid of restartIntents(access, now)) ask(client, rid);
  for (const { gid } of linkedGateways(gateways)) {
    const texts = connections.localCandidates(gid);
    for (const candidate of texts) candidates.push({ kind: "candidate-added", id: gid, candidate });
  }
}

/**
 * Only its path can tell whether it is alive: many a gateway just has lost its portal (TN-106). One that has been
 * given up already is there again, as somebody else (PT-94).
 */
function handleGatewayLeft(client: ClientState, now: Instant, gid: string): void {
  if (!noteLeft(client.gateways, gid)) return askFor(client, now, awaitedFrom(client.access, now, gid));
  client.log.info?.("the portal has lost a gateway: its path is checked", { gid });
  client.connections.checkPath(now, gid);
}

export function applyChange(client: ClientState, now: Instant, change: ResourceChange): void {
  for (const rid of change.removed) {
    const gid = gatewayOf(client.access, rid);
    endAccess(client.access, rid);
    client.nat.clearResource(rid);
    failSite(client, now, rid);
    closeUnused(client, now, gid);
  }
  if (!change.isChanged) return;
  announceClientInterface(client);
  announceResources(client);
  publish(client, now);
}

/** Access is granted: the route opens for what waited (TN-31). */
function handleFlowCreated(client: ClientState, now: Instant, flow: FlowCreated): void {
  const { connections, resources, access, gateways, log } = client;
  const { rid, gid } = flow;
  if (!resources.listed.has(rid)) {
    return log.warn?.("access granted to a resource that is not ours", { rid, gid });
  }
  // Several triggers for one gateway may have been under way (no. 1).
  if (accessTo(access, rid).kind !== "asked") return log.debug?.("access granted twice", { rid, gid });
  const outcome = connections.upsertConnection(now, {
    id: gid,
    remoteKey: flow.gatewayKey,
    presharedKey: flow.presharedKey,
    localCredentials: flow.clientCredentials,
    remoteCredentials: flow.gatewayCredentials,
  });
  if (outcome.kind === "no-relays") {
    wantRelays(client, now);
    return log.info?.("no address of our own and no relay yet: access waits for one", { rid, gid });
  }
  if (outcome.kind === "bad-credentials") {
    return log.warn?.("access ignored: keys or ICE credentials are unusable", { rid, gid });
  }
  const before = gatewayOf(access, rid);
  addGateway(gateways, { gid, siteId: flow.siteId, addresses: [flow.gatewayIpv4, flow.gatewayIpv6] });
  client.refusals.delete(rid);
  const packets = grantAccess(access, rid, gid);
  closeUnused(client, now, before);
  client.flows.revokeAll();
  const isNamed = resources.listed.get(rid)?.reach.pattern !== undefined;
  // Behind the new tables, in their order (no. 6); those to names wait for the gateway to know them (no. 4).
  connections.openRoute(now, gid, { tables: tablesOf(client), packets: isNamed ? [] : packets });
  if (!isNamed) return;
  tellNames(client, now, rid);
  tellSite(client, now, rid, gid);
  for (const packet of packets) route(client, now, packet, { isLinked: false });
}

/** What people want to know first; said once, until access is granted or the reason is another (PT-56). */
const WHY_REFUSED: Readonly<Record<FlowFailureReason, string>> = {
  not_found: "not reachable: no policy grants it",
  offline: "not reachable: no gateway of its site is online",
  forbidden: "not reachable: the conditions of its policies do not hold",
  version_mismatch: "not reachable: its gateways speak another version",
  unknown: "not reachable: the portal refused it",
};

function sayWhyRefused(
  { resources, refusals, log }: ClientState,
  { rid, reason, violatedProperties }: Extract<ClientMessage, { kind: "flow-creation-failed" }>,
): void {
  const resource = resources.listed.get(rid)?.resource.name;
  if (resource === undefined || refusals.get(rid) === reason) return;
  refusals.set(rid, reason);
  const violated = violatedProperties.length > 0 ? { violated: violatedProperties } : {};
  log.info?.(WHY_REFUSED[reason], { rid, resource, ...violated });
}

/** Access is refused: what waited is answered (TN-32). */
function handleFlowFailed(
  client: ClientState,
  now: Instant,
  message: Extract<ClientMessage, { kind: "flow-creation-failed" }>,
): void {
  const { resources, access, gateways } = client;
  const { rid, reason } = message;
  sayWhyRefused(client, message);
  const isOffline = reason === "offline";
  refuseAll(client, now, refuseAccess(access, rid), isOffline ? "unreachable" : "prohibited");
  failSite(client, now, rid);
  if (!isOffline) return;
  const sites = resources.listed.get(rid)?.resource.sites ?? [];
  setSitesOffline(
    gateways,
    now,
    sites.map(({ id }) => id),
  );
  const gid = gatewayOf(access, rid);
  if (gid !== undefined) endAccess(access, rid);
  closeUnused(client, now, gid);
  announceResources(client);
  publish(client, now);
}
