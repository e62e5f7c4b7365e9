/** All connections of one process as one pure machine: ICE and WireGuard together (SN §5, §6). */
import {
  earliest,
  equalSocketAddress,
  type Instant,
  type PlaneCommand,
  type PlaneEvent,
  randomBytes,
  SILENT,
  type SocketAddress,
} from "../base/index.ts";
import { isUsableAddress, parseCandidate } from "../ice/index.ts";
import { createDeadlineQueue, createWgDevice } from "../wireguard/index.ts";
import { addHost, close, detach, upsert } from "./connections.ts";
import { HOST_ADDRESSES_MAX } from "./constants.ts";
import { createEntropy } from "./entropy.ts";
import type { Node, NodeOptions, NodeTimeout } from "./face.ts";
import { handleDatagram } from "./inbound.ts";
import { pollDeviceTransmit, sendPacket } from "./outbound.ts";
import { hasUnpublishedPath, noteActivity, pollPathCommand, verifyIdle } from "./path.ts";
import { settle, settleAll, settleDevice } from "./settle.ts";
import { type Connection, count, enter, idField, type NodeState } from "./state.ts";
import { statsOf } from "./stats.ts";

const KEY_BYTES = 32;
/** A peer decides how long its lists are, not how long our log lines are. */
const LOGGED_CANDIDATES_MAX = 32;

export function createNode(options: NodeOptions): Node {
  const node = createState(options);

  /** Runs an input on one connection and leaves nothing undone (SN-120). */
  function withConnection(now: Instant, id: string, change: (connection: Connection) => void): void {
    enter(node, now);
    const connection = node.byId.get(id);
    if (connection !== undefined) {
      change(connection);
      if (node.byId.get(id) === connection) settle(node, connection);
    }
    settleAll(node);
  }

  return {
    publicKey: () => node.device.publicKey() ?? new Uint8Array(KEY_BYTES),
    upsertConnection(now, request) {
      enter(node, now);
      const outcome = upsert(node, request);
      const connection = node.byId.get(request.id);
      if (connection !== undefined) settle(node, connection);
      settleAll(node);
      return outcome;
    },
    removeConnection(now, { id, reason }) {
      withConnection(now, id, (connection) => {
        connection.log.info?.("connection removed", { reason, connection: connection.peer.peerId });
        detach(node, connection);
      });
    },
    closeConnection(now, { id, goodbye }) {
      withConnection(now, id, (connection) => close(node, connection, goodbye));
    },
    closeAll(now, goodbye) {
      enter(node, now);
      for (const connection of [...node.byId.values()]) close(node, connection, goodbye);
      settleAll(node);
    },
    reset(now) {
      enter(node, now);
      reset(node);
      settleAll(node);
    },
    addRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(node, id, candidates);
      withConnection(now, id, (connection) => addRemotes(node, connection, candidates));
    },
    removeRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(node, id, candidates);
      withConnection(now, id, (connection) => removeRemotes(node, connection, candidates));
    },
    localCandidates: (id) => node.byId.get(id)?.agent.localTexts() ?? [],
    updateHostAddresses(now, addresses) {
      enter(node, now);
      updateHosts(node, addresses);
      settleAll(node);
    },
    updateRelays(now) {
      // Relays are read and have no effect until they are served.
      enter(node, now);
      settleAll(node);
    },
    handleDatagram(now, datagram) {
      enter(node, now);
      const outcome = handleDatagram(node, datagram);
      settleAll(node);
      return outcome;
    },
    handlePlaneEvent(now, event) {
      enter(node, now);
      handlePlaneEvent(node, event);
      settleAll(node);
    },
    handleStaged(now, slot, packet) {
      enter(node, now);
      const connection = node.bySlot.get(slot);
      return send(node, connection, packet);
    },
    sendPacket(now, id, packet) {
      enter(node, now);
      return send(node, node.byId.get(id), packet);
    },
    handleTimeout(now) {
      enter(node, now);
      settleAll(node);
    },
    pollTimeout: () => nextTimeout(node)?.at,
    timeoutReason: () => nextTimeout(node)?.reason,
    pollCommand: () => pollCommand(node),
    pollTransmit() {
      const transmit = node.transmits.shift() ?? pollDeviceTransmit(node);
      if (transmit === undefined) node.mayHaveTransmits = false;
      return transmit;
    },
    pollEvent: () => node.events.shift(),
    slotOf: (id) => node.byId.get(id)?.peer.slot,
    connectionOf: (slot) => node.bySlot.get(slot)?.id,
    stats: () => statsOf(node),
  };
}

function createState(options: NodeOptions): NodeState {
  const random = createEntropy(options.seed);
  const staticKey = randomBytes(random, KEY_BYTES);
  return {
    options,
    log: (options.log ?? SILENT).scope("node"),
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
  node: NodeState,
  connection: Connection | undefined,
  packet: Uint8Array,
): ReturnType<Node["sendPacket"]> {
  // No packet may leave on a session that has expired meanwhile (SN-81).
  settleAll(node);
  if (connection === undefined || node.byId.get(connection.id) !== connection) {
    count(node, "unknown_connection");
    return "unknown-connection";
  }
  const outcome = sendPacket(node, connection, packet);
  settle(node, connection);
  settleDevice(node);
  return outcome;
}

/** SN-115. Commands stay: the plane must hear of all that is gone. */
function reset(node: NodeState): void {
  node.log.debug?.("reset", { connections: node.byId.size });
  node.transmits.length = 0;
  node.events.length = 0;
  for (const connection of [...node.byId.values()]) {
    detach(node, connection);
    node.events.push({ kind: "connection-closed", id: connection.id });
  }
  for (const { peer } of node.farewells.splice(0)) node.device.removePeer(node.now, peer);
  node.cookieLocals.clear();
  while (node.device.pollTransmit() !== undefined);
  node.device.setStaticKey(node.now, randomBytes(node.random, KEY_BYTES));
  node.hostAddresses = [];
}

/** SN-36. */
function noteUnknownConnection(node: NodeState, id: string, candidates: readonly unknown[]): void {
  if (node.byId.has(id)) return;
  node.counters.candidate_unknown_connection += candidates.length;
  node.log.debug?.("candidates for no connection", { ...idField(node, id), count: candidates.length });
}

function addRemotes(node: NodeState, connection: Connection, candidates: readonly unknown[]): void {
  connection.log.info?.("candidates received", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) {
      skip(node, connection, candidate.reason);
      continue;
    }
    const verdict = connection.agent.addRemote(node.now, candidate.value);
    if (verdict === "over-limit") count(node, "candidate_over_limit");
    if (verdict !== "accepted") skip(node, connection, verdict);
    else noteActivity(node, connection, "remote candidate");
  }
}

function removeRemotes(node: NodeState, connection: Connection, candidates: readonly unknown[]): void {
  connection.log.info?.("candidates withdrawn", { candidates: candidates.slice(0, LOGGED_CANDIDATES_MAX) });
  for (const text of candidates) {
    const candidate = parseCandidate(text);
    if (!candidate.ok) skip(node, connection, candidate.reason);
    else {
      connection.agent.removeRemote(node.now, candidate.value);
      noteActivity(node, connection, "remote candidate withdrawn");
    }
  }
}

function skip(node: NodeState, connection: Connection, reason: string): void {
  if (reason !== "over-limit") count(node, "candidate_skipped");
  connection.log.debug?.("candidate skipped", { reason });
}

/** An address that has gone stays with existing agents until its pairs die (SN-17, SN-137). */
function updateHosts(node: NodeState, addresses: readonly SocketAddress[]): void {
  const usable = addresses
    .filter(({ address, port }) => isUsableAddress(address) && port !== 0)
    .slice(0, HOST_ADDRESSES_MAX)
    .map(({ address, port }) => ({ address: address.slice(), port }));
  const known = node.hostAddresses;
  node.hostAddresses = usable;
  const added = usable.filter((address) => !known.some((other) => equalSocketAddress(other, address)));
  for (const connection of [...node.byId.values()]) {
    for (const address of added) addHost(node, connection, address);
    settle(node, connection);
  }
}

function handlePlaneEvent(node: NodeState, event: PlaneEvent): void {
  switch (event.kind) {
    case "handshake":
    case "stun":
    case "other":
      handleDatagram(node, event);
      return;
    case "wake": {
      const connection = node.bySlot.get(event.slot);
      if (connection === undefined) return;
      noteActivity(node, connection, "data packet");
      settle(node, connection);
      return;
    }
    case "activity":
    case "confirmed":
    case "counter":
      node.device.handlePlaneEvent(node.now, event);
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
function pollCommand(node: NodeState): PlaneCommand | undefined {
  for (const connection of verifyIdle(node)) settle(node, connection);
  const path = pollPathCommand(node);
  if (path !== undefined) return path;
  const command = node.device.pollCommand();
  if (command === undefined) {
    node.mayHaveCommands = false;
  } else if (command.kind === "add-peer") {
    const connection = node.bySlot.get(command.slot);
    if (connection?.peer.peerId === command.peerId) connection.isAnnounced = true;
  }
  return command;
}

/** SN-121: at once while something is queued, else the earliest deadline, which is later than `now`. */
function nextTimeout(node: NodeState): { readonly at: Instant; readonly reason: NodeTimeout } | undefined {
  const isQueued =
    node.transmits.length > 0 ||
    node.events.length > 0 ||
    node.mayHaveCommands ||
    node.mayHaveTransmits ||
    hasUnpublishedPath(node);
  if (isQueued) return { at: node.now, reason: "queued" };
  const connection = node.queue.first();
  const farewell = node.farewells[0];
  const wireguard = node.device.pollTimeout();
  const at = earliest(connection?.dueAt, farewell?.dueAt, wireguard);
  if (at === undefined) return undefined;
  if (at === connection?.dueAt) return { at, reason: connection.dueReason };
  return { at, reason: at === farewell?.dueAt ? "farewell" : "wireguard" };
}
