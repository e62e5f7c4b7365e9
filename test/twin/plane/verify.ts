/** Whether the checksums of a packet are right: the twin of `assembly/packet/verify.ts`. */
import { checksumAdd, type PacketDescriptor, PROTOCOL, pseudoHeaderSum } from "../../../src/packet/index.ts";

const ALL_ONES = 0xffff;
const TCP_BYTES = 20;
const UDP_BYTES = 8;

export function checksumsHold(packet: Uint8Array, found: PacketDescriptor): boolean {
  const { family, protocol, transportOffset, isFragment } = found;
  const headerBytes = ((packet[0] ?? 0) & 15) * 4;
  if (family === 4 && checksumAdd(packet.subarray(0, headerBytes)) !== ALL_ONES) return false;
  const transport = packet.subarray(transportOffset, found.totalBytes);
  if (isFragment || (protocol !== PROTOCOL.tcp && protocol !== PROTOCOL.udp)) return true;
  if (transport.length < (protocol === PROTOCOL.tcp ? TCP_BYTES : UDP_BYTES)) return true;
  const view = new DataView(transport.buffer, transport.byteOffset, transport.length);
  const isUdp = protocol === PROTOCOL.udp;
  if (isUdp && family === 4 && view.getUint16(6) === 0) return true;
  const lengthBytes = isUdp ? view.getUint16(4) : transport.length;
  if (lengthBytes > transport.length || (isUdp && lengthBytes < UDP_BYTES)) return true;
  const [source, destination] =
    family === 4
      ? [packet.subarray(12, 16), packet.subarray(16, 20)]
      : [packet.subarray(8, 24), packet.subarray(24, 40)];
  const pseudo = pseudoHeaderSum({ source, destination, protocol, lengthBytes });
  return checksumAdd(transport.subarray(0, lengthBytes), pseudo) === ALL_ONES;
}
