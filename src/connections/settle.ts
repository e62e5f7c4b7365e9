/** Bringing connections up to date: what their agents say, what time asks for, what comes next. */
import { after, type Instant } from "../base/index.ts";
import { type IceState, isIceConnected } from "../ice/index.ts";
import type { WgEvent } from "../wireguard/index.ts";
import { CANDIDATE_TIMEOUT_MS, DISCONNECT_GRACE_MS } from "./constants.ts";
import type { ConnectionTimeout, FailReason } from "./face.ts";
import { fail } from "./lifecycle.ts";
import { goIdleIfDue, idleDeadline, takePath } from "./path.ts";
import type { Connection, ConnectionsState } from "./state.ts";

/** All that is due at `connections.now`, everywhere (SN-114, SN-122). */
export function settleAll(connections: ConnectionsState): void {
  for (let due = connections.queue.first(); isDue(connections, due); due = connections.queue.first()) {
    due.agent.handleTimeout(connections.now);
    settle(connections, due);
    // All that was due is done; a deadline that remains is a defect, not a reason to spin.
    if (isDue(connections, due)) connections.queue.set(due, after(connections.now, 1));
  }
  for (
    let first = connections.farewells[0];
    first !== undefined && first.dueAt <= connections.now;
    first = connections.farewells[0]
  ) {
    connections.farewells.shift();
    connections.device.removePeer(connections.now, first.peer);
  }
  settleDevice(connections);
}

function isDue(connections: ConnectionsState, connection: Connection | undefined): connection is Connection {
  return connection?.dueAt !== undefined && connection.dueAt <= connections.now;
}

/** After every input that concerned this connection; it may be gone afterwards. */
export function settle(connections: ConnectionsState, connection: Connection): void {
  drainAgent(connections, connection);
  const reason = failReason(connections, connection);
  if (reason !== undefined) return fail(connections, connection, reason);
  goIdleIfDue(connections, connection);
  drainAgent(connections, connection);
  noteSuspicion(connections, connection);
  schedule(connections, connection);
}

/** Advances every WireGuard machine to `now`, whatever woke us (SN-81). */
export function settleDevice(connections: ConnectionsState): void {
  connections.device.handleTimeout(connections.now);
  for (
    let event = connections.device.pollEvent();
    event !== undefined;
    event = connections.device.pollEvent()
  ) {
    handleDeviceEvent(connections, event);
  }
}

function handleDeviceEvent(connections: ConnectionsState, event: WgEvent): void {
  const connection = connections.bySlot.get(event.peer.slot);
  if (connection === undefined || connection.peer.peerId !== event.peer.peerId) return;
  switch (event.kind) {
    case "answered":
      return;
    case "established":
      if (connection.hasBeenEstablished) return;
      connection.hasBeenEstablished = true;
      connection.log.debug?.("established", { sinceUpsertMs: connections.now - connection.createdAt });
      connections.events.push({ kind: "connection-established", id: connection.id });
      return;
    case "expired":
      return fail(connections, connection, "wireguard-expired");
    case "handshake-failed":
      // A stranger who saw the initiation can forge a response; only the peer's addresses count (SN-93).
      if (event.source !== undefined && !connection.agent.isRemoteAddress(event.source)) return;
      return fail(connections, connection, "handshake-decrypt");
  }
}

/** Also before any deadline is tested: a recovery that is still queued saves the connection (SN-90). */
function drainAgent(connections: ConnectionsState, connection: Connection): void {
  const { agent } = connection;
  for (let event = agent.pollEvent(); event !== undefined; event = agent.pollEvent()) {
    if (event.kind === "selected") takePath(connections, connection, event);
    else noteIceState(connections, connection, event.state);
  }
  for (let sent = agent.pollTransmit(); sent !== undefined; sent = agent.pollTransmit()) {
    connection.stunBytesSent += sent.bytes.length;
    connections.transmits.push({
      source: sent.source.address,
      destination: sent.destination,
      bytes: sent.bytes,
    });
  }
}

function noteIceState(connections: ConnectionsState, connection: Connection, state: IceState): void {
  const { log, disconnectedAt } = connection;
  if (state === "disconnected") {
    connection.disconnectedAt ??= connections.now;
    log.debug?.("ICE disconnected", { graceMs: DISCONNECT_GRACE_MS });
  } else if (disconnectedAt !== undefined) {
    connection.disconnectedAt = undefined;
    log.debug?.("ICE recovered", { outageMs: connections.now - disconnectedAt });
  }
}

function failReason(connections: ConnectionsState, connection: Connection): FailReason | undefined {
  const { agent, disconnectedAt, createdAt } = connection;
  if (disconnectedAt !== undefined && connections.now >= after(disconnectedAt, DISCONNECT_GRACE_MS))
    return "ice-timeout";
  if (connections.now < after(createdAt, CANDIDATE_TIMEOUT_MS)) return undefined;
  if (!agent.hasHadRemote()) return "no-remote-candidates";
  return agent.hasHadLocal() ? undefined : "no-local-candidates";
}

/** While ICE doubts the path, it decides whether the peer is gone (SN-92). */
function noteSuspicion(connections: ConnectionsState, connection: Connection): void {
  const isSuspect = connection.phase.kind !== "connecting" && connection.agent.isSuspect();
  if (isSuspect === connection.isSuspect) return;
  connection.isSuspect = isSuspect;
  connections.device.setPathSuspect(connections.now, connection.peer, isSuspect);
}

function schedule(connections: ConnectionsState, connection: Connection): void {
  const deadlines = deadlinesOf(connections, connection);
  let first: { readonly reason: ConnectionTimeout; readonly at: Instant } | undefined;
  for (const [reason, at] of deadlines) {
    if (at !== undefined && (first === undefined || at < first.at)) first = { reason, at };
  }
  connection.dueReason = first?.reason ?? "ice";
  connections.queue.set(connection, first?.at);
}

/** SN-125. */
function deadlinesOf(
  connections: ConnectionsState,
  connection: Connection,
): readonly (readonly [ConnectionTimeout, Instant | undefined])[] {
  const { agent, disconnectedAt, createdAt } = connection;
  const isWaiting = !agent.hasHadRemote() || !agent.hasHadLocal();
  return [
    ["ice", agent.pollTimeout()],
    ["grace", disconnectedAt === undefined ? undefined : after(disconnectedAt, DISCONNECT_GRACE_MS)],
    ["candidates", isWaiting ? after(createdAt, CANDIDATE_TIMEOUT_MS) : undefined],
    ["idle", isIceConnected(agent.state()) ? idleDeadline(connections, connection) : undefined],
  ];
}
