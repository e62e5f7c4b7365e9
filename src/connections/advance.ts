/** Bringing connections up to date: what their agents say, what time asks for, what comes next. */
import { after, type Instant } from "../base/index.ts";
import { ICE, type IceState, isIceConnected } from "../ice/index.ts";
import type { WgEvent } from "../wireguard/index.ts";
import { CANDIDATE_TIMEOUT_MS, DISCONNECT_GRACE_MS } from "./constants.ts";
import type { ConnectionTimeout, FailReason } from "./face.ts";
import { fail } from "./lifecycle.ts";
import { goIdleIfDue, idleDeadline, isStale, takePath } from "./path.ts";
import { advanceMtu, mtuDeadline, noteSize } from "./path-mtu.ts";
import { advanceRelays, leaveAll, leaveFreed, verifyRelay } from "./relays.ts";
import type { Connection, ConnectionsState } from "./state.ts";
import { advanceStreams, checkUdp, endStreams } from "./streams.ts";
import { sendAlong, wayOf } from "./way.ts";

/** All that is due at `connections.now`, everywhere (SN-114, SN-122). */
export function advanceAll(state: ConnectionsState): void {
  advanceRelays(state);
  advanceStreams(state);
  advanceConnections(state);
  if (leaveFreed(state)) {
    advanceStreams(state);
    advanceConnections(state);
  }
  for (
    let first = state.farewells.first();
    first !== undefined && first.dueAt <= state.now;
    first = state.farewells.first()
  ) {
    state.farewells.shift();
    state.device.removePeer(state.now, first.peer);
  }
  if (state.leaveRelaysAt !== undefined && state.now >= state.leaveRelaysAt) {
    state.leaveRelaysAt = undefined;
    endStreams(state);
    leaveAll(state);
  }
  advanceDevice(state);
}

function advanceConnections(state: ConnectionsState): void {
  for (let due = state.queue.first(); isDue(state, due); due = state.queue.first()) {
    ICE.handleTimeout(due.agent, state.now);
    advance(state, due);
    // All that was due is done; a deadline that remains is a defect, not a reason to spin.
    if (isDue(state, due)) state.queue.set(due, after(state.now, 1));
  }
}

function isDue(state: ConnectionsState, connection: Connection | undefined): connection is Connection {
  return connection?.dueAt !== undefined && connection.dueAt <= state.now;
}

/** After every input that concerned this connection; it may be gone afterwards. */
export function advance(state: ConnectionsState, connection: Connection): void {
  drainAgent(state, connection);
  const reason = failReason(state, connection);
  if (reason !== undefined) return fail(state, connection, reason);
  goIdleIfDue(state, connection);
  advanceMtu(state, connection);
  drainAgent(state, connection);
  noteSuspicion(state, connection);
  if (isStale(state, connection)) state.unpublished.add(connection);
  schedule(state, connection);
}

/** Advances every WireGuard machine to `now`, whatever woke us (SN-81). */
export function advanceDevice(state: ConnectionsState): void {
  state.device.handleTimeout(state.now);
  for (let event = state.device.pollEvent(); event !== undefined; event = state.device.pollEvent()) {
    handleDeviceEvent(state, event);
  }
}

function handleDeviceEvent(state: ConnectionsState, event: WgEvent): void {
  const connection = state.bySlot.get(event.peer.slot);
  if (connection === undefined || connection.peer.peerId !== event.peer.peerId) return;
  switch (event.kind) {
    case "answered":
      return;
    case "established":
      state.handshakes.established++;
      if (event.tookMs !== undefined) state.handshakeMs.observe(event.tookMs);
      if (connection.hasBeenEstablished) return;
      connection.hasBeenEstablished = true;
      connection.log.debug?.("established", { sinceUpsertMs: state.now - connection.createdAt });
      state.events.push({ kind: "connection-established", id: connection.id });
      return;
    case "expired":
      state.handshakes.expired++;
      return fail(state, connection, "wireguard-expired");
    case "handshake-failed":
      state.handshakes.undecryptable++;
      // A stranger who saw the initiation can forge a response; only the peer's addresses count (SN-93).
      if (event.source !== undefined && !ICE.isRemoteAddress(connection.agent, event.source)) return;
      return fail(state, connection, "handshake-decrypt");
  }
}

/** Also before any deadline is tested: a recovery that is still queued saves the connection (SN-90). */
function drainAgent(state: ConnectionsState, connection: Connection): void {
  const { agent } = connection;
  for (let event = ICE.pollEvent(agent); event !== undefined; event = ICE.pollEvent(agent)) {
    if (event.kind === "selected") takePath(state, connection, event);
    else if (event.kind === "size-answered") noteSize(state, connection, event.bytes);
    else noteIceState(state, connection, event.state);
  }
  for (let sent = ICE.pollTransmit(agent); sent !== undefined; sent = ICE.pollTransmit(agent)) {
    const way = wayOf(state, sent);
    const bytes = sendAlong(state, way, sent.bytes, sent.isWhole);
    if (way.relay === undefined) connection.stunBytesSent += bytes;
    else connection.stunBytesRelayed += bytes;
  }
}

function noteIceState(state: ConnectionsState, connection: Connection, is: IceState): void {
  const { log, disconnectedAt } = connection;
  if (is === "disconnected") {
    connection.disconnectedAt ??= state.now;
    checkUdp(state);
    log.debug?.("ICE disconnected", { graceMs: DISCONNECT_GRACE_MS });
  } else if (disconnectedAt !== undefined) {
    connection.disconnectedAt = undefined;
    log.debug?.("ICE recovered", { outageMs: state.now - disconnectedAt });
  }
}

function failReason(state: ConnectionsState, connection: Connection): FailReason | undefined {
  const { agent, disconnectedAt, createdAt } = connection;
  if (disconnectedAt !== undefined && state.now >= graceEnd(connection, disconnectedAt)) return "ice-timeout";
  if (state.now < after(createdAt, CANDIDATE_TIMEOUT_MS)) return undefined;
  if (!ICE.hasHadRemote(agent)) return "no-remote-candidates";
  return ICE.hasHadLocal(agent) ? undefined : "no-local-candidates";
}

/** Nobody waits for a peer that two say is gone: ICE, and who asked for the probe (SN-142). */
function graceEnd({ agent }: Connection, disconnectedAt: Instant): Instant {
  return ICE.isProbing(agent) ? disconnectedAt : after(disconnectedAt, DISCONNECT_GRACE_MS);
}

/** While ICE doubts the path, it decides whether the peer is gone (SN-92). */
function noteSuspicion(state: ConnectionsState, connection: Connection): void {
  const isSuspect = connection.phase.kind !== "connecting" && ICE.isSuspect(connection.agent);
  if (isSuspect === connection.isSuspect) return;
  connection.isSuspect = isSuspect;
  if (isSuspect) {
    checkUdp(state);
    verifyRelay(state, connection);
  }
  state.device.setPathSuspect(state.now, connection.peer, isSuspect);
}

function schedule(state: ConnectionsState, connection: Connection): void {
  const deadlines = deadlinesOf(state, connection);
  let first: { readonly reason: ConnectionTimeout; readonly at: Instant } | undefined;
  for (const [reason, at] of deadlines) {
    if (at !== undefined && (first === undefined || at < first.at)) first = { reason, at };
  }
  connection.dueReason = first?.reason ?? "ice";
  state.queue.set(connection, first?.at);
}

/** When a connection must be looked at again, and what for (SN-125). */
function deadlinesOf(
  state: ConnectionsState,
  connection: Connection,
): readonly (readonly [ConnectionTimeout, Instant | undefined])[] {
  const { agent, disconnectedAt, createdAt } = connection;
  const isWaiting = !ICE.hasHadRemote(agent) || !ICE.hasHadLocal(agent);
  return [
    ["ice", ICE.pollTimeout(agent)],
    ["mtu", mtuDeadline(connection)],
    ["grace", disconnectedAt === undefined ? undefined : graceEnd(connection, disconnectedAt)],
    ["candidates", isWaiting ? after(createdAt, CANDIDATE_TIMEOUT_MS) : undefined],
    ["idle", isIceConnected(ICE.state(agent)) ? idleDeadline(state, connection) : undefined],
  ];
}
