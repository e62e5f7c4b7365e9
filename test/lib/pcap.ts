/** What a capture holds (`capture.ts`), as packets of IPv4. */

export interface CapturedPacket {
  readonly source: string;
  readonly protocol: number;
  /** The destination's, of UDP and TCP. */
  readonly port: number;
  /** Of UDP: behind its header. */
  readonly payload: Uint8Array;
}

const FILE_BYTES = 24;
const RECORD_BYTES = 16;
const UDP_BYTES = 8;

/** @param file of pcap; a last record that is not whole yet is left out */
export function packetsOf(file: Buffer): readonly CapturedPacket[] {
  const packets: CapturedPacket[] = [];
  let at = FILE_BYTES;
  while (at + RECORD_BYTES <= file.length) {
    const from = at + RECORD_BYTES;
    at = from + file.readUInt32LE(from - 8);
    if (at > file.length) break;
    const packet = file.subarray(from, at);
    if ((packet[0] ?? 0) >> 4 !== 4) continue;
    const transport = packet.subarray(((packet[0] ?? 0) & 15) * 4);
    packets.push({
      source: packet.subarray(12, 16).join("."),
      protocol: packet[9] ?? 0,
      port: transport.length < 4 ? 0 : transport.readUInt16BE(2),
      payload: transport.subarray(UDP_BYTES),
    });
  }
  return packets;
}
