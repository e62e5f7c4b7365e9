import { copyOf, type IpAddress } from "../base/index.ts";

/** The destination address of a validated IP packet. */
export function destinationOf(packet: Uint8Array): IpAddress {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  return copyOf(isV6 ? packet.subarray(24, 40) : packet.subarray(16, 20));
}

/** The source address of a validated IP packet. */
export function sourceOf(packet: Uint8Array): IpAddress {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  return copyOf(isV6 ? packet.subarray(8, 24) : packet.subarray(12, 16));
}
