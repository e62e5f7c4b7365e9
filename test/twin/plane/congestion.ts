/** The twin of `assembly/packet/ecn.ts`: congestion notification of an IP packet (TN-10, TN-11, RFC 6040 §4). */

/** The ECN field: what the outer header carries. */
export function ecnOf(packet: Uint8Array): number {
  const second = packet[1] ?? 0;
  return (packet[0] ?? 0) >> 4 === 6 ? (second >> 4) & 3 : second & 3;
}

/** Marks a packet as having met congestion if its transport understands that. */
export function markCongestion(packet: Uint8Array): void {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const ecn = ecnOf(packet);
  if (ecn === 0 || ecn === 3) return;
  if (isV6) {
    packet[1] = (packet[1] ?? 0) | 0x30;
    return;
  }
  const view = new DataView(packet.buffer, packet.byteOffset);
  const before = view.getUint16(0);
  packet[1] = (packet[1] ?? 0) | 3;
  // RFC 1624 equation 3: a header that was wrong before stays recognisably wrong.
  let sum = (~view.getUint16(10) & 0xffff) + (~before & 0xffff) + view.getUint16(0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  view.setUint16(10, ~sum & 0xffff);
}
