/**
 * Puts a new configuration into effect as one change set (PT-90, PT-91, PT-93, PT-114).
 *
 * First what ends: sockets of tokens that are gone, then authorisations, told to gateways. Then what
 * clients see, deletions before creations.
 */
import type { Instant } from "../../base/index.ts";
import { toFrameText } from "../protocol/index.ts";
import { basisOf, checkPolicy, decideGrant, type Subject } from "./access.ts";
import { isTokenUsable } from "./admission.ts";
import { announceEnd, toExpiry } from "./announce-end.ts";
import { type AuthorizationRecord, isLive } from "./authorizations.ts";
import { pushInterface } from "./client-view.ts";
import { type Core, pushToGateway, subjectOf } from "./core.ts";
import type { PortalModel } from "./model.ts";
import { accessFields } from "./names.ts";
import type { PeerSocket } from "./sockets.ts";
import { gatewayResourceOf, identityOf } from "./view.ts";

/** Ends a socket whose token is revoked or has expired: its next attempt gets 401 (PT-93). */
export function disconnect(core: Core, socket: PeerSocket): void {
  const { kind: topic } = socket;
  const payload = { reason: "token_expired" };
  core.sockets.send(socket, toFrameText({ topic, event: "disconnect", payload }));
  core.sockets.close(socket, 1000, "token expired");
}

/** Takes the new model over; returns the sockets that it ended. */
export function applyModel(core: Core, now: Instant, model: PortalModel): readonly PeerSocket[] {
  const before = core.model;
  core.model = model;
  core.store.clearHardwareChange((externalId) => model.verified.has(externalId));
  const ended = endRevokedSockets(core, now);
  endAuthorizations(core, now);
  announceResources(core, before);
  if (JSON.stringify(before.dns) !== JSON.stringify(model.dns)) {
    for (const socket of core.sockets.all()) {
      if (socket.kind === "client" && socket.stage === "ready") pushInterface(core, socket);
    }
  }
  return ended;
}

function endRevokedSockets(core: Core, now: Instant): readonly PeerSocket[] {
  const wallNow = core.clock.wallNow(now);
  const ended: PeerSocket[] = [];
  for (const socket of [...core.sockets.all()]) {
    const token = core.model.tokens.get(socket.token.hash);
    const isUsable = token !== undefined && isTokenUsable(core.model, token, wallNow);
    if (isUsable && token.ownerId === socket.token.ownerId) continue;
    // A token that moved to another owner still opens the door, as another peer.
    if (isUsable) core.sockets.close(socket, 1000, "token has another owner");
    else disconnect(core, socket);
    ended.push(socket);
  }
  return ended;
}

/** Ends what the present configuration does not grant any more, or moves it to another policy. */
export function endAuthorizations(core: Core, now: Instant): void {
  const wallNow = core.clock.wallNow(now);
  const { authorizations } = core.store;
  const ended = [...authorizations.all()].filter(
    (record) => isLive(record, wallNow) && !stillHolds(core, now, record),
  );
  if (ended.length === 0) return;
  for (const record of ended) authorizations.delete(record);
  for (const record of ended) {
    const renewed = renew(core, now, record);
    if (renewed !== undefined) authorizations.put(renewed);
    if (announceEnd(core, now, record)) continue;
    const { cid, rid } = record;
    if (core.sockets.readyPeer("client", cid) === undefined) {
      core.store.rejections.note({ cid, rid, at: wallNow });
    }
    core.log.info?.("access revoked", accessFields(core, record));
  }
  core.store.commit();
}

/** Whether nothing that the record rests on has changed. */
function stillHolds(core: Core, now: Instant, record: AuthorizationRecord): boolean {
  const resource = core.model.resources.get(record.rid);
  const policy = core.model.policies.get(record.policyId);
  if (resource === undefined || policy?.resourceId !== resource.id) return false;
  if (basisOf(policy, resource) !== record.basis) return false;
  const subject = subjectOfRecord(core, now, record);
  return subject !== undefined && checkPolicy(core.model, subject, policy.id) !== undefined;
}

/**
 * The same access under a policy that grants it now (PT-91). A resource that has become another one is
 * not the same access: the gateway holds its old address.
 */
function renew(core: Core, now: Instant, record: AuthorizationRecord): AuthorizationRecord | undefined {
  const resource = core.model.resources.get(record.rid);
  const subject = subjectOfRecord(core, now, record);
  if (resource === undefined || subject === undefined) return undefined;
  if (identityOf(resource) !== record.identity) return undefined;
  const grant = decideGrant(core.model, subject, record.rid);
  if (grant.kind !== "granted") return undefined;
  const { expiresAt: _, ...pair } = record;
  return {
    ...pair,
    policyId: grant.policy.id,
    basis: basisOf(grant.policy, resource),
    ...(grant.expiresAt === undefined ? {} : { expiresAt: grant.expiresAt }),
  };
}

/** Who the record is for; `undefined` when token, device, gateway or site are not what they were. */
function subjectOfRecord(core: Core, now: Instant, record: AuthorizationRecord): Subject | undefined {
  const { model, store } = core;
  const token = model.tokens.get(record.tokenHash);
  const device = store.get("client", record.cid);
  const gateway = store.get("gateway", record.gid);
  if (token === undefined || device === undefined || gateway === undefined) return undefined;
  if (token.ownerId !== device.ownerId || !isTokenUsable(model, token, core.clock.wallNow(now))) {
    return undefined;
  }
  const resource = model.resources.get(record.rid);
  if (resource === undefined) return undefined;
  if (resource.siteId !== gateway.ownerId || !model.sites.has(gateway.ownerId)) return undefined;
  return subjectOf(core, device, token, now);
}

/** Names and filters that changed, to the gateways of the site (PT-63, PT-90). */
function announceResources(core: Core, before: PortalModel): void {
  for (const resource of core.model.resources.values()) {
    const old = before.resources.get(resource.id);
    if (old === undefined || identityOf(old) !== identityOf(resource)) continue;
    const view = gatewayResourceOf(resource);
    if (JSON.stringify(view) === JSON.stringify(gatewayResourceOf(old))) continue;
    for (const socket of core.sockets.all()) {
      if (socket.kind !== "gateway" || socket.stage !== "ready") continue;
      if (core.store.get("gateway", socket.peerId)?.ownerId !== resource.siteId) continue;
      pushToGateway(core, socket, { kind: "resource-updated", resource: view });
    }
  }
}

/** What the gateway's `init` lists: one entry per pair, with the latest expiry (PT-61). */
export function authorizationsOf(core: Core, now: Instant, gid: string) {
  const latest = new Map<string, { cid: string; rid: string; expiresAt: ReturnType<typeof toExpiry> }>();
  for (const { cid, rid, expiresAt } of core.store.authorizations.ofGateway(gid, core.clock.wallNow(now))) {
    const key = `${cid}|${rid}`;
    const expiry = toExpiry(expiresAt);
    const known = latest.get(key);
    if (known === undefined || expiry > known.expiresAt) latest.set(key, { cid, rid, expiresAt: expiry });
  }
  return [...latest.values()];
}

/** The resources of authorizations: what changed of them while the gateway was away is not told otherwise (PT-61). */
export function resourcesOf(core: Core, authorizations: readonly { readonly rid: string }[]) {
  return [...new Set(authorizations.map(({ rid }) => rid))].flatMap((rid) => {
    const resource = core.model.resources.get(rid);
    return resource === undefined ? [] : [gatewayResourceOf(resource)];
  });
}
