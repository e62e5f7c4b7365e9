/** The path of a connection: selecting, publishing, idling and waking (SN §5.3, §5.4, §6.1). */
import {
  equalSocketAddress,
  type Instant,
  type PathRecord,
  type PlaneCommand,
  unreachable,
} from "../base/index.ts";
import { DEFAULT_TIMINGS, type IceEvent, IDLE_TIMINGS, isIceConnected } from "../ice/index.ts";
import { IDLE_AFTER_MS, ROLLOVER_DEBOUNCE_MS } from "./constants.ts";
import type { NodeTransmit, PathKind } from "./face.ts";
import { type Connection, formatPath, idField, type NodeState, type Path, planeActivity } from "./state.ts";

/** A path was nominated. Applies in every phase; an idle connection stays idle (SN §5.3, SN-83). */
export function takePath(
  node: NodeState,
  connection: Connection,
  selected: Extract<IceEvent, { kind: "selected" }>,
): void {
  const { source, destination } = selected;
  const path: Path = { kind: kindOf(selected), source, destination };
  const { phase } = connection;
  switch (phase.kind) {
    case "connecting":
      connection.phase = { kind: "connected", path, lastActivity: node.now };
      logPath(node, connection, undefined, path);
      openFirstPath(node, connection, path, phase);
      break;
    case "connected":
    case "idle":
      if (isSamePath(phase.path, path)) return;
      connection.phase = { ...phase, path };
      logPath(node, connection, phase.path, path);
      rollOver(node, connection);
      break;
    default:
      return unreachable(phase);
  }
  node.unpublished.add(connection);
}

/** What waited for a path goes first; a client then wants a session (SN-83). */
function openFirstPath(
  node: NodeState,
  connection: Connection,
  path: Path,
  waiting: { readonly ipBuffer: readonly Uint8Array[]; readonly wgBuffer: readonly Uint8Array[] },
): void {
  const { device, now } = node;
  for (const bytes of waiting.wgBuffer) node.transmits.push(toTransmit(path, bytes));
  for (const packet of waiting.ipBuffer) device.handleStaged(now, connection.peer, packet);
  device.setReachable(now, connection.peer, true);
  if (node.options.role === "client") device.initiate(now, connection.peer);
}

/**
 * A client makes new keys beside the old ones, so that a gateway that lost its state gets a session
 * again (SN-73). Sessions in use go on.
 */
export function rollOver(node: NodeState, connection: Connection): void {
  if (node.options.role !== "client") return;
  const { log, lastRolloverAt } = connection;
  if (connection.phase.kind === "connecting") {
    log.debug?.("roll-over skipped: no path yet");
    return;
  }
  if (lastRolloverAt !== undefined && node.now - lastRolloverAt < ROLLOVER_DEBOUNCE_MS) {
    log.debug?.("roll-over suppressed", { ageMs: node.now - lastRolloverAt });
    return;
  }
  if (!node.device.initiate(node.now, connection.peer)) {
    log.debug?.("roll-over skipped: handshake in progress");
    return;
  }
  connection.lastRolloverAt = node.now;
}

/** Anything that counts as activity (SN-76, SN-78): leaves idle, and postpones it. */
export function noteActivity(node: NodeState, connection: Connection, trigger: string): void {
  const { phase, log } = connection;
  switch (phase.kind) {
    case "connecting":
      return;
    case "connected":
      connection.phase = { ...phase, lastActivity: node.now };
      return;
    case "idle":
      connection.phase = { kind: "connected", path: phase.path, lastActivity: node.now };
      node.idleToVerify.delete(connection);
      node.unpublished.add(connection);
      log.debug?.("resumed", { trigger });
      // A dead path is noticed within ICE's own time from now on (SN-79).
      connection.agent.setTimings(node.now, DEFAULT_TIMINGS);
      return;
    default:
      return unreachable(phase);
  }
}

/** When the connection would go idle, if nothing happens; `undefined` while it cannot (SN-75). */
export function idleDeadline(node: NodeState, connection: Connection): Instant | undefined {
  const { phase, agent } = connection;
  if (phase.kind !== "connected" || !isIceConnected(agent.state())) return undefined;
  return (Math.max(phase.lastActivity, planeActivity(node, connection)) + IDLE_AFTER_MS) as Instant;
}

export function goIdleIfDue(node: NodeState, connection: Connection): void {
  const deadline = idleDeadline(node, connection);
  if (deadline === undefined || node.now < deadline || connection.phase.kind !== "connected") return;
  const stampAtStart = planeActivity(node, connection);
  connection.phase = { kind: "idle", path: connection.phase.path, stampAtStart };
  node.unpublished.add(connection);
  connection.log.debug?.("idle");
  connection.agent.setTimings(node.now, IDLE_TIMINGS);
}

/**
 * The idle flag is set now. A packet between the last look at the stamps and that moment raised no
 * `wake`: look again (SN-129).
 */
export function verifyIdle(node: NodeState): readonly Connection[] {
  const woken: Connection[] = [];
  for (const connection of node.idleToVerify) {
    const { phase } = connection;
    if (phase.kind !== "idle" || planeActivity(node, connection) === phase.stampAtStart) continue;
    noteActivity(node, connection, "data while going idle");
    woken.push(connection);
  }
  node.idleToVerify.clear();
  return woken;
}

/** The next path record to publish, of a connection that the plane knows (SN-127). */
export function pollPathCommand(node: NodeState): PlaneCommand | undefined {
  for (const connection of node.unpublished) {
    if (!connection.isAnnounced) continue;
    node.unpublished.delete(connection);
    const path = recordOf(node, connection);
    if (path.isIdle) node.idleToVerify.add(connection);
    return { kind: "set-path", slot: connection.peer.slot, path };
  }
  return undefined;
}

export function hasUnpublishedPath(node: NodeState): boolean {
  for (const connection of node.unpublished) if (connection.isAnnounced) return true;
  return node.idleToVerify.size > 0;
}

export function toTransmit({ source, destination }: Path, bytes: Uint8Array): NodeTransmit {
  return { source: source.address, destination, bytes };
}

function recordOf(node: NodeState, { phase }: Connection): PathRecord {
  const generation = ++node.pathGeneration;
  if (phase.kind === "connecting") {
    return { kind: "none", headRoom: 0, isIdle: false, isBroken: false, generation };
  }
  return {
    kind: "direct",
    destination: phase.path.destination,
    source: phase.path.source.address,
    headRoom: 0,
    isIdle: phase.kind === "idle",
    isBroken: false,
    generation,
  };
}

/** SN-83. Sources of our own are host candidates until relays are served. */
function kindOf({ remoteKind }: Extract<IceEvent, { kind: "selected" }>): PathKind {
  return remoteKind === "relay" ? "peer-to-relay" : "peer-to-peer";
}

function isSamePath(a: Path, b: Path): boolean {
  return equalSocketAddress(a.source, b.source) && equalSocketAddress(a.destination, b.destination);
}

function logPath(node: NodeState, connection: Connection, before: Path | undefined, path: Path): void {
  connection.log.info?.("path changed", {
    ...idField(node, connection.id),
    ...(before && { before: formatPath(before) }),
    path: formatPath(path),
    sinceUpsertMs: node.now - connection.createdAt,
  });
}
