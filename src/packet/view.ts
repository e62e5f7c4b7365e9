/** The headers of a packet that has been validated already (TN-1, TN-6): nothing is checked again. */
import type { IpAddress } from "../base/index.ts";
import { identityOf, V6_HEADER_BYTES, walkExtensions } from "./ip.ts";

/** Borrows from the packet: valid as long as its bytes are. */
export interface PacketView {
  readonly family: 4 | 6;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** Number of the transport protocol, behind extension headers. */
  readonly protocol: number;
  /** The transport header and what follows. */
  readonly transport: Uint8Array;
  /** The transport identity of TN-6; absent for portless packets. */
  readonly ports?: { readonly source: number; readonly destination: number };
}

export function viewPacket(packet: Uint8Array): PacketView {
  return (packet[0] ?? 0) >> 4 === 6 ? viewV6(packet) : viewV4(packet);
}

function viewV4(packet: Uint8Array): PacketView {
  return withPorts({
    family: 4,
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    protocol: packet[9] ?? 0,
    transport: packet.subarray(((packet[0] ?? 0) & 15) * 4),
  });
}

function viewV6(packet: Uint8Array): PacketView {
  const walk = walkExtensions(packet, packet[6] ?? 0, V6_HEADER_BYTES);
  return withPorts({
    family: 6,
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, 40),
    protocol: walk?.protocol ?? packet[6] ?? 0,
    transport: packet.subarray(walk?.transportOffset ?? V6_HEADER_BYTES),
  });
}

function withPorts(view: PacketView): PacketView {
  const ports = identityOf(view.transport, view.protocol);
  return ports === undefined ? view : { ...view, ports };
}
