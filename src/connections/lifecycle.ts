/** Making, reusing and ending connections (SN §5.2, §5.5, §5.8). */
import { copyOf, equalBytes, type Instant, SILENT, type SocketAddress } from "../base/index.ts";
import { createIceAgent, type LocalAddress } from "../ice/index.ts";
import { CLIENT_POLICY, GATEWAY_POLICY, type PeerRef } from "../wireguard/index.ts";
import { FAREWELL_MS } from "./constants.ts";
import { areEqual, credentialFields, isUsableRequest } from "./credentials.ts";
import type { ConnectionRequest, FailReason, UpsertOutcome } from "./face.ts";
import { noteActivity, rollOver } from "./path.ts";
import { type Connection, type ConnectionsState, fragmentsOf, idField, rememberClosed } from "./state.ts";

export function upsert(connections: ConnectionsState, request: ConnectionRequest): UpsertOutcome {
  if (!isUsableRequest(request)) return { kind: "bad-credentials" };
  const existing = connections.byId.get(request.id);
  if (existing !== undefined && isSameRequest(existing.request, request)) {
    reuse(connections, existing);
    return { kind: "reused", slot: existing.peer.slot };
  }
  if (connections.hostAddresses.length === 0) {
    connections.log.debug?.("no address and no relay for a connection", idField(connections, request.id));
    return { kind: "no-relays" };
  }
  // The new peer comes first: if the device refuses it, nothing has changed.
  const peer = addPeer(connections, request);
  if (peer === undefined) return { kind: "bad-credentials" };
  if (existing !== undefined) detach(connections, existing);
  const connection = create(connections, request, peer);
  connection.log.info?.(existing === undefined ? "creating" : "replacing", describe(connections, connection));
  seed(connections, connection);
  return { kind: existing === undefined ? "created" : "replaced", slot: peer.slot };
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
function reuse(connections: ConnectionsState, connection: Connection): void {
  connection.log.info?.("reusing", describe(connections, connection));
  noteActivity(connections, connection, "upsert");
  for (const candidate of connection.agent.localTexts()) {
    connections.events.push({ kind: "candidate-added", id: connection.id, candidate });
  }
  seed(connections, connection);
  rollOver(connections, connection);
}

function addPeer(connections: ConnectionsState, request: ConnectionRequest): PeerRef | undefined {
  const added = connections.device.addPeer(connections.now, {
    publicKey: request.remoteKey,
    presharedKey: request.presharedKey,
    policy: connections.options.role === "client" ? CLIENT_POLICY : GATEWAY_POLICY,
    isReachable: false,
    logFields: idField(connections, request.id),
  });
  if (added.ok) return added.value;
  connections.log.warn?.("peer refused", { ...idField(connections, request.id), reason: added.reason });
  return undefined;
}

function create(connections: ConnectionsState, given: ConnectionRequest, peer: PeerRef): Connection {
  const request: ConnectionRequest = {
    ...given,
    remoteKey: copyOf(given.remoteKey),
    presharedKey: copyOf(given.presharedKey),
  };
  const log = (connections.options.log ?? SILENT).scope("connections", idField(connections, request.id));
  const connection: Connection = {
    id: request.id,
    request,
    createdAt: connections.now,
    peer,
    log,
    agent: createIceAgent({
      now: connections.now,
      role: connections.options.role === "client" ? "controlling" : "controlled",
      localCredentials: request.localCredentials,
      remoteCredentials: request.remoteCredentials,
      random: connections.random,
      transactions: {
        add: (transaction) => connections.byTransaction.set(transaction, connection),
        remove: (transaction) => connections.byTransaction.delete(transaction),
      },
      log: log.scope("ice", idField(connections, request.id)),
    }),
    phase: { kind: "connecting", ipBuffer: [], wgBuffer: [] },
    disconnectedAt: undefined,
    lastRolloverAt: undefined,
    hasBeenEstablished: false,
    isSuspect: false,
    isAnnounced: false,
    stunBytesSent: 0,
    dueReason: "ice",
    dueAt: undefined,
    place: -1,
  };
  connections.byId.set(request.id, connection);
  connections.bySlot.set(peer.slot, connection);
  const key = fragmentsOf(request);
  connections.byFragments.set(key, [...(connections.byFragments.get(key) ?? []), connection]);
  return connection;
}

/** Gives the agent our own addresses; each that is new to it is signalled (SN-70, SN-137). */
export function seed(connections: ConnectionsState, connection: Connection): void {
  for (const address of seedingOrder(connections.hostAddresses)) addHost(connections, connection, address);
}

export function addHost(connections: ConnectionsState, connection: Connection, address: SocketAddress): void {
  const local: LocalAddress = { kind: "host", address, base: address };
  const candidate = connection.agent.addLocal(connections.now, local);
  if (candidate === undefined) return;
  connections.events.push({ kind: "candidate-added", id: connection.id, candidate });
  noteActivity(connections, connection, "own candidate");
}

/** Descending priority: the k-th IPv6 address before the k-th IPv4 one (SN-18, SN-21). */
function seedingOrder(addresses: readonly SocketAddress[]): readonly SocketAddress[] {
  const v6 = addresses.filter(({ address }) => address.length === 16);
  const v4 = addresses.filter(({ address }) => address.length === 4);
  const ranked = [...v6.map((address, k) => ({ address, k })), ...v4.map((address, k) => ({ address, k }))];
  return ranked.sort((a, b) => a.k - b.k).map(({ address }) => address);
}

/** SN-94: the state is gone at once, and no goodbye is sent. */
export function fail(connections: ConnectionsState, connection: Connection, reason: FailReason): void {
  connection.log.info?.("connection failed", {
    ...describe(connections, connection),
    reason,
    phase: connection.phase.kind,
  });
  connections.failures[reason]++;
  detach(connections, connection);
  connections.events.push({ kind: "connection-failed", id: connection.id, reason });
}

/** SN-106: the goodbye goes through the tunnel, if there is one, and is never repeated. */
export function close(connections: ConnectionsState, connection: Connection, goodbye: Uint8Array): void {
  connection.log.info?.("connection closed", describe(connections, connection));
  if (connection.phase.kind === "connecting") {
    detach(connections, connection);
  } else {
    connections.device.handleStaged(connections.now, connection.peer, goodbye);
    forget(connections, connection);
    connections.farewells.push({ peer: connection.peer, dueAt: (connections.now + FAREWELL_MS) as Instant });
  }
  connections.events.push({ kind: "connection-closed", id: connection.id });
}

/** Ends a connection in the device and in the plane. */
export function detach(connections: ConnectionsState, connection: Connection): void {
  forget(connections, connection);
  connections.device.removePeer(connections.now, connection.peer);
}

function forget(connections: ConnectionsState, connection: Connection): void {
  const { id, peer, request, agent } = connection;
  agent.close();
  if (connections.byId.get(id) === connection) connections.byId.delete(id);
  connections.bySlot.delete(peer.slot);
  const key = fragmentsOf(request);
  const others = (connections.byFragments.get(key) ?? []).filter((other) => other !== connection);
  if (others.length > 0) connections.byFragments.set(key, others);
  else connections.byFragments.delete(key);
  connections.unpublished.delete(connection);
  connections.idleToVerify.delete(connection);
  connections.queue.set(connection, undefined);
  rememberClosed(connections, connection);
}

export function describe(
  connections: ConnectionsState,
  connection: Connection,
): Readonly<Record<string, unknown>> {
  return {
    ...idField(connections, connection.id),
    ...credentialFields(connection.request),
    connection: connection.peer.peerId,
  };
}
