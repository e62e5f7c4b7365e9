/** Making, reusing and ending connections (SN §5.2, §5.5, §5.8). */
import { copyOf, equalBytes, type Instant, SILENT, type SocketAddress } from "../base/index.ts";
import { createIceAgent, type LocalAddress } from "../ice/index.ts";
import { CLIENT_POLICY, GATEWAY_POLICY, type PeerRef } from "../wireguard/index.ts";
import { FAREWELL_MS } from "./constants.ts";
import { areEqual, credentialFields, isUsableRequest } from "./credentials.ts";
import type { ConnectionRequest, FailReason, UpsertOutcome } from "./face.ts";
import { noteActivity, rollOver } from "./path.ts";
import { type Connection, fragmentsOf, idField, type NodeState, rememberClosed } from "./state.ts";

export function upsert(node: NodeState, request: ConnectionRequest): UpsertOutcome {
  if (!isUsableRequest(request)) return { kind: "bad-credentials" };
  const existing = node.byId.get(request.id);
  if (existing !== undefined && isSameRequest(existing.request, request)) {
    reuse(node, existing);
    return { kind: "reused", slot: existing.peer.slot };
  }
  if (node.hostAddresses.length === 0) {
    node.log.debug?.("no address and no relay for a connection", idField(node, request.id));
    return { kind: "no-relays" };
  }
  // The new peer comes first: if the device refuses it, nothing has changed.
  const peer = addPeer(node, request);
  if (peer === undefined) return { kind: "bad-credentials" };
  if (existing !== undefined) detach(node, existing);
  const connection = create(node, request, peer);
  connection.log.info?.(existing === undefined ? "creating" : "replacing", describe(node, connection));
  seed(node, connection);
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
function reuse(node: NodeState, connection: Connection): void {
  connection.log.info?.("reusing", describe(node, connection));
  noteActivity(node, connection, "upsert");
  for (const candidate of connection.agent.localTexts()) {
    node.events.push({ kind: "candidate-added", id: connection.id, candidate });
  }
  seed(node, connection);
  rollOver(node, connection);
}

function addPeer(node: NodeState, request: ConnectionRequest): PeerRef | undefined {
  const added = node.device.addPeer(node.now, {
    publicKey: request.remoteKey,
    presharedKey: request.presharedKey,
    policy: node.options.role === "client" ? CLIENT_POLICY : GATEWAY_POLICY,
    isReachable: false,
    logFields: idField(node, request.id),
  });
  if (added.ok) return added.value;
  node.log.warn?.("peer refused", { ...idField(node, request.id), reason: added.reason });
  return undefined;
}

function create(node: NodeState, given: ConnectionRequest, peer: PeerRef): Connection {
  const request: ConnectionRequest = {
    ...given,
    remoteKey: copyOf(given.remoteKey),
    presharedKey: copyOf(given.presharedKey),
  };
  const log = (node.options.log ?? SILENT).scope("node", idField(node, request.id));
  const connection: Connection = {
    id: request.id,
    request,
    createdAt: node.now,
    peer,
    log,
    agent: createIceAgent({
      now: node.now,
      role: node.options.role === "client" ? "controlling" : "controlled",
      localCredentials: request.localCredentials,
      remoteCredentials: request.remoteCredentials,
      random: node.random,
      transactions: {
        add: (transaction) => node.byTransaction.set(transaction, connection),
        remove: (transaction) => node.byTransaction.delete(transaction),
      },
      log: log.scope("ice", idField(node, request.id)),
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
  node.byId.set(request.id, connection);
  node.bySlot.set(peer.slot, connection);
  const key = fragmentsOf(request);
  node.byFragments.set(key, [...(node.byFragments.get(key) ?? []), connection]);
  return connection;
}

/** Gives the agent our own addresses; each that is new to it is signalled (SN-70, SN-137). */
export function seed(node: NodeState, connection: Connection): void {
  for (const address of seedingOrder(node.hostAddresses)) addHost(node, connection, address);
}

export function addHost(node: NodeState, connection: Connection, address: SocketAddress): void {
  const local: LocalAddress = { kind: "host", address, base: address };
  const candidate = connection.agent.addLocal(node.now, local);
  if (candidate === undefined) return;
  node.events.push({ kind: "candidate-added", id: connection.id, candidate });
  noteActivity(node, connection, "own candidate");
}

/** Descending priority: the k-th IPv6 address before the k-th IPv4 one (SN-18, SN-21). */
function seedingOrder(addresses: readonly SocketAddress[]): readonly SocketAddress[] {
  const v6 = addresses.filter(({ address }) => address.length === 16);
  const v4 = addresses.filter(({ address }) => address.length === 4);
  const ranked = [...v6.map((address, k) => ({ address, k })), ...v4.map((address, k) => ({ address, k }))];
  return ranked.sort((a, b) => a.k - b.k).map(({ address }) => address);
}

/** SN-94: the state is gone at once, and no goodbye is sent. */
export function fail(node: NodeState, connection: Connection, reason: FailReason): void {
  connection.log.info?.("connection failed", {
    ...describe(node, connection),
    reason,
    phase: connection.phase.kind,
  });
  node.failures[reason]++;
  detach(node, connection);
  node.events.push({ kind: "connection-failed", id: connection.id, reason });
}

/** SN-106: the goodbye goes through the tunnel, if there is one, and is never repeated. */
export function close(node: NodeState, connection: Connection, goodbye: Uint8Array): void {
  connection.log.info?.("connection closed", describe(node, connection));
  if (connection.phase.kind === "connecting") {
    detach(node, connection);
  } else {
    node.device.handleStaged(node.now, connection.peer, goodbye);
    forget(node, connection);
    node.farewells.push({ peer: connection.peer, dueAt: (node.now + FAREWELL_MS) as Instant });
  }
  node.events.push({ kind: "connection-closed", id: connection.id });
}

/** Ends a connection in the device and in the plane. */
export function detach(node: NodeState, connection: Connection): void {
  forget(node, connection);
  node.device.removePeer(node.now, connection.peer);
}

function forget(node: NodeState, connection: Connection): void {
  const { id, peer, request, agent } = connection;
  agent.close();
  if (node.byId.get(id) === connection) node.byId.delete(id);
  node.bySlot.delete(peer.slot);
  const key = fragmentsOf(request);
  const others = (node.byFragments.get(key) ?? []).filter((other) => other !== connection);
  if (others.length > 0) node.byFragments.set(key, others);
  else node.byFragments.delete(key);
  node.unpublished.delete(connection);
  node.idleToVerify.delete(connection);
  node.queue.set(connection, undefined);
  rememberClosed(node, connection);
}

export function describe(node: NodeState, connection: Connection): Readonly<Record<string, unknown>> {
  return {
    ...idField(node, connection.id),
    ...credentialFields(connection.request),
    connection: connection.peer.peerId,
  };
}
