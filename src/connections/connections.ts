/** All connections of one process as one pure machine: ICE and WireGuard together (SN §5, §6). */
import {
  after,
  createDeadlineQueue,
  createHistogram,
  createQueue,
  earliest,
  equalSocketAddress,
  type Instant,
  isUsableAddress,
  randomBytes,
  SILENT,
  type SocketAddress,
} from "../base/index.ts";
import { ICE } from "../ice/index.ts";
import { type PlaneEvent, TUNNEL_PEERS_MAX } from "../plane/index.ts";
import { createWgDevice, KEY_BYTES } from "../wireguard/index.ts";
import { advance, advanceAll } from "./advance.ts";
import { addRemotes, noteUnknownConnection, removeRemotes } from "./candidates.ts";
import { noteChange } from "./changes.ts";
import { collect, handleCarriedOut, openRoute, publish, setPolicy } from "./commands.ts";
import { FAREWELL_MS, HANDSHAKE_BOUNDS_MS, HOST_ADDRESSES_MAX } from "./constants.ts";
import { createEntropy } from "./entropy.ts";
import { explainAll } from "./explain.ts";
import type {
  ConnectionCounter,
  ConnectionRequest,
  Connections,
  ConnectionsOptions,
  ConnectionTimeout,
  UpsertOutcome,
} from "./face.ts";
import { handleDatagram } from "./inbound.ts";
import { close, detach, upsert, wouldReuse } from "./lifecycle.ts";
import { send } from "./outbound.ts";
import { addLocal, toHostCandidate } from "./own-candidates.ts";
import { noteActivity } from "./path.ts";
import { mtuInside, recheckMtu } from "./path-mtu.ts";
import { drainRelay, nextRelayTimeout, rememberRelay, updateRelays } from "./relays.ts";
import { type Connection, type ConnectionsState, enter, pathOf } from "./state.ts";
import { shownPath, statsOf } from "./stats.ts";
import { createStreams, handleStream, listStreams, nextStreamTimeout, resetStreams } from "./streams.ts";

export function createConnections(options: ConnectionsOptions): Connections {
  const state = createState(options);
  return {
    ...createInputs(state),
    publicKey: () => state.device.publicKey() ?? new Uint8Array(KEY_BYTES),
    localCandidates: (id) => localCandidates(state, id),
    wouldReuse: (request) => wouldReuse(state, request),
    pollTimeout: () => nextTimeout(state)?.at,
    timeoutReason: () => nextTimeout(state)?.reason,
    pollCommand: () => state.commands.shift(),
    pollTransmit: () => state.transmits.shift(),
    pollEvent: () => state.events.shift(),
    pollStream: () => state.streams.requests.shift(),
    explanations: () => explainAll(state),
    pollChange: () => state.changes.shift(),
    pollRelayChange: () => state.relayChanges.shift(),
    slotOf: (id) => state.byId.get(id)?.peer.slot,
    connectionOf: (slot) => state.bySlot.get(slot)?.id,
    mtuOf(slot) {
      const path = pathOf(state.bySlot.get(slot));
      return path && mtuInside(path);
    },
    pathShown(id) {
      const path = pathOf(state.byId.get(id));
      return path && shownPath(path);
    },
    stats: () => statsOf(state),
  };
}

type Inputs = Pick<Connections, InputName>;
type InputName =
  | "upsertConnection"
  | "removeConnection"
  | "closeConnection"
  | "closeAll"
  | "reset"
  | "addRemoteCandidates"
  | "removeRemoteCandidates"
  | "updateHostAddresses"
  | "updateRelays"
  | "handleStream"
  | "handleDatagram"
  | "handlePlaneEvent"
  | "handlePunt"
  | "handleCarriedOut"
  | "sendPacket"
  | "checkPath"
  | "checkAllPaths"
  | "publish"
  | "setPolicy"
  | "openRoute"
  | "handleWallClock"
  | "handleTimeout";

/** Each leaves nothing undone that was due (SN-120), and its commands and datagrams ready to be polled. */
function createInputs(state: ConnectionsState): Inputs {
  return {
    upsertConnection: (now, request) => input(state, now, () => upsertAndAdvance(state, request)),
    removeConnection: (now, { id, reason }) =>
      inputOf(state, now, id, (connection) => {
        connection.log.info?.("connection removed", { reason, connection: connection.peer.peerId });
        noteChange(state, connection, { state: "closed", reason });
        detach(state, connection);
      }),
    closeConnection: (now, { id, goodbye }) =>
      inputOf(state, now, id, (connection) => close(state, connection, goodbye)),
    closeAll: (now, goodbye) =>
      input(state, now, () => {
        for (const connection of [...state.byId.values()]) close(state, connection, goodbye);
        state.leaveRelaysAt = after(state.now, FAREWELL_MS);
      }),
    reset: (now) => input(state, now, () => reset(state)),
    addRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(state, id, candidates);
      inputOf(state, now, id, (connection) => addRemotes(state, connection, candidates));
    },
    removeRemoteCandidates(now, id, candidates) {
      noteUnknownConnection(state, id, candidates);
      inputOf(state, now, id, (connection) => removeRemotes(state, connection, candidates));
    },
    updateHostAddresses: (now, addresses) => input(state, now, () => updateHosts(state, addresses)),
    updateRelays: (now, update) => input(state, now, () => listStreams(state, updateRelays(state, update))),
    handleStream: (now, news) => input(state, now, () => handleStream(state, news)),
    handleDatagram: (now, datagram) => input(state, now, () => handleDatagram(state, datagram)),
    handlePlaneEvent: (now, event) => input(state, now, () => handlePlaneEvent(state, event)),
    handlePunt: (now, slot, packet) =>
      input(state, now, () => send(state, state.bySlot.get(slot), { packet, isPunt: true })),
    handleCarriedOut: (now, command) => input(state, now, () => handleCarriedOut(state, command)),
    sendPacket: (now, id, packet) =>
      input(state, now, () => send(state, state.byId.get(id), { packet, isPunt: false })),
    checkPath: (now, id) => inputOf(state, now, id, ({ agent }) => ICE.probe(agent, state.now)),
    checkAllPaths: (now) => input(state, now, () => checkAllPaths(state)),
    publish: (now, tables) => input(state, now, () => publish(state, tables)),
    setPolicy: (now, slot, policy) => input(state, now, () => setPolicy(state, slot, policy)),
    openRoute: (now, id, route) => input(state, now, () => openRoute(state, state.byId.get(id), route)),
    handleWallClock(now, unix) {
      state.unixOffsetMs = unix - now;
      state.device.handleWallClock(now, unix);
      for (const { client } of state.relays.values()) client.handleWallClock(now, unix);
    },
    handleTimeout: (now) => input(state, now, () => {}),
  };
}

function input<T>(state: ConnectionsState, now: Instant, change: () => T): T {
  enter(state, now);
  const result = change();
  advanceAll(state);
  collect(state);
  return result;
}

/** An input on one connection; nothing if there is none. */
function inputOf(
  state: ConnectionsState,
  now: Instant,
  id: string,
  change: (connection: Connection) => void,
): void {
  input(state, now, () => {
    const connection = state.byId.get(id);
    if (connection === undefined) return;
    change(connection);
    if (state.byId.get(id) === connection) advance(state, connection);
  });
}

function upsertAndAdvance(state: ConnectionsState, request: ConnectionRequest): UpsertOutcome {
  const outcome = upsert(state, request);
  const connection = state.byId.get(request.id);
  if (connection !== undefined) advance(state, connection);
  return outcome;
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
      peersMax: options.connectionsMax ?? TUNNEL_PEERS_MAX[options.role],
    }),
    byId: new Map(),
    bySlot: new Map(),
    byFragments: new Map(),
    byTransaction: new Map(),
    queue: createDeadlineQueue(),
    transmits: createQueue(),
    events: createQueue(),
    commands: createQueue(),
    openings: new Map(),
    unpublished: new Set(),
    farewells: createQueue(),
    closed: [],
    counters: noCounts(),
    failures: {
      "ice-timeout": 0,
      "no-remote-candidates": 0,
      "no-local-candidates": 0,
      "wireguard-expired": 0,
      "handshake-decrypt": 0,
    },
    handshakes: { established: 0, expired: 0, undecryptable: 0 },
    handshakeMs: createHistogram(HANDSHAKE_BOUNDS_MS),
    failed: new Map(),
    changes: [],
    relayChanges: [],
    cookieLocals: new Map(),
    hostAddresses: [],
    relays: new Map(),
    relayAt: new Map(),
    streams: createStreams(),
    formerRelays: [],
    leaveRelaysAt: undefined,
    relayBytesSent: 0,
    unixOffsetMs: options.unixNow - options.now,
    now: options.now,
    pathGeneration: 0,
    strangers: undefined,
  };
}

function noCounts(): Record<ConnectionCounter, number> {
  return {
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
    late_relay_stun: 0,
    late_channel_data: 0,
    channel_unknown: 0,
    tx_no_channel: 0,
    tx_no_relay: 0,
    ip_buffer_overflow: 0,
    wg_buffer_overflow: 0,
    tx_not_ready: 0,
  };
}

/** SN-115. Commands stay: the plane must hear of all that is gone. */
function reset(state: ConnectionsState): void {
  state.log.debug?.("reset", { connections: state.byId.size });
  state.transmits.clear();
  state.events.clear();
  for (const connection of [...state.byId.values()]) {
    detach(state, connection);
    noteChange(state, connection, { state: "closed", reason: "reset" });
    state.events.push({ kind: "connection-closed", id: connection.id });
  }
  for (let next = state.farewells.shift(); next !== undefined; next = state.farewells.shift()) {
    state.device.removePeer(state.now, next.peer);
  }
  state.cookieLocals.clear();
  while (state.device.pollTransmit() !== undefined);
  state.device.setStaticKey(state.now, randomBytes(state.random, KEY_BYTES));
  state.hostAddresses = [];
  resetStreams(state);
  for (const relay of state.relays.values()) {
    // What they still send to our old addresses comes late (SN-99).
    rememberRelay(state, relay);
    relay.client.restart(state.now);
    drainRelay(state, relay);
  }
}

function checkAllPaths(state: ConnectionsState): void {
  for (const connection of [...state.byId.values()]) {
    ICE.checkNow(connection.agent, state.now);
    advance(state, connection);
  }
}

/** An address that has gone stays with existing agents until its pairs die (SN-17, SN-137). */
function updateHosts(state: ConnectionsState, addresses: readonly SocketAddress[]): void {
  const usable = addresses
    .filter(({ address, port }) => isUsableAddress(address) && port !== 0)
    .slice(0, HOST_ADDRESSES_MAX)
    .map(({ address, port }) => ({ address: address.slice(), port }));
  const known = state.hostAddresses;
  state.hostAddresses = usable;
  const added = usable.filter((address) => !known.some((other) => equalSocketAddress(other, address)));
  for (const connection of [...state.byId.values()]) {
    for (const address of added) addLocal(state, connection, toHostCandidate(address));
    advance(state, connection);
  }
}

function handlePlaneEvent(state: ConnectionsState, event: PlaneEvent): void {
  switch (event.kind) {
    case "handshake":
    case "stun":
    case "other":
      handleDatagram(state, event);
      return;
    case "wake": {
      const connection = state.bySlot.get(event.slot);
      if (connection === undefined) return;
      noteActivity(state, connection, "data packet");
      advance(state, connection);
      return;
    }
    case "too-long": {
      const connection = state.bySlot.get(event.slot);
      if (connection === undefined) return;
      recheckMtu(state, connection);
      advance(state, connection);
      return;
    }
    case "activity":
    case "confirmed":
    case "counter":
      state.device.handlePlaneEvent(state.now, event);
      return;
    case "roamed": {
      // Only plain mode follows its peers; here it is a reason to look, and ICE decides (SN-145).
      const connection = state.bySlot.get(event.slot);
      if (connection === undefined) return;
      ICE.handleData(connection.agent, state.now, { source: event.from, local: event.local });
      advance(state, connection);
      return;
    }
  }
}

/** SN-121: at once while something is queued, else the earliest deadline, which is later than `now`. */
function nextTimeout(state: ConnectionsState): Deadline | undefined {
  const isQueued = state.transmits.length > 0 || state.events.length > 0 || state.commands.length > 0;
  if (isQueued) return { at: state.now, reason: "queued" };
  const connection = state.queue.first();
  const deadlines: readonly (readonly [ConnectionTimeout, Instant | undefined])[] = [
    [connection?.dueReason ?? "ice", connection?.dueAt],
    ["farewell", earliest(state.farewells.first()?.dueAt, state.leaveRelaysAt)],
    ["relay", nextRelayTimeout(state)],
    ["stream", nextStreamTimeout(state)],
    ["wireguard", state.device.pollTimeout()],
  ];
  let first: Deadline | undefined;
  for (const [reason, at] of deadlines) {
    if (at !== undefined && (first === undefined || at < first.at)) first = { at, reason };
  }
  return first;
}

function localCandidates(state: ConnectionsState, id: string): readonly string[] {
  const connection = state.byId.get(id);
  return connection === undefined ? [] : ICE.localTexts(connection.agent);
}

interface Deadline {
  readonly at: Instant;
  readonly reason: ConnectionTimeout;
}
