/** Packets and WireGuard messages to a peer, with or without a path (SN §5.6). */
import { formatSocketAddress, unreachable } from "../base/index.ts";
import type { WgTransmit } from "../wireguard/index.ts";
import { IP_BUFFER_MAX, WG_BUFFER_MAX } from "./constants.ts";
import type { NodeCounter, NodeTransmit, SendOutcome } from "./face.ts";
import { noteActivity, toTransmit } from "./path.ts";
import { type Connection, count, type NodeState } from "./state.ts";

/** SN-96: a client's packets wait for the path; a gateway never makes a session for one. */
export function sendPacket(node: NodeState, connection: Connection, packet: Uint8Array): SendOutcome {
  const { phase } = connection;
  switch (phase.kind) {
    case "connecting":
      if (node.options.role === "gateway") {
        count(node, "tx_not_ready");
        return "tx_not_ready";
      }
      push(node, phase.ipBuffer, packet, { most: IP_BUFFER_MAX, counter: "ip_buffer_overflow" });
      return "buffered";
    case "connected":
    case "idle":
      noteActivity(node, connection, "outgoing packet");
      node.device.handleStaged(node.now, connection.peer, packet);
      return "queued";
    default:
      return unreachable(phase);
  }
}

/** The next message of the device that can be sent; those of peers without a path wait (SN-97). */
export function pollDeviceTransmit(node: NodeState): NodeTransmit | undefined {
  for (let next = node.device.pollTransmit(); next !== undefined; next = node.device.pollTransmit()) {
    const transmit = next.kind === "cookie-reply" ? cookieTransmit(node, next) : peerTransmit(node, next);
    if (transmit !== undefined) return transmit;
  }
  return undefined;
}

function cookieTransmit(
  node: NodeState,
  { to, datagram }: Extract<WgTransmit, { kind: "cookie-reply" }>,
): NodeTransmit {
  const key = formatSocketAddress(to);
  const local = node.cookieLocals.get(key);
  node.cookieLocals.delete(key);
  return { ...(local && { source: local.address }), destination: to, bytes: datagram };
}

function peerTransmit(
  node: NodeState,
  { peer, datagram }: Exclude<WgTransmit, { kind: "cookie-reply" }>,
): NodeTransmit | undefined {
  const connection = node.bySlot.get(peer.slot);
  if (connection === undefined || connection.peer.peerId !== peer.peerId) return undefined;
  const { phase } = connection;
  if (phase.kind !== "connecting") return toTransmit(phase.path, datagram);
  push(node, phase.wgBuffer, datagram, { most: WG_BUFFER_MAX, counter: "wg_buffer_overflow" });
  return undefined;
}

/** The oldest makes room. */
function push(
  node: NodeState,
  buffer: Uint8Array[],
  bytes: Uint8Array,
  limit: { readonly most: number; readonly counter: NodeCounter },
): void {
  if (buffer.length >= limit.most) {
    buffer.shift();
    count(node, limit.counter);
  }
  buffer.push(bytes);
}
