/** Lengths and checksums of an IP packet, made right for what it now is: most mutants would die at the first of them. */
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "../../src/packet/checksum.ts";

const [ICMP, TCP, UDP, ICMPV6] = [1, 6, 17, 58];
const CHECKSUM_AT: Readonly<Record<number, number>> = { [ICMP]: 2, [TCP]: 16, [UDP]: 6, [ICMPV6]: 2 };

export function mendPacket(input: Uint8Array): Uint8Array {
  const packet = Uint8Array.from(input);
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const headerBytes = isV6 ? 40 : ((packet[0] ?? 0) & 15) * 4;
  if (headerBytes < 20 || packet.length < headerBytes || packet.length > 0xffff) return packet;
  const view = new DataView(packet.buffer);
  if (isV6) view.setUint16(4, packet.length - headerBytes);
  else {
    view.setUint16(2, packet.length);
    view.setUint16(10, 0);
    view.setUint16(10, checksumFinish(checksumAdd(packet.subarray(0, headerBytes))));
  }
  mendTransport(packet, packet[isV6 ? 6 : 9] ?? 0, headerBytes);
  return packet;
}

function mendTransport(packet: Uint8Array, protocol: number, headerBytes: number): void {
  const at = CHECKSUM_AT[protocol];
  const transport = packet.subarray(headerBytes);
  if (at === undefined || transport.length < at + 2) return;
  const view = new DataView(transport.buffer, transport.byteOffset, transport.length);
  if (protocol === UDP) view.setUint16(4, transport.length);
  view.setUint16(at, 0);
  const [source, destination] =
    headerBytes === 40
      ? [packet.subarray(8, 24), packet.subarray(24, 40)]
      : [packet.subarray(12, 16), packet.subarray(16, 20)];
  const pseudo =
    protocol === ICMP ? 0 : pseudoHeaderSum({ source, destination, protocol, lengthBytes: transport.length });
  const sum = checksumFinish(checksumAdd(transport, pseudo));
  view.setUint16(at, sum === 0 && protocol === UDP ? 0xffff : sum);
}
