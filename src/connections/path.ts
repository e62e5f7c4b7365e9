/** The path of a connection: selecting, publishing, idling and waking (SN §5.3, §5.4, §6.1). */
import { equalSocketAddress, type Instant, unreachable } from "../base/index.ts";
import { DEFAULT_TIMINGS, type IceEvent, IDLE_TIMINGS, isIceConnected } from "../ice/index.ts";
import type { PathRecord, PlaneCommand } from "../plane/index.ts";
import { IDLE_AFTER_MS, ROLLOVER_DEBOUNCE_MS } from "./constants.ts";
import type { ConnectionTransmit, PathKind } from "./face.ts";
import {
  type Connection,
  type ConnectionsState,
  formatPath,
  idField,
  type Path,
  planeActivity,
} from "./state.ts";

/** A path was nominated. Applies in every phase; an idle connection stays idle (SN §5.3, SN-83). */
export function takePath(
  connections: ConnectionsState,
  connection: Connection,
  selected: Extract<IceEvent, { kind: "selected" }>,
): void {
  const { source, destination } = selected;
  const path: Path = { kind: kindOf(selected), source, destination };
  const { phase } = connection;
  switch (phase.kind) {
    case "connecting":
      connection.phase = { kind: "connected", path, lastActivity: connections.now };
      logPath(connections, connection, undefined, path);
      openFirstPath(connections, connection, path, phase);
      break;
    case "connected":
    case "idle":
      if (isSamePath(phase.path, path)) return;
      connection.phase = { ...phase, path };
      logPath(connections, connection, phase.path, path);
      rollOver(connections, connection);
      break;
    default:
      return unreachable(phase);
  }
  connections.unpublished.add(connection);
}

/** What waited for a path goes first; a client then wants a session (SN-83). */
function openFirstPath(
  connections: ConnectionsState,
  connection: Connection,
  path: Path,
  waiting: { readonly ipBuffer: readonly Uint8Array[]; readonly wgBuffer: readonly Uint8Array[] },
): void {
  const { device, now } = connections;
  for (const bytes of waiting.wgBuffer) connections.transmits.push(toTransmit(path, bytes));
  for (const packet of waiting.ipBuffer) device.handleStaged(now, connection.peer, packet);
  device.setReachable(now, connection.peer, true);
  if (connections.options.role === "client") device.initiate(now, connection.peer);
}

/**
 * A client makes new keys beside the old ones, so that a gateway that lost its state gets a session
 * again (SN-73). Sessions in use go on.
 */
export function rollOver(connections: ConnectionsState, connection: Connection): void {
  if (connections.options.role !== "client") return;
  const { log, lastRolloverAt } = connection;
  if (connection.phase.kind === "connecting") {
    log.debug?.("roll-over skipped: no path yet");
    return;
  }
  if (lastRolloverAt !== undefined && connections.now - lastRolloverAt < ROLLOVER_DEBOUNCE_MS) {
    log.debug?.("roll-over suppressed", { ageMs: connections.now - lastRolloverAt });
    return;
  }
  if (!connections.device.initiate(connections.now, connection.peer)) {
    log.debug?.("roll-over skipped: handshake in progress");
    return;
  }
  connection.lastRolloverAt = connections.now;
}

/** Anything that counts as activity (SN-76, SN-78): leaves idle, and postpones it. */
export function noteActivity(connections: ConnectionsState, connection: Connection, trigger: string): void {
  const { phase, log } = connection;
  switch (phase.kind) {
    case "connecting":
      return;
    case "connected":
      connection.phase = { ...phase, lastActivity: connections.now };
      return;
    case "idle":
      connection.phase = { kind: "connected", path: phase.path, lastActivity: connections.now };
      connections.idleToVerify.delete(connection);
      connections.unpublished.add(connection);
      log.debug?.("resumed", { trigger });
      // A dead path is noticed within ICE's own time from now on (SN-79).
      connection.agent.setTimings(connections.now, DEFAULT_TIMINGS);
      return;
    default:
      return unreachable(phase);
  }
}

/** When the connection would go idle, if nothing happens; `undefined` while it cannot (SN-75). */
export function idleDeadline(connections: ConnectionsState, connection: Connection): Instant | undefined {
  const { phase, agent } = connection;
  if (phase.kind !== "connected" || !isIceConnected(agent.state())) return undefined;
  return (Math.max(phase.lastActivity, planeActivity(connections, connection)) + IDLE_AFTER_MS) as Instant;
}

export function goIdleIfDue(connections: ConnectionsState, connection: Connection): void {
  const deadline = idleDeadline(connections, connection);
  if (deadline === undefined || connections.now < deadline || connection.phase.kind !== "connected") return;
  const stampAtStart = planeActivity(connections, connection);
  connection.phase = { kind: "idle", path: connection.phase.path, stampAtStart };
  connections.unpublished.add(connection);
  connection.log.debug?.("idle");
  connection.agent.setTimings(connections.now, IDLE_TIMINGS);
}

/**
 * The idle flag is set now. A packet between the last look at the stamps and that moment raised no
 * `wake`: look again (SN-129).
 */
export function verifyIdle(connections: ConnectionsState): readonly Connection[] {
  const woken: Connection[] = [];
  for (const connection of connections.idleToVerify) {
    const { phase } = connection;
    if (phase.kind !== "idle" || planeActivity(connections, connection) === phase.stampAtStart) continue;
    noteActivity(connections, connection, "data while going idle");
    woken.push(connection);
  }
  connections.idleToVerify.clear();
  return woken;
}

/** The next path record to publish, of a connection that the plane knows (SN-127). */
export function pollPathCommand(connections: ConnectionsState): PlaneCommand | undefined {
  for (const connection of connections.unpublished) {
    if (!connection.isAnnounced) continue;
    connections.unpublished.delete(connection);
    const path = recordOf(connections, connection);
    if (path.isIdle) connections.idleToVerify.add(connection);
    return { kind: "set-path", slot: connection.peer.slot, path };
  }
  return undefined;
}

export function hasUnpublishedPath(connections: ConnectionsState): boolean {
  for (const connection of connections.unpublished) if (connection.isAnnounced) return true;
  return connections.idleToVerify.size > 0;
}

export function toTransmit({ source, destination }: Path, bytes: Uint8Array): ConnectionTransmit {
  return { source: source.address, destination, bytes };
}

function recordOf(connections: ConnectionsState, { phase }: Connection): PathRecord {
  const generation = ++connections.pathGeneration;
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

function logPath(
  connections: ConnectionsState,
  connection: Connection,
  before: Path | undefined,
  path: Path,
): void {
  connection.log.info?.("path changed", {
    ...idField(connections, connection.id),
    ...(before && { before: formatPath(before) }),
    path: formatPath(path),
    sinceUpsertMs: connections.now - connection.createdAt,
  });
}
