/**
 * From `create_flow` to `flow_created` (PT-83 to PT-86).
 *
 *   client          portal                    gateway
 *   create_flow ──▶ choose, record ─ authorize_flow ──▶
 *                   ◀──────────── flow_authorized {ref}
 *   ◀─ flow_created (once recorded on disk and answered)
 */
import {
  after,
  earliest,
  equalBytes,
  equalValues,
  type Instant,
  randomBytes,
  toHex,
} from "../../base/index.ts";
import { deriveIceCredentials, derivePresharedKey } from "../derive.ts";
import type { FlowFailureReason, FlowSubject } from "../protocol/index.ts";
import { basisOf, decideGrant } from "./access.ts";
import { announceEnd } from "./announce-end.ts";
import { type Core, count, pushToClient, pushToGateway, subjectOf } from "./core.ts";
import { type ClientCandidates, passToClients, passToGateways, releaseHeld } from "./flow-candidates.ts";
import {
  ANSWER_WITHIN_MS,
  addFlow,
  askAnew,
  awaitAnswer,
  busyUntil,
  createFlow,
  createFlowTable,
  endFlow,
  type Flow,
  type FlowTable,
  forgetFlow,
  type GatewayCandidates,
  type GivenGateway,
  noteAnswered,
  noteWaiting,
  SUSPECT_FOR_MS,
} from "./flow-table.ts";
import { chooseGateway, type GatewayCandidate, type GatewayChoice } from "./gateway-choice.ts";
import { accessFields } from "./names.ts";
import type { PeerSocket } from "./sockets.ts";
import type { StoredPeer } from "./stored-state.ts";
import { gatewayResourceOf, identityOf } from "./view.ts";

export interface Flows {
  /** A client asks for access (PT-83). */
  request(now: Instant, socket: PeerSocket, rid: string, known: readonly string[]): void;
  /** A gateway answers; false for a reference that is not its own (PT-85.3). */
  handleAuthorized(now: Instant, gateway: PeerSocket, ref: string): boolean;
  /** A gateway lets a client wait for its turn (TN-122); false as above. */
  handleWaiting(now: Instant, gateway: PeerSocket, ref: string): boolean;
  handleClientCandidates(now: Instant, client: PeerSocket, request: ClientCandidates): void;
  handleGatewayCandidates(now: Instant, gateway: PeerSocket, request: GatewayCandidates): void;
  /** More of the store is on disk now. */
  handleDurable(now: Instant): void;
  handleGatewayGone(now: Instant, gid: string): void;
  /** Begins pending flows anew whose authorisation a change of configuration has taken (PT-90). */
  handleRevoked(now: Instant): void;
  handleTimeout(now: Instant): void;
  pollTimeout(): Instant | undefined;
}

/** A gateway that failed is replaced so often, then the site counts as offline (PT-85.5). */
const MAX_RETRIES = 2;
/** A gateway that is busy is waited for so long, where no other can serve (PT-85.5): 10,000 clients, 33 of them a second. */
const BUSY_WITHIN_MS = 300_000;
/** A client repeats a request every 2 s at most (PT-55); faster ones do not reach the gateway. */
const MIN_REPEAT_MS = 1_000;
/** Tells nodes of one portal apart; there is one (PT-85). */
const NODE_PREFIX = "n1";

/** What a client wants, and what has been tried for it. */
interface Wish {
  readonly rid: string;
  readonly known: readonly string[];
  readonly excluded: readonly string[];
  /** When the client asked. */
  readonly since: Instant;
}

export function createFlows(core: Core): Flows {
  const table = createFlowTable(core);
  return {
    request: (now, socket, rid, known) =>
      request(table, now, socket, { rid, known, excluded: [], since: now }),
    handleAuthorized(now, gateway, ref) {
      const flow = table.byRef.get(ref);
      if (flow === undefined || flow.record.gid !== gateway.peerId) return false;
      if (flow.stage === "asked" || flow.stage === "waiting") {
        noteAnswered(table, now, flow);
        release(table, now, flow);
      }
      return true;
    },
    handleWaiting(now, gateway, ref) {
      const flow = table.byRef.get(ref);
      if (flow === undefined || flow.record.gid !== gateway.peerId) return false;
      if (flow.stage === "asked") letWait(table, now, flow);
      return true;
    },
    handleClientCandidates: (now, client, candidates) => passToGateways(table, now, client, candidates),
    handleGatewayCandidates: (now, gateway, candidates) => passToClients(table, now, gateway, candidates),
    handleDurable(now) {
      for (const flow of [...table.answered]) release(table, now, flow);
    },
    handleGatewayGone(now, gid) {
      table.answers.delete(gid);
      for (const flow of [...table.pending.values()]) if (flow.record.gid === gid) failOver(table, now, flow);
    },
    handleRevoked: (now) => restartRevoked(table, now),
    handleTimeout(now) {
      const { deadlines } = table;
      for (let first = deadlines.first(); isDue(first, now); first = deadlines.first()) {
        if (first.stage === "done") forgetFlow(table, now, first);
        else if (!isWaitedFor(table, now, first)) failOver(table, now, first);
      }
    },
    pollTimeout: () => table.deadlines.first()?.dueAt,
  };
}

function isDue(flow: Flow | undefined, now: Instant): flow is Flow {
  return flow?.dueAt !== undefined && flow.dueAt <= now;
}

function request(table: FlowTable, now: Instant, socket: PeerSocket, wish: Wish): void {
  const { core } = table;
  if (!socket.shown.has(wish.rid)) {
    fail(core, socket, wish.rid, "not_found");
    return;
  }
  const flow = table.pending.get(`${socket.peerId}|${wish.rid}`);
  if (flow === undefined) {
    if (!hasCrossed(table, now, socket, wish)) begin(table, now, socket, wish);
    return;
  }
  flow.known = wish.known;
  const device = core.store.get("client", socket.peerId);
  const hasNewKey = device !== undefined && !equalBytes(device.publicKey, flow.clientKey);
  const isWelcome = now - flow.lastAskedAt >= MIN_REPEAT_MS && !isBusy(table, now, flow);
  if (hasNewKey || isWelcome) ask(table, now, flow);
}

/** The question waits at its gateway, with others: repeating it would only be more for it to read. */
function isBusy(table: FlowTable, now: Instant, flow: Flow): boolean {
  if (flow.stage === "waiting") return true;
  const until = busyUntil(table, flow);
  return flow.stage === "asked" && until !== undefined && now < until;
}

/**
 * Whether the client asked again before it had our answer, which is on its way (PT-86): were that a new wish, the
 * gateway would count as one whose path failed. A client that has the answer knows the gateway (TN-29), so one that did
 * not know it before begins anew.
 */
function hasCrossed(
  { core, given }: FlowTable,
  now: Instant,
  socket: PeerSocket,
  { rid, known }: Wish,
): boolean {
  const last = given.get(`${socket.peerId}|${rid}`);
  if (last === undefined) return false;
  if (known.includes(last.gid) && !last.wasKnown) return false;
  if (now - last.at >= (known.includes(last.gid) ? MIN_REPEAT_MS : ANSWER_WITHIN_MS)) return false;
  const sockets = [socket.id, core.sockets.readyPeer("gateway", last.gid)?.id];
  return equalValues(sockets, last.sockets) && isGranted(core, now, last, { cid: socket.peerId, rid });
}

/** Decides, chooses, records and asks (PT-85.1, PT-85.2). */
function begin(table: FlowTable, now: Instant, socket: PeerSocket, wish: Wish): void {
  const { core } = table;
  const { model, store } = core;
  const { rid } = wish;
  const device = store.get("client", socket.peerId);
  const subject = device === undefined ? undefined : subjectOf(core, device, socket.token, now);
  const resource = model.resources.get(rid);
  if (device === undefined || subject === undefined || resource === undefined) {
    fail(core, socket, rid, "not_found");
    return;
  }
  const grant = decideGrant(model, subject, rid);
  if (grant.kind !== "granted") {
    if (grant.kind === "forbidden") fail(core, socket, rid, "forbidden", grant.violated);
    else fail(core, socket, rid, "not_found");
    return;
  }
  const choice = choose(table, now, device, resource.siteId, wish);
  if (choice.kind === "failed") {
    fail(core, socket, rid, choice.reason);
    return;
  }
  const record = {
    cid: device.id,
    gid: choice.gid,
    rid,
    policyId: grant.policy.id,
    tokenHash: socket.token.hash,
    identity: identityOf(resource),
    basis: basisOf(grant.policy, resource),
    ...(grant.expiresAt === undefined ? {} : { expiresAt: grant.expiresAt }),
  };
  store.authorizations.put(record);
  const flow = createFlow(now, {
    ref: `${NODE_PREFIX}.${toHex(randomBytes(core.random, 16))}`,
    record,
    revision: store.commit(),
    excluded: wish.excluded,
    since: wish.since,
    known: wish.known,
    clientKey: device.publicKey,
    gatewayKey: store.get("gateway", choice.gid)?.publicKey ?? new Uint8Array(32),
  });
  addFlow(table, flow);
  ask(table, now, flow);
}

function choose(
  { core, given }: FlowTable,
  now: Instant,
  device: StoredPeer,
  siteId: string,
  { rid, known, excluded }: Wish,
): GatewayChoice {
  const wallNow = core.clock.wallNow(now);
  const { authorizations } = core.store;
  const last = given.get(`${device.id}|${rid}`);
  // Where the portal has taken the access itself, or it has expired, asking again tells nothing of the path.
  const isSuspect =
    last !== undefined &&
    now - last.at < SUSPECT_FOR_MS &&
    equalBytes(last.clientKey, device.publicKey) &&
    isGranted(core, now, last, { cid: device.id, rid });
  return chooseGateway({
    candidates: readyGateways(core, siteId),
    clientVersion: device.version,
    excluded,
    suspect: isSuspect ? last.gid : undefined,
    known,
    hasLiveAuthorization: (gid) => authorizations.ofPair(device.id, gid, wallNow).length > 0,
    load: (gid) => new Set(authorizations.ofGateway(gid, wallNow).map(({ cid }) => cid)).size,
    random: core.random,
  });
}

/** The access that was given through this gateway still stands. */
function isGranted(
  { store, clock }: Core,
  now: Instant,
  { gid }: GivenGateway,
  { cid, rid }: { readonly cid: string; readonly rid: string },
): boolean {
  return store.authorizations.ofPair(cid, gid, clock.wallNow(now)).some((record) => record.rid === rid);
}

function readyGateways(core: Core, siteId: string): readonly GatewayCandidate[] {
  const found: GatewayCandidate[] = [];
  for (const socket of core.sockets.gateways()) {
    if (socket.stage !== "ready") continue;
    const gateway = core.store.get("gateway", socket.peerId);
    if (gateway?.ownerId === siteId) found.push({ gid: gateway.id, version: gateway.version });
  }
  return found;
}

/** Tells the gateway, with the keys both ends have now (PT-85.2, PT-86). */
function ask(table: FlowTable, now: Instant, flow: Flow): void {
  const { core } = table;
  const { cid, gid, rid, expiresAt } = flow.record;
  const device = core.store.get("client", cid);
  const gateway = core.store.get("gateway", gid);
  const socket = core.sockets.readyPeer("gateway", gid);
  const resource = core.model.resources.get(rid);
  if (device === undefined || gateway === undefined) return;
  if (resource === undefined || socket === undefined) return;
  // Repeating the question does not give a silent gateway more time; a new question does.
  if (!hasKeys(flow, device, gateway)) askAnew(now, flow);
  flow.stage = "asked";
  table.answered.delete(flow);
  awaitAnswer(table, flow, flow.answerBy);
  flow.lastAskedAt = now;
  flow.clientKey = device.publicKey;
  flow.gatewayKey = gateway.publicKey;
  const credentials = deriveIceCredentials(device, gateway);
  pushToGateway(core, socket, {
    kind: "authorize-flow",
    ref: flow.ref,
    resource: gatewayResourceOf(resource),
    client: {
      cid,
      publicKey: device.publicKey,
      presharedKey: derivePresharedKey(device, gateway),
      ipv4: device.ipv4,
      ipv6: device.ipv6,
      version: device.version,
      device: device.device,
    },
    clientCredentials: credentials.client,
    gatewayCredentials: credentials.gateway,
    ...(expiresAt === undefined ? {} : { expiresAt }),
    subject: flowSubjectOf(core, device),
  });
}

function flowSubjectOf(core: Core, device: StoredPeer): FlowSubject {
  const actor = core.model.actors.get(device.ownerId);
  if (actor === undefined) return {};
  const { id, name, email } = actor;
  return { actor_id: id, actor_name: name, ...(email === undefined ? {} : { actor_email: email }) };
}

function hasKeys(flow: Flow, device: StoredPeer, gateway: StoredPeer): boolean {
  return equalBytes(device.publicKey, flow.clientKey) && equalBytes(gateway.publicKey, flow.gatewayKey);
}

/** Both the disk and the gateway have said yes: the client may begin (PT-85.4). */
function release(table: FlowTable, now: Instant, flow: Flow): void {
  const { core } = table;
  if (flow.stage !== "answered" || core.durableRevision < flow.revision) return;
  const { cid, gid, rid } = flow.record;
  const device = core.store.get("client", cid);
  const gateway = core.store.get("gateway", gid);
  const siteId = core.model.resources.get(rid)?.siteId;
  if (device === undefined || gateway === undefined || siteId === undefined) return;
  if (!hasKeys(flow, device, gateway)) {
    // One end has a new key since: both must derive from the same ones (PT-86, PT-100).
    ask(table, now, flow);
    return;
  }
  endFlow(table, now, flow);
  const client = core.sockets.readyPeer("client", cid);
  const sockets = [client?.id, core.sockets.readyPeer("gateway", gid)?.id];
  const others = core.store.authorizations.ofPair(cid, gid, core.clock.wallNow(now)).length - 1;
  const wasKnown = flow.known.includes(gid) || others > 0;
  table.given.set(`${cid}|${rid}`, { gid, at: now, clientKey: device.publicKey, wasKnown, sockets });
  if (client === undefined) return;
  const credentials = deriveIceCredentials(device, gateway);
  count(core.counters.flows, "created");
  core.meters.flowMs.observe(now - flow.since);
  core.failures.get(cid)?.delete(rid);
  core.log.info?.("access granted", accessFields(core, flow.record));
  pushToClient(core, client, {
    kind: "flow-created",
    rid,
    gid,
    siteId,
    gatewayKey: gateway.publicKey,
    gatewayIpv4: gateway.ipv4,
    gatewayIpv6: gateway.ipv6,
    presharedKey: derivePresharedKey(device, gateway),
    clientCredentials: credentials.client,
    gatewayCredentials: credentials.gateway,
  });
  releaseHeld(table, flow);
}

/** Another gateway may have time for it (PT-85.5). */
function letWait(table: FlowTable, now: Instant, flow: Flow): void {
  noteWaiting(table, now, flow);
  if (!isWaitedFor(table, now, flow)) failOver(table, now, flow);
}

/** Nobody else can serve it, and its gateway lets it wait, or still answers what it is asked: the answer will come. */
function isWaitedFor(table: FlowTable, now: Instant, flow: Flow): boolean {
  const { stage, since, record } = flow;
  const until = stage === "waiting" ? after(now, ANSWER_WITHIN_MS) : busyUntil(table, flow);
  const by = earliest(until, after(since, BUSY_WITHIN_MS));
  if (until === undefined || by === undefined || now >= by) return false;
  // Who has left would only be in the way of others there.
  if (table.core.sockets.readyPeer("client", record.cid) === undefined) return false;
  if (hasOther(table, now, flow)) return false;
  awaitAnswer(table, flow, by);
  return true;
}

function hasOther(table: FlowTable, now: Instant, { record, known, excluded, since }: Flow): boolean {
  const { store, model } = table.core;
  const { cid, gid, rid } = record;
  const device = store.get("client", cid);
  const siteId = model.resources.get(rid)?.siteId;
  if (device === undefined || siteId === undefined || excluded.length >= MAX_RETRIES) return false;
  const wish: Wish = { rid, known, excluded: [...excluded, gid], since };
  return choose(table, now, device, siteId, wish).kind === "chosen";
}

/** The gateway is gone or silent: another one, or none (PT-85.5). */
function failOver(table: FlowTable, now: Instant, flow: Flow): void {
  const { core } = table;
  const { cid, gid, rid } = flow.record;
  forgetFlow(table, now, flow);
  core.store.authorizations.delete(flow.record);
  core.store.commit();
  announceEnd(core, now, flow.record);
  const client = core.sockets.readyPeer("client", cid);
  if (client === undefined) return;
  if (flow.excluded.length >= MAX_RETRIES) fail(core, client, rid, "offline");
  else
    begin(table, now, client, {
      rid,
      known: flow.known,
      excluded: [...flow.excluded, gid],
      since: flow.since,
    });
}

function restartRevoked(table: FlowTable, now: Instant): void {
  const { core } = table;
  const live = new Set(core.store.authorizations.all());
  for (const flow of [...table.pending.values()]) {
    if (live.has(flow.record)) continue;
    const { cid, rid } = flow.record;
    forgetFlow(table, now, flow);
    const client = core.sockets.readyPeer("client", cid);
    if (client === undefined) continue;
    if (client.shown.has(rid))
      begin(table, now, client, { rid, known: flow.known, excluded: [], since: flow.since });
    else fail(core, client, rid, "not_found");
  }
}

function fail(
  core: Core,
  socket: PeerSocket,
  rid: string,
  reason: FlowFailureReason,
  violatedProperties: readonly string[] = [],
): void {
  count(core.counters.flows, reason);
  logFailure(core, socket.peerId, rid, reason, violatedProperties);
  pushToClient(core, socket, { kind: "flow-creation-failed", rid, reason, violatedProperties });
}

/** One line per client, resource and reason; the client asks again every 2 s while it has traffic. */
function logFailure(
  core: Core,
  cid: string,
  rid: string,
  reason: FlowFailureReason,
  violated: readonly string[],
): void {
  const { failures, log } = core;
  const fields = {
    ...accessFields(core, { cid, rid }),
    reason,
    ...(violated.length > 0 ? { violated } : {}),
  };
  // An id that nobody configured may be any.
  if (!core.model.resources.has(rid) || failures.get(cid)?.get(rid) === reason) {
    log.debug?.("access refused", fields);
    return;
  }
  failures.set(cid, (failures.get(cid) ?? new Map<string, string>()).set(rid, reason));
  log.info?.("access refused", fields);
}
