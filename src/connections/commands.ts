/**
 * The one order of all commands to the plane (SN-124, SN-127), and of packets through a punt (WG-46).
 *
 * A new route takes four steps. The peer's hold word is set, so that newer packets queue up behind. The
 * tables are published, so that an answer finds its source allowed however fast it comes. What had waited
 * is injected. The word is cleared when nobody judges by the earlier tables any more and all that was
 * punted by them has been handled as well:
 *
 *     hold ─ publish ─ inject ┄┄ older punts: inject ┄┄ publication carried out ─ release
 */
import { randomU32 } from "../base/index.ts";
import { cutPacket } from "../packet/index.ts";
import type { PeerPolicy, PlaneCommand, PolicyTables, Publication } from "../plane/index.ts";
import { advance } from "./advance.ts";
import type { RouteOpening } from "./face.ts";
import { send, sendMessage } from "./outbound.ts";
import { publishPaths, verifyIdle } from "./path.ts";
import { mtuInside } from "./path-mtu.ts";
import { type Connection, type ConnectionsState, pathOf } from "./state.ts";

/**
 * Takes what the device wants done and sent into our own queues. A path record goes before the device's
 * commands, as soon as the plane knows the peer: an injected packet must find its path.
 */
export function collect(state: ConnectionsState): void {
  const { device, commands } = state;
  publishPaths(state);
  for (let next = device.pollCommand(); next !== undefined; next = device.pollCommand()) {
    if (next.kind === "release" && isWithheld(state, next)) continue;
    commands.push(next.kind === "inject" ? cutUp(state, next) : next);
    if (next.kind === "add-peer" && announce(state, next)) publishPaths(state);
  }
  for (let next = device.pollTransmit(); next !== undefined; next = device.pollTransmit()) {
    sendMessage(state, next);
  }
}

/** What is injected, in pieces where the path needs them (TN-121). */
function cutUp(
  { bySlot, random }: ConnectionsState,
  inject: Extract<PlaneCommand, { kind: "inject" }>,
): PlaneCommand {
  const path = pathOf(bySlot.get(inject.slot));
  if (path?.mtu.isCutInside !== true) return inject;
  const most = mtuInside(path);
  const packets = inject.packets.flatMap((packet) =>
    packet.length <= most ? [packet] : cutPacket(packet, most, randomU32(random)),
  );
  return { ...inject, packets };
}

function announce(state: ConnectionsState, { slot, peerId }: { slot: number; peerId: number }): boolean {
  const connection = state.bySlot.get(slot);
  if (connection?.peer.peerId !== peerId) return false;
  connection.isAnnounced = true;
  return true;
}

/** While a route opens, older packets may still be on their way to us. */
function isWithheld(
  { openings }: ConnectionsState,
  release: Extract<PlaneCommand, { kind: "release" }>,
): boolean {
  const opening = openings.get(release.slot);
  if (opening === undefined) return false;
  openings.set(release.slot, { ...opening, release });
  return true;
}

export function publish(state: ConnectionsState, tables: PolicyTables): Publication {
  const publication: Publication = { kind: "publish", tables };
  collect(state);
  state.commands.push(publication);
  return publication;
}

export function setPolicy(state: ConnectionsState, slot: number, policy: PeerPolicy | undefined): void {
  collect(state);
  state.commands.push({ kind: "set-policy", slot, ...(policy && { policy }) });
}

/** Publishes tables by which packets go to this connection, behind `packets`, which waited for them. */
export function openRoute(
  state: ConnectionsState,
  connection: Connection | undefined,
  { tables, packets }: RouteOpening,
): void {
  if (connection === undefined || packets.length === 0) {
    publish(state, tables);
    return;
  }
  const { slot } = connection.peer;
  collect(state);
  state.commands.push({ kind: "hold", slot });
  const publication = publish(state, tables);
  state.openings.set(slot, { publication, release: state.openings.get(slot)?.release });
  for (const packet of packets) send(state, connection, { packet, isPunt: false });
}

export function handleCarriedOut(state: ConnectionsState, command: PlaneCommand | Publication): void {
  switch (command.kind) {
    case "publish":
      return closeOpenings(state, command);
    case "set-path": {
      const connection = state.bySlot.get(command.slot);
      if (connection === undefined || !command.path.isIdle) return;
      if (verifyIdle(state, connection)) advance(state, connection);
      return;
    }
    default:
      return state.device.handleCarriedOut(state.now, command);
  }
}

function closeOpenings({ openings, commands }: ConnectionsState, publication: Publication): void {
  for (const [slot, opening] of openings) {
    if (opening.publication !== publication) continue;
    openings.delete(slot);
    // Without one, packets wait for a session: the device releases when it has sent them.
    if (opening.release !== undefined) commands.push(opening.release);
  }
}
