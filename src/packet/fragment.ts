/** Fragments of datagrams, which nobody reassembles (TN-5, TN-111, TN-112). */
import { V6_HEADER_BYTES, walkExtensions } from "./ip.ts";

export interface FragmentOf {
  /** Equal exactly for fragments of one datagram: addresses, protocol and identification. */
  readonly datagram: string;
  /** Not the first: it has no transport header. */
  readonly isLater: boolean;
}

/** Of a validated packet (TN-1); `undefined`: it is whole. */
export function fragmentOf(packet: Uint8Array): FragmentOf | undefined {
  return (packet[0] ?? 0) >> 4 === 6 ? fragmentOfV6(packet) : fragmentOfV4(packet);
}

const OFFSET_V4_MASK = 0x1fff;
const MORE_OR_OFFSET_V4_MASK = 0x3fff;
const OFFSET_V6_MASK = 0xfff8;

function fragmentOfV4(packet: Uint8Array): FragmentOf | undefined {
  const field = ((packet[6] ?? 0) << 8) | (packet[7] ?? 0);
  if ((field & MORE_OR_OFFSET_V4_MASK) === 0) return undefined;
  const datagram = textOf(packet.subarray(4, 6), packet[9] ?? 0, packet.subarray(12, 20));
  return { datagram, isLater: (field & OFFSET_V4_MASK) !== 0 };
}

function fragmentOfV6(packet: Uint8Array): FragmentOf | undefined {
  const walk = walkExtensions(packet, packet[6] ?? 0, V6_HEADER_BYTES);
  if (walk?.isFragment !== true) return undefined;
  // The fragment header is the last before the transport.
  const header = packet.subarray(walk.transportOffset - 8, walk.transportOffset);
  const field = ((header[2] ?? 0) << 8) | (header[3] ?? 0);
  const datagram = textOf(header.subarray(4, 8), walk.protocol, packet.subarray(8, 40));
  return { datagram, isLater: (field & OFFSET_V6_MASK) !== 0 };
}

/** Both families differ in length. */
function textOf(identification: Uint8Array, protocol: number, addresses: Uint8Array): string {
  return String.fromCharCode(protocol, ...identification, ...addresses);
}
