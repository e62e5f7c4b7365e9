/** All connections of one process as one pure machine: ICE and WireGuard together (SN §5, §6). */
import {
  earliest,
  equalSocketAddress,
  type Instant,
  randomBytes,
  SILENT,
  type SocketAddress,
} from "../base/index.ts";
import { isUsableAddress, parseCandidate } from "../ice/index.ts";
import type { PlaneCommand, PlaneEvent } from "../plane/index.ts";
import { createDeadlineQueue, createWgDevice } from "../wireguard/index.ts";
import { HOST_ADDRESSES_MAX } from "./constants.ts";
import { createEntropy } from "./entropy.ts";
import type { Connections, ConnectionsOptions, ConnectionTimeout } from "./face.ts";
import { handleDatagram } from "./inbound.ts";
import { addHost, close, detach, upsert } from "./lifecycle.ts";
import { pollDeviceTransmit, sendPacket } from "./outbound.ts";
import { hasUnpublishedPath, noteActivity, pollPathCommand, verifyIdle } from "./path.ts";
import { settle, settleAll, settleDevice } from "./settle.ts";
import { type Connection, type ConnectionsState, count, enter, idField } from "./state.ts";
import { statsOf } from "./stats.ts";

const KEY_BYTES = 32;
/** A peer decides how long its lists are, not how long our log lines are. */
const LOGGED_CANDIDATES_MAX = 32;

export function createConnections(options: ConnectionsOptions): Connections {
  const connections = createState(options);

  /** Runs an input on one connection and leaves nothing undone (SN-120). */
  function withConnection(now: Instant, id: string, change: (connection: Connection) => void): void {
    enter(connections, now);
    const connection = connections.byId.get(id);
    if (connection !== undefined) {
      change(connection);
      if (connections.byId.get(id) === connection) settle(connections, connection);
    }
    settleAll(connections);
  }

  return {
    publicKey: () => connections.device.publicKey() ?? new Uint8Array(KEY_BYTES),
    upsertConnection(now, request) {
      enter(connections, now);
      const outcome = upsert(connections, request);
      const connection = connections.byId.get(request.id);
      if (connection !== undefined) settle(connections, connection);
      settleAll(connections);
      return outcome;
    },
    removeConnection(now, { id, reason }) {
      withConnection(now, id, (connection) => {
        connection.log.info?.("connection removed", { reason, connection: connection.peer.peerId });
        detach(connections, connection);
      });
    },
    closeConnection(now, { id, goodbye }) {
      withConnection(now, id, (connection) => close(connections, connection, goodbye));
    },
    closeAll(now, goodbye) {
      enter(connections, now);
      for (const connection of [...connections.byId.values()]) close(connections, connection, goodbye);
      settleAll(connections);
    },
    reset(now) {
      enter(connections, now);
      reset(connections);
      settleAll(connections);
    },
    addRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(connections, id, candidates);
      withConnection(now, id, (connection) => addRemotes(connections, connection, candidates));
    },
    removeRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(connections, id, candidates);
      withConnection(now, id, (connection) => removeRemotes(connections, connection, candidates));
    },
    localCandidates: (id) => connections.byId.get(id)?.agent.localTexts() ?? [],
    updateHostAddresses(now, addresses) {
      enter(connections, now);
      updateHosts(connections, addresses);
      settleAll(connections);
    },
    updateRelays(now) {
      // Relays are read and have no effect until they are served.
      enter(connections, now);
      settleAll(connections);
    },
    handleDatagram(now, datagram) {
      enter(connections, now);
      const outcome = handleDatagram(connections, datagram);
      settleAll(connections);
      return outcome;
    },
    handlePlaneEvent(now, event) {
      enter(connections, now);
      handlePlaneEvent(connections, event);
      settleAll(connections);
    },
    handleStaged(now, slot, packet) {
      enter(connections, now);
      const connection = connections.bySlot.get(slot);
      return send(connections, connection, packet);
    },
    sendPacket(now, id, packet) {
      enter(connections, now);
      return send(connections, connections.byId.get(id), packet);
    },
    handleTimeout(now) {
      enter(connections, now);
      settleAll(connections);
    },
    pollTimeout: () => nextTimeout(connections)?.at,
    timeoutReason: () => nextTimeout(connections)?.reason,
    pollCommand: () => pollCommand(connections),
    pollTransmit() {
      const transmit = connections.transmits.shift() ?? pollDeviceTransmit(connections);
      if (transmit === undefined) connections.mayHaveTransmits = false;
      return transmit;
    },
    pollEvent: () => connections.events.shift(),
    slotOf: (id) => connections.byId.get(id)?.peer.slot,
    connectionOf: (slot) => connections.bySlot.get(slot)?.id,
    stats: () => statsOf(connections),
  };
}

function createState(options: ConnectionsOptions): ConnectionsState {
  const random = createEntropy(options.seed);
  const staticKey = randomBytes(random, KEY_BYTES);
  return {
    options,
    log: (options.log ?? SILENT).scope("connections"),
    random,
    records: options.records,
    device: createWgDevice({
      now: options.now,
      unixMs: options.unixNow,
      staticKey,
      random,
      records: options.records,
      crypto: options.crypto,
      ...(options.log && { log: options.log }),
      ...(options.connectionsMax !== undefined && { peersMax: options.connectionsMax }),
    }),
    byId: new Map(),
    bySlot: new Map(),
    byFragments: new Map(),
    byTransaction: new Map(),
    queue: createDeadlineQueue(),
    transmits: [],
    events: [],
    unpublished: new Set(),
    idleToVerify: new Set(),
    farewells: [],
    closed: [],
    counters: {
      stun_malformed: 0,
      stun_bad_fingerprint: 0,
      stun_bad_integrity: 0,
      stun_unmatched: 0,
      stun_unknown_interface: 0,
      stun_role_conflict: 0,
      unknown_format: 0,
      unknown_connection: 0,
      wg_rejected: 0,
      candidate_skipped: 0,
      candidate_over_limit: 0,
      candidate_unknown_connection: 0,
      ip_buffer_overflow: 0,
      wg_buffer_overflow: 0,
      tx_not_ready: 0,
    },
    failures: {
      "ice-timeout": 0,
      "no-remote-candidates": 0,
      "no-local-candidates": 0,
      "wireguard-expired": 0,
      "handshake-decrypt": 0,
    },
    cookieLocals: new Map(),
    hostAddresses: [],
    now: options.now,
    pathGeneration: 0,
    mayHaveCommands: true,
    mayHaveTransmits: true,
    strangers: undefined,
  };
}

function send(
  connections: ConnectionsState,
  connection: Connection | undefined,
  packet: Uint8Array,
): ReturnType<Connections["sendPacket"]> {
  // No packet may leave on a session that has expired meanwhile (SN-81).
  settleAll(connections);
  if (connection === undefined || connections.byId.get(connection.id) !== connection) {
    count(connections, "unknown_connection");
    return "unknown-connection";
  }
  const outcome = sendPacket(connections, connection, packet);
  settle(connections, connection);
  settleDevice(connections);
  return outcome;
}

/** SN-115. Commands stay: the plane must hear of all that is gone. */
function reset(connections: ConnectionsState): void {
  connections.log.debug?.("reset", { connections: connections.byId.size });
  connections.transmits.length = 0;
  connections.events.length = 0;
  for (const connection of [...connections.byId.values()]) {
    detach(connections, connection);
    connections.events.push({ kind: "connection-closed", id: connection.id });
  }
  for (const { peer } of connections.farewells.splice(0))
    connections.device.removePeer(connections.now, peer);
  connections.cookieLocals.clear();
  while (connections.device.pollTransmit() !== undefined);
  connections.device.setStaticKey(connections.now, randomBytes(connections.random, KEY_BYTES));
  connections.hostAddresses = [];
}

/** SN-36. */
function noteUnknownConnection(
  connections: ConnectionsState,
  id: string,
  candidates: readonly unknown[],
): void {
  if (connections.byId.has(id)) return;
  connections.counters.candidate_unknown_connection += candidates.length;
  connections.log.debug?.("candidates for no connection", {
    ...idField(connections, id),
    count: candidates.length,
  });
}

function addRemotes(
  connections: ConnectionsState,
  connection: Connection,
  candidates: readonly unknown[],
): void {
  connection.log.info?.("candidates received", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) {
      skip(connections, connection, candidate.reason);
      continue;
    }
    const verdict = connection.agent.addRemote(connections.now, candidate.value);
    if (verdict === "over-limit") count(connections, "candidate_over_limit");
    if (verdict !== "accepted") skip(connections, connection, verdict);
    else noteActivity(connections, connection, "remote candidate");
  }
}

function removeRemotes(
  connections: ConnectionsState,
  connection: Connection,
  candidates: readonly unknown[],
): void {
  connection.log.info?.("candidates withdrawn", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) skip(connections, connection, candidate.reason);
    else {
      connection.agent.removeRemote(connections.now, candidate.value);
      noteActivity(connections, connection, "remote candidate withdrawn");
    }
  }
}

function skip(connections: ConnectionsState, connection: Connection, reason: string): void {
  if (reason !== "over-limit") count(connections, "candidate_skipped");
  connection.log.debug?.("candidate skipped", { reason });
}

/** An address that has gone stays with existing agents until its pairs die (SN-17, SN-137). */
function updateHosts(connections: ConnectionsState, addresses: readonly SocketAddress[]): void {
  const usable = addresses
    .filter(({ address, port }) => isUsableAddress(address) && port !== 0)
    .slice(0, HOST_ADDRESSES_MAX)
    .map(({ address, port }) => ({ address: address.slice(), port }));
  const known = connections.hostAddresses;
  connections.hostAddresses = usable;
  const added = usable.filter((address) => !known.some((other) => equalSocketAddress(other, address)));
  for (const connection of [...connections.byId.values()]) {
    for (const address of added) addHost(connections, connection, address);
    settle(connections, connection);
  }
}

function handlePlaneEvent(connections: ConnectionsState, event: PlaneEvent): void {
  switch (event.kind) {
    case "handshake":
    case "stun":
    case "other":
      handleDatagram(connections, event);
      return;
    case "wake": {
      const connection = connections.bySlot.get(event.slot);
      if (connection === undefined) return;
      noteActivity(connections, connection, "data packet");
      settle(connections, connection);
      return;
    }
    case "activity":
    case "confirmed":
    case "counter":
      connections.device.handlePlaneEvent(connections.now, event);
      return;
    case "roamed":
      // Only plain mode follows its peers; here ICE decides the path.
      return;
  }
}

/**
 * Path records go out as soon as the plane knows the peer, before the device's next command: an
 * injected packet must find its path (SN-127). The device learns that a command was carried out when
 * it is asked for the next.
 */
function pollCommand(connections: ConnectionsState): PlaneCommand | undefined {
  for (const connection of verifyIdle(connections)) settle(connections, connection);
  const path = pollPathCommand(connections);
  if (path !== undefined) return path;
  const command = connections.device.pollCommand();
  if (command === undefined) {
    connections.mayHaveCommands = false;
  } else if (command.kind === "add-peer") {
    const connection = connections.bySlot.get(command.slot);
    if (connection?.peer.peerId === command.peerId) connection.isAnnounced = true;
  }
  return command;
}

/** SN-121: at once while something is queued, else the earliest deadline, which is later than `now`. */
function nextTimeout(
  connections: ConnectionsState,
): { readonly at: Instant; readonly reason: ConnectionTimeout } | undefined {
  const isQueued =
    connections.transmits.length > 0 ||
    connections.events.length > 0 ||
    connections.mayHaveCommands ||
    connections.mayHaveTransmits ||
    hasUnpublishedPath(connections);
  if (isQueued) return { at: connections.now, reason: "queued" };
  const connection = connections.queue.first();
  const farewell = connections.farewells[0];
  const wireguard = connections.device.pollTimeout();
  const at = earliest(connection?.dueAt, farewell?.dueAt, wireguard);
  if (at === undefined) return undefined;
  if (at === connection?.dueAt) return { at, reason: connection.dueReason };
  return { at, reason: at === farewell?.dueAt ? "farewell" : "wireguard" };
}
