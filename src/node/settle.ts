/** Bringing connections up to date: what their agents say, what time asks for, what comes next. */
import { after, type Instant } from "../base/index.ts";
import { type IceState, isIceConnected } from "../ice/index.ts";
import type { WgEvent } from "../wireguard/index.ts";
import { fail } from "./connections.ts";
import { CANDIDATE_TIMEOUT_MS, DISCONNECT_GRACE_MS } from "./constants.ts";
import type { FailReason, NodeTimeout } from "./face.ts";
import { goIdleIfDue, idleDeadline, takePath } from "./path.ts";
import type { Connection, NodeState } from "./state.ts";

/** All that is due at `node.now`, everywhere (SN-114, SN-122). */
export function settleAll(node: NodeState): void {
  for (let due = node.queue.first(); isDue(node, due); due = node.queue.first()) {
    due.agent.handleTimeout(node.now);
    settle(node, due);
    // All that was due is done; a deadline that remains is a defect, not a reason to spin.
    if (isDue(node, due)) node.queue.set(due, after(node.now, 1));
  }
  for (
    let first = node.farewells[0];
    first !== undefined && first.dueAt <= node.now;
    first = node.farewells[0]
  ) {
    node.farewells.shift();
    node.device.removePeer(node.now, first.peer);
  }
  settleDevice(node);
}

function isDue(node: NodeState, connection: Connection | undefined): connection is Connection {
  return connection?.dueAt !== undefined && connection.dueAt <= node.now;
}

/** After every input that concerned this connection; it may be gone afterwards. */
export function settle(node: NodeState, connection: Connection): void {
  drainAgent(node, connection);
  const reason = failReason(node, connection);
  if (reason !== undefined) return fail(node, connection, reason);
  goIdleIfDue(node, connection);
  drainAgent(node, connection);
  noteSuspicion(node, connection);
  schedule(node, connection);
}

/** Advances every WireGuard machine to `now`, whatever woke us (SN-81). */
export function settleDevice(node: NodeState): void {
  node.device.handleTimeout(node.now);
  for (let event = node.device.pollEvent(); event !== undefined; event = node.device.pollEvent()) {
    handleDeviceEvent(node, event);
  }
}

function handleDeviceEvent(node: NodeState, event: WgEvent): void {
  const connection = node.bySlot.get(event.peer.slot);
  if (connection === undefined || connection.peer.peerId !== event.peer.peerId) return;
  switch (event.kind) {
    case "answered":
      return;
    case "established":
      if (connection.hasBeenEstablished) return;
      connection.hasBeenEstablished = true;
      connection.log.debug?.("established", { sinceUpsertMs: node.now - connection.createdAt });
      node.events.push({ kind: "connection-established", id: connection.id });
      return;
    case "expired":
      return fail(node, connection, "wireguard-expired");
    case "handshake-failed":
      // A stranger who saw the initiation can forge a response; only the peer's addresses count (SN-93).
      if (event.source !== undefined && !connection.agent.isRemoteAddress(event.source)) return;
      return fail(node, connection, "handshake-decrypt");
  }
}

/** Also before any deadline is tested: a recovery that is still queued saves the connection (SN-90). */
function drainAgent(node: NodeState, connection: Connection): void {
  const { agent } = connection;
  for (let event = agent.pollEvent(); event !== undefined; event = agent.pollEvent()) {
    if (event.kind === "selected") takePath(node, connection, event);
    else noteIceState(node, connection, event.state);
  }
  for (let sent = agent.pollTransmit(); sent !== undefined; sent = agent.pollTransmit()) {
    connection.stunBytesSent += sent.bytes.length;
    node.transmits.push({ source: sent.source.address, destination: sent.destination, bytes: sent.bytes });
  }
}

function noteIceState(node: NodeState, connection: Connection, state: IceState): void {
  const { log, disconnectedAt } = connection;
  if (state === "disconnected") {
    connection.disconnectedAt ??= node.now;
    log.debug?.("ICE disconnected", { graceMs: DISCONNECT_GRACE_MS });
  } else if (disconnectedAt !== undefined) {
    connection.disconnectedAt = undefined;
    log.debug?.("ICE recovered", { outageMs: node.now - disconnectedAt });
  }
}

function failReason(node: NodeState, connection: Connection): FailReason | undefined {
  const { agent, disconnectedAt, createdAt } = connection;
  if (disconnectedAt !== undefined && node.now >= after(disconnectedAt, DISCONNECT_GRACE_MS))
    return "ice-timeout";
  if (node.now < after(createdAt, CANDIDATE_TIMEOUT_MS)) return undefined;
  if (!agent.hasHadRemote()) return "no-remote-candidates";
  return agent.hasHadLocal() ? undefined : "no-local-candidates";
}

/** While ICE doubts the path, it decides whether the peer is gone (SN-92). */
function noteSuspicion(node: NodeState, connection: Connection): void {
  const isSuspect = connection.phase.kind !== "connecting" && connection.agent.isSuspect();
  if (isSuspect === connection.isSuspect) return;
  connection.isSuspect = isSuspect;
  node.device.setPathSuspect(node.now, connection.peer, isSuspect);
}

function schedule(node: NodeState, connection: Connection): void {
  const deadlines = deadlinesOf(node, connection);
  let first: { readonly reason: NodeTimeout; readonly at: Instant } | undefined;
  for (const [reason, at] of deadlines) {
    if (at !== undefined && (first === undefined || at < first.at)) first = { reason, at };
  }
  connection.dueReason = first?.reason ?? "ice";
  node.queue.set(connection, first?.at);
}

/** SN-125. */
function deadlinesOf(
  node: NodeState,
  connection: Connection,
): readonly (readonly [NodeTimeout, Instant | undefined])[] {
  const { agent, disconnectedAt, createdAt } = connection;
  const isWaiting = !agent.hasHadRemote() || !agent.hasHadLocal();
  return [
    ["ice", agent.pollTimeout()],
    ["grace", disconnectedAt === undefined ? undefined : after(disconnectedAt, DISCONNECT_GRACE_MS)],
    ["candidates", isWaiting ? after(createdAt, CANDIDATE_TIMEOUT_MS) : undefined],
    ["idle", isIceConnected(agent.state()) ? idleDeadline(node, connection) : undefined],
  ];
}
