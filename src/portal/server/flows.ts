/**
 * From `create_flow` to `flow_created`, and candidates both ways (PT-83 to PT-87).
 *
 *   client          portal                    gateway
 *   create_flow ──▶ choose, record ─ authorize_flow ──▶
 *                   ◀──────────── flow_authorized {ref}
 *   ◀─ flow_created (once recorded on disk and answered)
 */
import { after, earliest, equalBytes, type Instant, randomBytes, toHex } from "../../base/index.ts";
import { deriveIceCredentials, derivePresharedKey } from "../derive.ts";
import type { ClientRequest, FlowFailureReason, GatewayRequest } from "../protocol/index.ts";
import { basisOf, decideGrant } from "./access.ts";
import { announceEnd } from "./announce-end.ts";
import type { AuthorizationRecord } from "./authorizations.ts";
import { type Core, count, pushToClient, pushToGateway, subjectOf } from "./core.ts";
import { chooseGateway } from "./gateway-choice.ts";
import type { TokenRecord } from "./model.ts";
import type { PeerSocket } from "./sockets.ts";
import type { StoredPeer } from "./stored-state.ts";
import { gatewayResourceOf, identityOf } from "./view.ts";

export interface Flows {
  /** A client asks for access (PT-83). */
  request(now: Instant, socket: PeerSocket, rid: string, known: readonly string[]): void;
  /** A gateway answers; false for a reference that is not its own (PT-85.3). */
  handleAuthorized(now: Instant, gateway: PeerSocket, ref: string): boolean;
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

export type ClientCandidates = Exclude<ClientRequest, { kind: "create-flow" }>;
export type GatewayCandidates = Exclude<GatewayRequest, { kind: "flow-authorized" }>;

/** `asked`: the gateway has not answered. `answered`: waits for the disk. `done`: remembers its ref. */
type FlowStage = "asked" | "answered" | "done";

interface Flow {
  readonly ref: string;
  readonly record: AuthorizationRecord;
  readonly token: TokenRecord;
  readonly revision: number;
  readonly forgetAt: Instant;
  /** Gateways that have failed this request already. */
  readonly excluded: readonly string[];
  known: readonly string[];
  stage: FlowStage;
  answerBy: Instant;
  lastAskedAt: Instant;
  /** The public keys that the gateway was told. */
  clientKey: Uint8Array;
  gatewayKey: Uint8Array;
  /** Candidates of the gateway: they must not overtake `flow_created`. */
  held: GatewayCandidates[];
  heldCount: number;
}

const ANSWER_WITHIN_MS = 5_000;
const FORGET_AFTER_MS = 60_000;
/** A gateway that failed is replaced so often, then the site counts as offline (PT-85.5). */
const MAX_RETRIES = 2;
/** A client repeats a request every 2 s at most (PT-55); faster ones do not reach the gateway. */
const MIN_REPEAT_MS = 1_000;
const SUSPECT_FOR_MS = 60_000;
const MAX_HELD_CANDIDATES = 64;
/** Tells nodes of one portal apart; there is one (PT-85). */
const NODE_PREFIX = "n1";

export function createFlows(core: Core): Flows {
  const byRef = new Map<string, Flow>();
  const pending = new Map<string, Flow>();
  const pendingOfPair = new Map<string, Set<Flow>>();
  /** Through which gateway a client was given a resource last, for the suspects of PT-84. */
  const given = new Map<string, { readonly gid: string; readonly at: Instant; readonly key: Uint8Array }>();
  let nextAt: Instant | undefined;

  function begin(
    now: Instant,
    socket: PeerSocket,
    rid: string,
    known: readonly string[],
    excluded: readonly string[],
  ): void {
    const { model, store } = core;
    const device = store.get("client", socket.peerId);
    const subject = device === undefined ? undefined : subjectOf(core, device, socket.token, now);
    const resource = model.resources.get(rid);
    if (device === undefined || subject === undefined || resource === undefined) {
      fail(socket, rid, "not_found");
      return;
    }
    const grant = decideGrant(model, subject, rid);
    if (grant.kind !== "granted") {
      const isForbidden = grant.kind === "forbidden";
      fail(socket, rid, isForbidden ? "forbidden" : "not_found", isForbidden ? grant.violated : []);
      return;
    }
    const choice = choose(now, device, resource.siteId, rid, known, excluded);
    if (choice.kind === "failed") {
      fail(socket, rid, choice.reason);
      return;
    }
    const record: AuthorizationRecord = {
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
    const flow: Flow = {
      ref: `${NODE_PREFIX}.${toHex(randomBytes(core.random, 16))}`,
      record,
      token: socket.token,
      revision: store.commit(),
      answerBy: after(now, ANSWER_WITHIN_MS),
      forgetAt: after(now, FORGET_AFTER_MS),
      excluded,
      known,
      stage: "asked",
      lastAskedAt: now,
      clientKey: device.publicKey,
      gatewayKey: device.publicKey,
      held: [],
      heldCount: 0,
    };
    add(flow);
    ask(now, flow);
  }

  function choose(
    now: Instant,
    device: StoredPeer,
    siteId: string,
    rid: string,
    known: readonly string[],
    excluded: readonly string[],
  ) {
    const wallNow = core.clock.wallNow(now);
    const { authorizations } = core.store;
    const last = given.get(`${device.id}|${rid}`);
    const isSuspect =
      last !== undefined && now - last.at < SUSPECT_FOR_MS && equalBytes(last.key, device.publicKey);
    return chooseGateway({
      candidates: readyGateways(siteId),
      clientVersion: device.version,
      excluded,
      suspect: isSuspect ? last.gid : undefined,
      known,
      hasLiveAuthorization: (gid) => authorizations.ofPair(device.id, gid, wallNow).length > 0,
      load: (gid) => new Set(authorizations.ofGateway(gid, wallNow).map(({ cid }) => cid)).size,
      random: core.random,
    });
  }

  function readyGateways(siteId: string) {
    const found: { readonly gid: string; readonly version: string }[] = [];
    for (const socket of core.sockets.all()) {
      if (socket.kind !== "gateway" || socket.stage !== "ready") continue;
      const gateway = core.store.get("gateway", socket.peerId);
      if (gateway?.ownerId === siteId) found.push({ gid: gateway.id, version: gateway.version });
    }
    return found;
  }

  /** Tells the gateway, with the keys both ends have now. */
  function ask(now: Instant, flow: Flow): void {
    const { cid, gid, rid, expiresAt } = flow.record;
    const device = core.store.get("client", cid);
    const gateway = core.store.get("gateway", gid);
    const socket = core.sockets.readyPeer("gateway", gid);
    const resource = core.model.resources.get(rid);
    if (device === undefined || gateway === undefined || resource === undefined) return;
    if (socket === undefined) return;
    const actor = core.model.actors.get(device.ownerId);
    const credentials = deriveIceCredentials(device, gateway);
    const hasOldKeys =
      !equalBytes(flow.clientKey, device.publicKey) || !equalBytes(flow.gatewayKey, gateway.publicKey);
    // Repeating the question does not give a silent gateway more time; a new question does.
    if (hasOldKeys) flow.answerBy = after(now, ANSWER_WITHIN_MS);
    nextAt = earliest(nextAt, flow.answerBy);
    flow.stage = "asked";
    flow.lastAskedAt = now;
    flow.clientKey = device.publicKey;
    flow.gatewayKey = gateway.publicKey;
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
      subject: {
        ...(actor === undefined ? {} : { actor_id: actor.id, actor_name: actor.name }),
        ...(actor?.email === undefined ? {} : { actor_email: actor.email }),
      },
    });
  }

  /** Both the disk and the gateway have said yes: the client may begin (PT-85.4). */
  function release(now: Instant, flow: Flow): void {
    if (flow.stage !== "answered" || core.durableRevision < flow.revision) return;
    const { cid, gid, rid } = flow.record;
    const device = core.store.get("client", cid);
    const gateway = core.store.get("gateway", gid);
    const site = core.model.resources.get(rid)?.siteId;
    if (device === undefined || gateway === undefined || site === undefined) return;
    const isCurrent =
      equalBytes(device.publicKey, flow.clientKey) && equalBytes(gateway.publicKey, flow.gatewayKey);
    if (!isCurrent) {
      // One end has a new key since: both must derive from the same ones (PT-86, PT-100).
      ask(now, flow);
      return;
    }
    settle(flow);
    given.set(`${cid}|${rid}`, { gid, at: now, key: device.publicKey });
    const client = core.sockets.readyPeer("client", cid);
    if (client === undefined) return;
    const credentials = deriveIceCredentials(device, gateway);
    count(core.counters.flows, "created");
    pushToClient(core, client, {
      kind: "flow-created",
      rid,
      gid,
      siteId: site,
      gatewayKey: gateway.publicKey,
      gatewayIpv4: gateway.ipv4,
      gatewayIpv6: gateway.ipv6,
      presharedKey: derivePresharedKey(device, gateway),
      clientCredentials: credentials.client,
      gatewayCredentials: credentials.gateway,
    });
    for (const held of flow.held) passToClient(cid, gid, held);
    flow.held = [];
  }

  /** The gateway is gone or silent: another one, or none (PT-85.5). */
  function failOver(now: Instant, flow: Flow): void {
    const { cid, gid, rid } = flow.record;
    settle(flow);
    byRef.delete(flow.ref);
    core.store.authorizations.delete(flow.record);
    core.store.commit();
    announceEnd(core, now, flow.record);
    const client = core.sockets.readyPeer("client", cid);
    if (client === undefined) return;
    if (flow.excluded.length >= MAX_RETRIES) fail(client, rid, "offline");
    else begin(now, client, rid, flow.known, [...flow.excluded, gid]);
  }

  function fail(
    socket: PeerSocket,
    rid: string,
    reason: FlowFailureReason,
    violatedProperties: readonly string[] = [],
  ): void {
    count(core.counters.flows, reason);
    core.log.debug?.("no flow", { cid: socket.peerId, rid, reason });
    pushToClient(core, socket, { kind: "flow-creation-failed", rid, reason, violatedProperties });
  }

  function add(flow: Flow): void {
    const { cid, gid, rid } = flow.record;
    byRef.set(flow.ref, flow);
    pending.set(`${cid}|${rid}`, flow);
    const pair = `${cid}|${gid}`;
    const flows = pendingOfPair.get(pair);
    if (flows === undefined) pendingOfPair.set(pair, new Set([flow]));
    else flows.add(flow);
    nextAt = earliest(nextAt, flow.answerBy);
  }

  /** No longer pending; its reference is remembered for repeated answers. */
  function settle(flow: Flow): void {
    const { cid, gid, rid } = flow.record;
    flow.stage = "done";
    if (pending.get(`${cid}|${rid}`) === flow) pending.delete(`${cid}|${rid}`);
    const flows = pendingOfPair.get(`${cid}|${gid}`);
    flows?.delete(flow);
    if (flows?.size === 0) pendingOfPair.delete(`${cid}|${gid}`);
  }

  function passToClient(cid: string, gid: string, { kind, candidates }: GatewayCandidates): void {
    const client = core.sockets.readyPeer("client", cid);
    if (client === undefined) {
      core.counters.candidatesDropped += candidates.length;
      return;
    }
    const isNew = kind === "broadcast-ice-candidates";
    pushToClient(core, client, {
      kind: isNew ? "ice-candidates" : "invalidate-ice-candidates",
      gid,
      candidates,
    });
  }

  function hold(flow: Flow, request: GatewayCandidates): void {
    const room = MAX_HELD_CANDIDATES - flow.heldCount;
    const candidates = request.candidates.slice(0, room);
    core.counters.candidatesDropped += request.candidates.length - candidates.length;
    if (candidates.length === 0) return;
    flow.heldCount += candidates.length;
    flow.held.push({ ...request, candidates });
  }

  function mayExchange(now: Instant, cid: string, gid: string): boolean {
    if (pendingOfPair.has(`${cid}|${gid}`)) return true;
    return core.store.authorizations.ofPair(cid, gid, core.clock.wallNow(now)).length > 0;
  }

  return {
    request(now, socket, rid, known) {
      if (!socket.shown.has(rid)) {
        fail(socket, rid, "not_found");
        return;
      }
      const flow = pending.get(`${socket.peerId}|${rid}`);
      if (flow === undefined) {
        begin(now, socket, rid, known, []);
        return;
      }
      flow.known = known;
      const device = core.store.get("client", socket.peerId);
      const hasNewKey = device !== undefined && !equalBytes(device.publicKey, flow.clientKey);
      if (hasNewKey || now - flow.lastAskedAt >= MIN_REPEAT_MS) ask(now, flow);
    },
    handleAuthorized(now, gateway, ref) {
      const flow = byRef.get(ref);
      if (flow === undefined || flow.record.gid !== gateway.peerId) return false;
      if (flow.stage === "asked") {
        flow.stage = "answered";
        release(now, flow);
      }
      return true;
    },
    handleClientCandidates(now, client, request) {
      const isNew = request.kind === "broadcast-ice-candidates";
      for (const gid of new Set(request.gids)) {
        const gateway = core.sockets.readyPeer("gateway", gid);
        if (!mayExchange(now, client.peerId, gid)) {
          core.counters.candidatesUnauthorized += request.candidates.length;
        } else if (gateway === undefined) {
          core.counters.candidatesDropped += request.candidates.length;
        } else {
          pushToGateway(core, gateway, {
            kind: isNew ? "ice-candidates" : "invalidate-ice-candidates",
            cid: client.peerId,
            candidates: request.candidates,
          });
        }
      }
    },
    handleGatewayCandidates(now, gateway, request) {
      for (const cid of new Set(request.cids)) {
        const [flow] = pendingOfPair.get(`${cid}|${gateway.peerId}`) ?? [];
        if (flow !== undefined) hold(flow, request);
        else if (mayExchange(now, cid, gateway.peerId)) passToClient(cid, gateway.peerId, request);
        else core.counters.candidatesUnauthorized += request.candidates.length;
      }
    },
    handleDurable(now) {
      for (const flow of [...pending.values()]) release(now, flow);
    },
    handleGatewayGone(now, gid) {
      for (const flow of [...pending.values()]) {
        if (flow.record.gid === gid) failOver(now, flow);
      }
    },
    handleRevoked(now) {
      const live = new Set(core.store.authorizations.all());
      for (const flow of [...pending.values()]) {
        if (live.has(flow.record)) continue;
        const { cid, rid } = flow.record;
        settle(flow);
        byRef.delete(flow.ref);
        const client = core.sockets.readyPeer("client", cid);
        if (client === undefined) continue;
        if (client.shown.has(rid)) begin(now, client, rid, flow.known, []);
        else fail(client, rid, "not_found");
      }
    },
    handleTimeout(now) {
      if (nextAt === undefined || now < nextAt) return;
      for (const flow of [...pending.values()]) {
        if (flow.stage === "asked" && now >= flow.answerBy) failOver(now, flow);
      }
      for (const flow of [...byRef.values()]) {
        if (now < flow.forgetAt) continue;
        settle(flow);
        byRef.delete(flow.ref);
      }
      for (const [key, { at }] of given) if (now - at >= SUSPECT_FOR_MS) given.delete(key);
      nextAt = undefined;
      for (const flow of byRef.values()) {
        nextAt = earliest(nextAt, flow.stage === "asked" ? flow.answerBy : flow.forgetAt);
      }
    },
    pollTimeout: () => nextAt,
  };
}
