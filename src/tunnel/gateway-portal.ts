/** What the portal's messages do at a gateway (TN-51). */
import { equalValues, type Instant, unreachable } from "../base/index.ts";
import type { AuthorizeFlow, GatewayMessage, GatewayResource } from "../portal/protocol/index.ts";
import { isForUs } from "./endpoint.ts";
import { subjectOf } from "./gateway-flow-log.ts";
import { applyRevocations, place, placeAll } from "./gateway-policies.ts";
import { forgetFlows, type GatewayState } from "./gateway-state.ts";
import type { Grant } from "./grants.ts";
import { resetClientNat } from "./nat/client-nat.ts";
import { takeRelays, wantRelays } from "./relays.ts";

export function handlePortalMessage(gateway: GatewayState, now: Instant, message: GatewayMessage): void {
  if (!isForUs(gateway, message)) return;
  const { connections, grants, log } = gateway;
  switch (message.kind) {
    case "init":
      return handleInit(gateway, now, message);
    case "authorize-flow":
      return authorize(gateway, now, message);
    case "reject-access":
      return applyRevocations(gateway, now, grants.revoke(message.cid, message.rid));
    case "access-authorization-expiry-updated": {
      const { cid, rid, expiresAt } = message;
      if (!grants.setExpiry(cid, rid, expiresAt)) {
        log.debug?.("expiry of a grant that is not held", { cid, rid });
      }
      return;
    }
    case "resource-updated":
      return updateResources(gateway, now, [message.resource]);
    case "ice-candidates":
      return connections.addRemoteCandidates(now, message.cid, message.candidates);
    case "invalidate-ice-candidates":
      return connections.removeRemoteCandidates(now, message.cid, message.candidates);
    case "relays-presence":
      return takeRelays(gateway, now, { gone: message.disconnectedIds, listed: message.connected });
    default:
      return unreachable(message);
  }
}

/** Where nothing has changed no flow is forgotten. */
function updateResources(gateway: GatewayState, now: Instant, resources: readonly GatewayResource[]): void {
  const { lost, changed } = gateway.grants.updateResources(resources);
  for (const cid of changed) {
    forgetFlows(gateway, cid);
    // Filters may be there now, or no more: which networks flows decide about.
    place(gateway, now, cid);
  }
  for (const rid of new Set(lost.map((revocation) => revocation.rid))) {
    gateway.log.error?.("a granted resource changed what it opens", { rid });
  }
  applyRevocations(gateway, now, lost);
}

/** What the portal does not list is revoked, and what it lists is as it says now (TN-55). */
function handleInit(
  gateway: GatewayState,
  now: Instant,
  message: Extract<GatewayMessage, { kind: "init" }>,
): void {
  gateway.own = message.interface;
  takeRelays(gateway, now, { gone: [], listed: message.relays });
  applyRevocations(gateway, now, gateway.grants.reconcile(message.authorizations));
  updateResources(gateway, now, message.resources ?? []);
  placeAll(gateway, now);
}

/** TN-52. A flow that is refused is not answered, so that the portal chooses another gateway (PT-85). */
function authorize(gateway: GatewayState, now: Instant, flow: AuthorizeFlow): void {
  const { connections, grants, log, events } = gateway;
  const { client, resource } = flow;
  const fields = { cid: client.cid, rid: resource.rid };
  if (gateway.own === undefined)
    return log.warn?.("access refused", { ...fields, reason: "the portal has not sent our addresses yet" });
  const outcome = connections.upsertConnection(now, {
    id: client.cid,
    remoteKey: client.publicKey,
    presharedKey: client.presharedKey,
    localCredentials: flow.gatewayCredentials,
    remoteCredentials: flow.clientCredentials,
  });
  if (outcome.kind === "no-relays") wantRelays(gateway, now);
  if (outcome.kind === "no-relays" || outcome.kind === "bad-credentials") {
    return log.warn?.("access refused", {
      reason: "no connection to the client can be made",
      ...fields,
      why: outcome.kind,
    });
  }
  const grant: Grant = {
    resource,
    ...(flow.expiresAt !== undefined && { expiresAt: flow.expiresAt }),
    // Who it is, nobody keeps who does not log it.
    ...(gateway.flowLog && { subject: subjectOf(flow) }),
  };
  const addresses = [client.ipv4, client.ipv6];
  const before = grants.client(client.cid)?.addresses;
  const nat = gateway.nats.get(client.cid);
  if (nat !== undefined && !equalValues(before, addresses)) resetClientNat(nat);
  const lost = grants.insert(client.cid, addresses, grant);
  log.info?.("access allowed", fields);
  forgetFlows(gateway, client.cid);
  applyRevocations(gateway, now, lost);
  place(gateway, now, client.cid);
  // The portal tells the client only now, and no candidate of ours may arrive before that (PT-60). The
  // connections give them after this, also those of a connection that is reused (SN-72).
  events.push({ kind: "request", request: { kind: "flow-authorized", ref: flow.ref } });
}
