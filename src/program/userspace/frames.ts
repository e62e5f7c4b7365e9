/** What the plane writes to a TUN device, for a stack without one: packets, and TCP super-frames as they are. */
import { VNET_HEADER_BYTES } from "../../../bindings/linux/index.ts";
import { encodeUdp, PROTOCOL, UDP_HEADER_BYTES, viewPacket } from "../../packet/index.ts";

const GSO_NONE = 0;

/** Borrows from `frame`, which has its virtio_net_hdr in front. */
export function packetsOf(frame: Uint8Array): readonly Uint8Array[] {
  const packet = frame.subarray(VNET_HEADER_BYTES);
  const segmentBytes = (frame[4] ?? 0) | ((frame[5] ?? 0) << 8);
  if (frame[1] === GSO_NONE || segmentBytes === 0) return [packet];
  const { protocol, source, destination, ports, transport } = viewPacket(packet);
  // Datagrams keep their bounds; TCP has none.
  if (protocol !== PROTOCOL.udp || ports === undefined) return [packet];
  const from = { address: source, port: ports.source };
  const to = { address: destination, port: ports.destination };
  const packets: Uint8Array[] = [];
  for (let at = UDP_HEADER_BYTES; at < transport.length; at += segmentBytes) {
    const one = encodeUdp(from, to, transport.subarray(at, at + segmentBytes));
    if (one.ok) packets.push(one.value);
  }
  return packets;
}

/** Whether it is a segment, whole and without options of IP in the way; all others are looked at in detail. */
export function isTcpFrame(frame: Uint8Array): boolean {
  const at = VNET_HEADER_BYTES;
  if ((frame[at] ?? 0) >> 4 === 6) return frame[at + 6] === PROTOCOL.tcp;
  const isFragment = ((frame[at + 6] ?? 0) & 0x3f) !== 0 || frame[at + 7] !== 0;
  return frame[at + 9] === PROTOCOL.tcp && !isFragment;
}
