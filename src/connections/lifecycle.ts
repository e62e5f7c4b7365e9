/** Making, reusing and ending connections (SN §5.2, §5.5, §5.8). */
import { after, copyOf, equalBytes, type Instant, SILENT } from "../base/index.ts";
import { ICE } from "../ice/index.ts";
import { CLIENT_POLICY, GATEWAY_POLICY, type PeerRef } from "../wireguard/index.ts";
import { noteChange } from "./changes.ts";
import { AWAITED_MS, FAREWELL_MS } from "./constants.ts";
import { areEqual, fragmentFields, isUsableRequest, passwordHashes } from "./credentials.ts";
import { rememberFailure } from "./explain.ts";
import type { ConnectionRequest, FailReason, UpsertOutcome } from "./face.ts";
import { seed } from "./own-candidates.ts";
import { noteActivity, rollOver } from "./path.ts";
import { chooseRelay } from "./relays.ts";
import {
  type Connection,
  type ConnectionsState,
  fragmentsOf,
  idField,
  planeActivity,
  rememberClosed,
} from "./state.ts";

export function upsert(state: ConnectionsState, request: ConnectionRequest): UpsertOutcome {
  if (!isUsableRequest(request)) return { kind: "bad-credentials" };
  const existing = state.byId.get(request.id);
  if (existing !== undefined && wouldReuse(state, request)) {
    reuse(state, existing);
    return { kind: "reused", slot: existing.peer.slot };
  }
  if (state.hostAddresses.length === 0 && state.relays.size === 0) {
    state.log.debug?.("no address and no relay for a connection", idField(state, request.id));
    return { kind: "no-relays" };
  }
  // The new peer comes first: if the device refuses it, nothing has changed.
  const peer = addPeer(state, request);
  if (peer === undefined) return { kind: "bad-credentials" };
  if (existing !== undefined) detach(state, existing);
  const connection = create(state, request, peer);
  connection.log.info?.(existing === undefined ? "creating" : "replacing", describe(state, connection));
  connection.log.debug?.("credentials", passwordHashes(connection.request));
  noteChange(state, connection);
  seed(state, connection);
  return { kind: existing === undefined ? "created" : "replaced", slot: peer.slot };
}

export function wouldReuse({ byId }: ConnectionsState, request: ConnectionRequest): boolean {
  const existing = byId.get(request.id);
  return existing !== undefined && isSameRequest(existing.request, request);
}

/** SN-68: all that both ends must agree on. */
function isSameRequest(a: ConnectionRequest, b: ConnectionRequest): boolean {
  return (
    areEqual(a.localCredentials, b.localCredentials) &&
    areEqual(a.remoteCredentials, b.remoteCredentials) &&
    equalBytes(a.remoteKey, b.remoteKey) &&
    equalBytes(a.presharedKey, b.presharedKey)
  );
}

/** SN-72, in its order: the peer may have lost all it knew of us. */
function reuse(state: ConnectionsState, connection: Connection): void {
  connection.log.info?.("reusing", describe(state, connection));
  connection.log.debug?.("credentials", passwordHashes(connection.request));
  noteActivity(state, connection, "upsert");
  for (const candidate of ICE.localTexts(connection.agent)) {
    state.events.push({ kind: "candidate-added", id: connection.id, candidate });
  }
  seed(state, connection);
  rollOver(state, connection);
}

function addPeer(state: ConnectionsState, request: ConnectionRequest): PeerRef | undefined {
  const added = state.device.addPeer(state.now, {
    publicKey: request.remoteKey,
    presharedKey: request.presharedKey,
    policy: state.options.role === "client" ? CLIENT_POLICY : GATEWAY_POLICY,
    isReachable: false,
    logFields: idField(state, request.id),
  });
  if (added.ok) return added.value;
  state.log.warn?.("peer refused", { ...idField(state, request.id), reason: added.reason });
  return undefined;
}

function create(state: ConnectionsState, given: ConnectionRequest, peer: PeerRef): Connection {
  const request: ConnectionRequest = {
    ...given,
    remoteKey: copyOf(given.remoteKey),
    presharedKey: copyOf(given.presharedKey),
  };
  const log = (state.options.log ?? SILENT).scope("connections", idField(state, request.id));
  const connection: Connection = {
    id: request.id,
    request,
    createdAt: state.now,
    peer,
    log,
    agent: ICE.create({
      now: state.now,
      role: state.options.role === "client" ? "controlling" : "controlled",
      localCredentials: request.localCredentials,
      remoteCredentials: request.remoteCredentials,
      random: state.random,
      transactions: {
        add: (transaction) => state.byTransaction.set(transaction, connection),
        remove: (transaction) => state.byTransaction.delete(transaction),
      },
      log: log.scope("ice", idField(state, request.id)),
    }),
    phase: { kind: "connecting", ipBuffer: [], wgBuffer: [] },
    disconnectedAt: undefined,
    lastRolloverAt: undefined,
    hasBeenEstablished: false,
    isSuspect: false,
    relay: chooseRelay(state),
    isBroken: false,
    publishedChannel: undefined,
    isAnnounced: false,
    stunBytesSent: 0,
    stunBytesRelayed: 0,
    drops: {},
    dueReason: "ice",
    dueAt: undefined,
    place: -1,
  };
  state.byId.set(request.id, connection);
  state.bySlot.set(peer.slot, connection);
  const key = fragmentsOf(request);
  state.byFragments.set(key, [...(state.byFragments.get(key) ?? []), connection]);
  return connection;
}

/** SN-94: the state is gone at once, and no goodbye is sent. */
export function fail(state: ConnectionsState, connection: Connection, reason: FailReason): void {
  connection.log.info?.("connection failed", {
    ...describe(state, connection),
    reason,
    phase: connection.phase.kind,
  });
  state.failures[reason]++;
  rememberFailure(state, connection, reason);
  noteChange(state, connection, { state: "failed", reason });
  const awaitedUntil = awaitedUntilOf(state, connection);
  detach(state, connection);
  const wasIdle = connection.phase.kind === "idle";
  state.events.push({ kind: "connection-failed", id: connection.id, reason, wasIdle, awaitedUntil });
}

function awaitedUntilOf(state: ConnectionsState, connection: Connection): Instant | undefined {
  const lastData = planeActivity(state, connection);
  const until = after(lastData as Instant, AWAITED_MS);
  return lastData > 0 && state.now < until ? until : undefined;
}

/** SN-106: the goodbye goes through the tunnel, if there is one, and is never repeated. */
export function close(state: ConnectionsState, connection: Connection, goodbye: Uint8Array): void {
  connection.log.info?.("connection closed", describe(state, connection));
  noteChange(state, connection, { state: "closed" });
  if (connection.phase.kind === "connecting") {
    detach(state, connection);
  } else {
    state.device.send(state.now, connection.peer, goodbye);
    forget(state, connection);
    state.farewells.push({ peer: connection.peer, dueAt: (state.now + FAREWELL_MS) as Instant });
  }
  state.events.push({ kind: "connection-closed", id: connection.id });
}

/** Ends a connection in the device and in the plane. */
export function detach(state: ConnectionsState, connection: Connection): void {
  forget(state, connection);
  state.device.removePeer(state.now, connection.peer);
}

function forget(state: ConnectionsState, connection: Connection): void {
  const { id, peer, request, agent } = connection;
  ICE.close(agent);
  if (state.byId.get(id) === connection) state.byId.delete(id);
  state.bySlot.delete(peer.slot);
  const key = fragmentsOf(request);
  const others = (state.byFragments.get(key) ?? []).filter((other) => other !== connection);
  if (others.length > 0) state.byFragments.set(key, others);
  else state.byFragments.delete(key);
  state.unpublished.delete(connection);
  state.openings.delete(peer.slot);
  state.queue.set(connection, undefined);
  rememberClosed(state, connection);
}

export function describe(state: ConnectionsState, connection: Connection): Readonly<Record<string, unknown>> {
  return {
    ...idField(state, connection.id),
    ...fragmentFields(connection.request),
    connection: connection.peer.peerId,
  };
}
