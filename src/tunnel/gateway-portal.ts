/** What the portal's messages do at a gateway (TN-51). */
import { equalValues, type Instant, type UnixMs, unreachable } from "../base/index.ts";
import type { ConnectionRequest } from "../connections/index.ts";
import type { AuthorizeFlow, GatewayMessage, GatewayResource } from "../portal/protocol/index.ts";
import {
  begin,
  changeWaiting,
  crowdOver,
  forgetWaiting,
  isFull,
  putOff,
  takeNext,
  withdraw,
  withResources,
} from "./admission.ts";
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
      return admit(gateway, now, message);
    case "reject-access":
      withdraw(gateway.admission, message.cid, message.rid);
      return applyRevocations(gateway, now, grants.revoke(message.cid, message.rid));
    case "access-authorization-expiry-updated": {
      const { cid, rid, expiresAt } = message;
      changeWaiting(gateway.admission, withExpiry(rid, expiresAt), [cid]);
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
  changeWaiting(gateway.admission, withResources(resources));
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
  // What the portal had asked before it was away, it asks anew.
  forgetWaiting(gateway.admission);
  takeRelays(gateway, now, { gone: [], listed: message.relays });
  applyRevocations(gateway, now, gateway.grants.reconcile(message.authorizations));
  updateResources(gateway, now, message.resources ?? []);
  placeAll(gateway, now);
}

/** A client that needs a new connection may have to wait for it (TN-122). */
function admit(gateway: GatewayState, now: Instant, flow: AuthorizeFlow): void {
  const { admission, connections, log } = gateway;
  if (!isFull(admission) || connections.wouldReuse(requestOf(flow))) return authorize(gateway, now, flow);
  const fields = { cid: flow.client.cid, rid: flow.resource.rid };
  const isFirst = admission.crowd === undefined;
  if (!putOff(admission, now, flow)) return log.debug?.("access refused: too many wait", fields);
  gateway.events.push({ kind: "request", request: { kind: "flow-waiting", ref: flow.ref } });
  if (isFirst) log.info?.("clients come faster than they can be set up: they wait for their turn", fields);
}

/** Those whose turn it is. Returns whether there were any. */
export function admitWaiting(gateway: GatewayState, now: Instant): boolean {
  const { admission, isOver, log } = gateway;
  if (isOver) forgetWaiting(admission);
  let hasBegun = false;
  for (let next = takeNext(admission); next !== undefined; next = takeNext(admission)) {
    for (const flow of next) authorize(gateway, now, flow);
    hasBegun = true;
  }
  const over = crowdOver(admission, now);
  if (over !== undefined) log.info?.("no client waits any more", over);
  return hasBegun;
}

function requestOf({ client, gatewayCredentials, clientCredentials }: AuthorizeFlow): ConnectionRequest {
  return {
    id: client.cid,
    remoteKey: client.publicKey,
    presharedKey: client.presharedKey,
    localCredentials: gatewayCredentials,
    remoteCredentials: clientCredentials,
  };
}

function withExpiry(rid: string, expiresAt: UnixMs | undefined): (flow: AuthorizeFlow) => AuthorizeFlow {
  return (flow) => {
    if (flow.resource.rid !== rid) return flow;
    const { expiresAt: _, ...rest } = flow;
    return expiresAt === undefined ? rest : { ...rest, expiresAt };
  };
}

/** TN-52. A flow that is refused is not answered, so that the portal chooses another gateway (PT-85). */
function authorize(gateway: GatewayState, now: Instant, flow: AuthorizeFlow): void {
  const { admission, connections, grants, log, events } = gateway;
  const { client, resource } = flow;
  const fields = { cid: client.cid, rid: resource.rid };
  if (gateway.own === undefined)
    return log.warn?.("access refused", { ...fields, reason: "the portal has not sent our addresses yet" });
  const outcome = connections.upsertConnection(now, requestOf(flow));
  if (outcome.kind === "no-relays") wantRelays(gateway, now);
  if (outcome.kind === "no-relays" || outcome.kind === "bad-credentials") {
    return log.warn?.("access refused", {
      reason: "no connection to the client can be made",
      ...fields,
      why: outcome.kind,
    });
  }
  if (outcome.kind !== "reused") begin(admission, now, client.cid);
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
