/** Packets and WireGuard messages to a peer, with or without a path (SN §5.6). */
import { formatSocketAddress, unreachable } from "../base/index.ts";
import type { WgTransmit } from "../wireguard/index.ts";
import { advance, advanceAll, advanceDevice } from "./advance.ts";
import { IP_BUFFER_MAX, WG_BUFFER_MAX } from "./constants.ts";
import type { ConnectionCounter, SendOutcome } from "./face.ts";
import { noteActivity } from "./path.ts";
import { type Connection, type ConnectionsState, count } from "./state.ts";
import { sendAlong, wayOf } from "./way.ts";

/** A packet for a peer: punted by the plane for want of a session, or our own. */
export function send(
  state: ConnectionsState,
  connection: Connection | undefined,
  sent: { readonly packet: Uint8Array; readonly isPunt: boolean },
): SendOutcome {
  // No packet may leave on a session that has expired meanwhile (SN-81).
  advanceAll(state);
  if (connection === undefined || state.byId.get(connection.id) !== connection) {
    count(state, "unknown_connection");
    return "unknown-connection";
  }
  const outcome = sendPacket(state, connection, sent);
  advance(state, connection);
  advanceDevice(state);
  return outcome;
}

/** SN-96: a client's packets wait for the path; a gateway never makes a session for one. */
function sendPacket(
  state: ConnectionsState,
  connection: Connection,
  { packet, isPunt }: { readonly packet: Uint8Array; readonly isPunt: boolean },
): SendOutcome {
  const { device, now } = state;
  const { phase, peer } = connection;
  switch (phase.kind) {
    case "connecting":
      if (isPunt) device.notePunt(peer);
      if (state.options.role === "gateway") {
        count(state, "tx_not_ready", connection);
        return "tx-not-ready";
      }
      push(state, phase.ipBuffer, packet, { connection, most: IP_BUFFER_MAX, counter: "ip_buffer_overflow" });
      return "buffered";
    case "connected":
    case "idle":
      noteActivity(state, connection, "outgoing packet");
      if (isPunt) device.handlePunt(now, peer, packet);
      else device.send(now, peer, packet);
      return "queued";
    default:
      return unreachable(phase);
  }
}

/** Queues a message of the device. Those of peers without a path wait (SN-97). */
export function sendMessage(state: ConnectionsState, message: WgTransmit): void {
  if (message.kind === "cookie-reply") sendCookie(state, message);
  else sendToPeer(state, message);
}

/** The way it came (SN-104). */
function sendCookie(
  state: ConnectionsState,
  { to, datagram }: Extract<WgTransmit, { kind: "cookie-reply" }>,
): void {
  const key = formatSocketAddress(to);
  const local = state.cookieLocals.get(key);
  state.cookieLocals.delete(key);
  if (local === undefined) state.transmits.push({ destination: to, bytes: datagram });
  else sendAlong(state, wayOf(state, { source: local, destination: to }), datagram);
}

function sendToPeer(
  state: ConnectionsState,
  { peer, datagram }: Exclude<WgTransmit, { kind: "cookie-reply" }>,
): void {
  const connection = state.bySlot.get(peer.slot);
  if (connection === undefined || connection.peer.peerId !== peer.peerId) return;
  const { phase } = connection;
  if (phase.kind !== "connecting") sendAlong(state, phase.path, datagram);
  else
    push(state, phase.wgBuffer, datagram, { connection, most: WG_BUFFER_MAX, counter: "wg_buffer_overflow" });
}

/** The oldest makes room. */
function push(
  state: ConnectionsState,
  buffer: Uint8Array[],
  bytes: Uint8Array,
  limit: { readonly connection: Connection; readonly most: number; readonly counter: ConnectionCounter },
): void {
  if (buffer.length >= limit.most) {
    buffer.shift();
    count(state, limit.counter, limit.connection);
  }
  buffer.push(bytes);
}
