/** The path of a connection: selecting, publishing, idling and waking (SN §5.3, §5.4, §6.1). */
import { equalSocketAddress, type Instant, unreachable } from "../base/index.ts";
import { DEFAULT_TIMINGS, ICE, type IceEvent, IDLE_TIMINGS, isIceConnected } from "../ice/index.ts";
import { noteChange } from "./changes.ts";
import { IDLE_AFTER_MS, ROLLOVER_DEBOUNCE_MS } from "./constants.ts";
import { createPathMtu, mtuInside, noteCut } from "./path-mtu.ts";
import {
  type Connection,
  type ConnectionsState,
  formatPath,
  idField,
  type Path,
  pathOf,
  planeActivity,
} from "./state.ts";
import { bindChannel, channelOf, recordOf, sendAlong, wayOf } from "./way.ts";

/** A path was nominated. Applies in every phase; an idle connection stays idle (SN §5.3, SN-83). */
export function takePath(
  state: ConnectionsState,
  connection: Connection,
  selected: Extract<IceEvent, { kind: "selected" }>,
): void {
  const path = pathTo(state, selected);
  const { phase } = connection;
  const tookMs = phase.kind === "connecting" ? state.now - connection.createdAt : undefined;
  switch (phase.kind) {
    case "connecting":
      connection.phase = { kind: "connected", path, lastActivity: state.now };
      logPath(state, connection, undefined, path);
      openFirstPath(state, connection, path, phase);
      break;
    case "connected":
    case "idle":
      if (isSamePath(phase.path, path)) return noteKind(state, connection, path.kind);
      connection.phase = { ...phase, path };
      logPath(state, connection, phase.path, path);
      rollOver(state, connection);
      break;
    default:
      return unreachable(phase);
  }
  state.failed.delete(connection.id);
  noteChange(state, connection, tookMs === undefined ? {} : { tookMs });
  state.unpublished.add(connection);
}

/** The address that a check had taught turns out to be a relay's (SN-33). */
function noteKind(state: ConnectionsState, connection: Connection, kind: Path["kind"]): void {
  const { phase } = connection;
  if (phase.kind === "connecting" || phase.path.kind === kind) return;
  const before = phase.path;
  const path: Path = { ...before, kind };
  connection.phase = { ...phase, path };
  noteCut(state, connection, path);
  logPath(state, connection, before, path);
  noteChange(state, connection);
}

/** What waited for a path goes first; a client then wants a session (SN-83). */
function openFirstPath(
  state: ConnectionsState,
  connection: Connection,
  path: Path,
  waiting: { readonly ipBuffer: readonly Uint8Array[]; readonly wgBuffer: readonly Uint8Array[] },
): void {
  const { device, now } = state;
  for (const bytes of waiting.wgBuffer) sendAlong(state, path, bytes);
  for (const packet of waiting.ipBuffer) device.send(now, connection.peer, packet);
  const rttMs = ICE.rttMs(connection.agent);
  if (rttMs !== undefined) device.setRoundTrip(connection.peer, rttMs);
  device.setReachable(now, connection.peer, true);
  if (state.options.role === "client") device.initiate(now, connection.peer);
}

/**
 * A client makes new keys beside the old ones, so that a gateway that lost its state gets a session
 * again (SN-73). Sessions in use go on.
 */
export function rollOver(state: ConnectionsState, connection: Connection): void {
  if (state.options.role !== "client") return;
  const { log, lastRolloverAt } = connection;
  if (connection.phase.kind === "connecting") {
    log.debug?.("roll-over skipped: no path yet");
    return;
  }
  if (lastRolloverAt !== undefined && state.now - lastRolloverAt < ROLLOVER_DEBOUNCE_MS) {
    log.debug?.("roll-over suppressed", { ageMs: state.now - lastRolloverAt });
    return;
  }
  if (!state.device.initiate(state.now, connection.peer)) {
    log.debug?.("roll-over skipped: handshake in progress");
    return;
  }
  connection.lastRolloverAt = state.now;
}

/** Anything that counts as activity (SN-76, SN-78): leaves idle, and postpones it. */
export function noteActivity(state: ConnectionsState, connection: Connection, trigger: string): void {
  const { phase, log } = connection;
  switch (phase.kind) {
    case "connecting":
      return;
    case "connected":
      connection.phase = { ...phase, lastActivity: state.now };
      return;
    case "idle":
      connection.phase = { kind: "connected", path: phase.path, lastActivity: state.now };
      state.unpublished.add(connection);
      noteChange(state, connection);
      log.debug?.("resumed", { trigger });
      // A dead path is noticed within ICE's own time from now on (SN-79).
      ICE.setTimings(connection.agent, state.now, DEFAULT_TIMINGS);
      return;
    default:
      return unreachable(phase);
  }
}

/** When the connection would go idle, if nothing happens; `undefined` while it cannot (SN-75). */
export function idleDeadline(state: ConnectionsState, connection: Connection): Instant | undefined {
  const { phase, agent } = connection;
  if (phase.kind !== "connected" || !isIceConnected(ICE.state(agent))) return undefined;
  return (Math.max(phase.lastActivity, planeActivity(state, connection)) + IDLE_AFTER_MS) as Instant;
}

export function goIdleIfDue(state: ConnectionsState, connection: Connection): void {
  const deadline = idleDeadline(state, connection);
  if (deadline === undefined || state.now < deadline || connection.phase.kind !== "connected") return;
  const stampAtStart = planeActivity(state, connection);
  connection.phase = { kind: "idle", path: connection.phase.path, stampAtStart };
  state.unpublished.add(connection);
  noteChange(state, connection);
  connection.log.debug?.("idle");
  ICE.setTimings(connection.agent, state.now, IDLE_TIMINGS);
}

/**
 * The plane has set the idle flag. A packet between the last look at the stamps and that moment raised no
 * `wake`: look again (SN-129). Returns whether there was one.
 */
export function verifyIdle(state: ConnectionsState, connection: Connection): boolean {
  const { phase } = connection;
  if (phase.kind !== "idle" || planeActivity(state, connection) === phase.stampAtStart) return false;
  noteActivity(state, connection, "data while going idle");
  return true;
}

function pathTo(state: ConnectionsState, selected: Extract<IceEvent, { kind: "selected" }>): Path {
  const way = wayOf(state, selected);
  const mtu = createPathMtu(state, way);
  const isToRelay = selected.remoteKind === "relay";
  if (way.relay === undefined) return { ...way, mtu, kind: isToRelay ? "peer-to-relay" : "peer-to-peer" };
  return { ...way, mtu, kind: isToRelay ? "relay-to-relay" : "relay-to-peer" };
}

/** Whether the plane's record of a relayed path names another channel than the path has now (SN-89). */
export function isStale(state: ConnectionsState, connection: Connection): boolean {
  const path = pathOf(connection);
  return path?.relay !== undefined && channelOf(state, path) !== connection.publishedChannel;
}

/** Queues the path records of connections that the plane knows (SN-127). */
export function publishPaths(state: ConnectionsState): void {
  for (const connection of state.unpublished) {
    if (!connection.isAnnounced) continue;
    state.unpublished.delete(connection);
    const isIdle = connection.phase.kind === "idle";
    const way = pathOf(connection);
    const record = recordOf(state, way, { isIdle, generation: ++state.pathGeneration });
    const path = way === undefined ? record : { ...record, ...limitsOf(way) };
    state.commands.push({ kind: "set-path", slot: connection.peer.slot, path });
    connection.publishedChannel = path.channel;
    noteBroken(state, connection, path.isBroken);
  }
}

/** Of the packets inside. */
function limitsOf(path: Path): { readonly mtu: number; readonly isCutInside?: true } {
  return { mtu: mtuInside(path), ...(path.mtu.isCutInside && { isCutInside: true }) };
}

/**
 * While nothing can be sent packets wait with the device, as they do without a session (SN-89). A channel
 * that is missing is bound; its request leaves before the plane may use it (RL-101).
 */
function noteBroken(state: ConnectionsState, connection: Connection, isBroken: boolean): void {
  const path = pathOf(connection);
  if (isBroken && path !== undefined) bindChannel(state, path);
  if (isBroken === connection.isBroken) return;
  connection.isBroken = isBroken;
  state.device.setReachable(state.now, connection.peer, !isBroken);
  connection.log.debug?.(isBroken ? "path broken" : "path mended");
}

function isSamePath(a: Path, b: Path): boolean {
  return (
    a.relay === b.relay &&
    equalSocketAddress(a.source, b.source) &&
    equalSocketAddress(a.destination, b.destination)
  );
}

function logPath(
  state: ConnectionsState,
  connection: Connection,
  before: Path | undefined,
  path: Path,
): void {
  connection.log.info?.("path changed", {
    ...idField(state, connection.id),
    ...(before && { before: formatPath(before) }),
    path: formatPath(path),
    sinceUpsertMs: state.now - connection.createdAt,
  });
}
