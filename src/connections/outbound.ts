/** Packets and WireGuard messages to a peer, with or without a path (SN §5.6). */
import { formatSocketAddress, unreachable } from "../base/index.ts";
import type { WgTransmit } from "../wireguard/index.ts";
import { IP_BUFFER_MAX, WG_BUFFER_MAX } from "./constants.ts";
import type { ConnectionCounter, ConnectionTransmit, SendOutcome } from "./face.ts";
import { noteActivity, toTransmit } from "./path.ts";
import { type Connection, type ConnectionsState, count } from "./state.ts";

/** SN-96: a client's packets wait for the path; a gateway never makes a session for one. */
export function sendPacket(
  connections: ConnectionsState,
  connection: Connection,
  packet: Uint8Array,
): SendOutcome {
  const { phase } = connection;
  switch (phase.kind) {
    case "connecting":
      if (connections.options.role === "gateway") {
        count(connections, "tx_not_ready");
        return "tx_not_ready";
      }
      push(connections, phase.ipBuffer, packet, { most: IP_BUFFER_MAX, counter: "ip_buffer_overflow" });
      return "buffered";
    case "connected":
    case "idle":
      noteActivity(connections, connection, "outgoing packet");
      connections.device.handleStaged(connections.now, connection.peer, packet);
      return "queued";
    default:
      return unreachable(phase);
  }
}

/** The next message of the device that can be sent; those of peers without a path wait (SN-97). */
export function pollDeviceTransmit(connections: ConnectionsState): ConnectionTransmit | undefined {
  for (
    let next = connections.device.pollTransmit();
    next !== undefined;
    next = connections.device.pollTransmit()
  ) {
    const transmit =
      next.kind === "cookie-reply" ? cookieTransmit(connections, next) : peerTransmit(connections, next);
    if (transmit !== undefined) return transmit;
  }
  return undefined;
}

function cookieTransmit(
  connections: ConnectionsState,
  { to, datagram }: Extract<WgTransmit, { kind: "cookie-reply" }>,
): ConnectionTransmit {
  const key = formatSocketAddress(to);
  const local = connections.cookieLocals.get(key);
  connections.cookieLocals.delete(key);
  return { ...(local && { source: local.address }), destination: to, bytes: datagram };
}

function peerTransmit(
  connections: ConnectionsState,
  { peer, datagram }: Exclude<WgTransmit, { kind: "cookie-reply" }>,
): ConnectionTransmit | undefined {
  const connection = connections.bySlot.get(peer.slot);
  if (connection === undefined || connection.peer.peerId !== peer.peerId) return undefined;
  const { phase } = connection;
  if (phase.kind !== "connecting") return toTransmit(phase.path, datagram);
  push(connections, phase.wgBuffer, datagram, { most: WG_BUFFER_MAX, counter: "wg_buffer_overflow" });
  return undefined;
}

/** The oldest makes room. */
function push(
  connections: ConnectionsState,
  buffer: Uint8Array[],
  bytes: Uint8Array,
  limit: { readonly most: number; readonly counter: ConnectionCounter },
): void {
  if (buffer.length >= limit.most) {
    buffer.shift();
    count(connections, limit.counter);
  }
  buffer.push(bytes);
}
