/**
 * Validation of IP packets: TN-1 to TN-4 and the transport identity of TN-6.
 *
 * Strict about lengths, lenient about everything else. What follows relies on the descriptor and
 * never checks a length again. The twin is `src/packet/ip.ts`, which control uses itself.
 */
import {
  DROP_ICMP_FAMILY,
  DROP_ICMP_LENGTH,
  DROP_IP_FRAGMENT,
  DROP_IP_LENGTH,
  DROP_IP_SOURCE_ROUTE,
  DROP_IP_TOO_BIG,
  DROP_IP_VERSION,
  DROP_IP6_EXT,
  DROP_TCP_LENGTH,
  DROP_UDP_LENGTH,
  PACKET_DESTINATION_PORT,
  PACKET_FAMILY,
  PACKET_FLAG_FRAGMENT,
  PACKET_FLAG_PORTS,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_SOURCE_PORT,
  PACKET_TOTAL_BYTES,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_OFFSET,
} from "../layout";
import {
  WALK_FRAGMENT,
  WALK_MALFORMED,
  WALK_ROUTED,
  walkExtensions,
  walkOffset,
  walkProtocol,
} from "./extension";

export const PROTOCOL_ICMP: u32 = 1;
export const PROTOCOL_TCP: u32 = 6;
export const PROTOCOL_UDP: u32 = 17;
export const PROTOCOL_ICMP6: u32 = 58;

const HEADER4_BYTES: u32 = 20;
const HEADER6_BYTES: u32 = 40;
const OPTION_END: u32 = 0;
const OPTION_NOP: u32 = 1;
const OPTION_LOOSE_SOURCE_ROUTE: u32 = 131;
const OPTION_STRICT_SOURCE_ROUTE: u32 = 137;
/** MF and the fragment offset of IPv4, in network order. */
const FRAGMENT4_MASK: u32 = 0x3fff;

/**
 * Checks the IP packet at `packet` (TN-3, in its order) and describes it at `d`.
 *
 * Reads only `[packet, packet + available)`, writes only the record `packet` of the layout at `d`,
 * which has a meaning only when the result is not negative.
 * @param available bytes that may belong to the packet, padding included
 * @param limit largest total length in bytes (row 4); 65,535 for a super-frame (TN-4)
 * @param isStrict false, for a WireGuard peer that decides by address alone, lifts rows 5, 6, 8 and 9, and
 *   rows 10 to 13 for fragments (TN-4)
 * @returns the total length in bytes without padding, or `-DROP_…`; the caller counts
 */
export function validate(packet: usize, available: u32, limit: u32, isStrict: bool, d: usize): i32 {
  if (available == 0) return -DROP_IP_VERSION;
  const version = <u32>load<u8>(packet) >> 4;
  if (version == 4) return validate4(packet, available, limit, isStrict, d);
  if (version == 6) return validate6(packet, available, limit, isStrict, d);
  return -DROP_IP_VERSION;
}

function validate4(packet: usize, available: u32, limit: u32, isStrict: bool, d: usize): i32 {
  if (available < HEADER4_BYTES) return -DROP_IP_LENGTH;
  const header = (<u32>load<u8>(packet) & 15) << 2;
  const total = be16(packet + 2);
  if (header < HEADER4_BYTES || header > total || total > available) return -DROP_IP_LENGTH;
  if (total > limit) return -DROP_IP_TOO_BIG;
  const isFragment = (be16(packet + 6) & FRAGMENT4_MASK) != 0;
  if (isStrict) {
    if (isFragment) return -DROP_IP_FRAGMENT;
    if (header > HEADER4_BYTES && hasSourceRoute(packet + HEADER4_BYTES, packet + header)) {
      return -DROP_IP_SOURCE_ROUTE;
    }
  }
  store<u32>(d, 4, PACKET_FAMILY);
  return describe(packet, total, header, <u32>load<u8>(packet, 9), isFragment, d);
}

/** Whether the IPv4 options `[option, end)` contain a source route; a malformed list ends the walk. */
function hasSourceRoute(option: usize, end: usize): bool {
  while (option < end) {
    const kind = <u32>load<u8>(option);
    if (kind == OPTION_END) return false;
    if (kind == OPTION_NOP) {
      option++;
      continue;
    }
    if (kind == OPTION_LOOSE_SOURCE_ROUTE || kind == OPTION_STRICT_SOURCE_ROUTE) return true;
    if (option + 1 >= end) return false;
    const length = <usize>load<u8>(option, 1);
    if (length < 2) return false;
    option += length;
  }
  return false;
}

function validate6(packet: usize, available: u32, limit: u32, isStrict: bool, d: usize): i32 {
  if (available < HEADER6_BYTES) return -DROP_IP_LENGTH;
  const total = HEADER6_BYTES + be16(packet + 4);
  if (total > available) return -DROP_IP_LENGTH;
  if (total > limit) return -DROP_IP_TOO_BIG;
  const walk = walkExtensions(packet, total);
  if (walk == WALK_MALFORMED) return -DROP_IP6_EXT;
  const isFragment = (walk & WALK_FRAGMENT) != 0;
  if (isStrict) {
    if ((walk & WALK_ROUTED) != 0) return -DROP_IP_SOURCE_ROUTE;
    if (isFragment) return -DROP_IP_FRAGMENT;
  }
  store<u32>(d, 6, PACKET_FAMILY);
  return describe(packet, total, walkOffset(walk), walkProtocol(walk), isFragment, d);
}

/** Rows 10 to 13 and the descriptor; the family stands in `d` already. */
function describe(packet: usize, total: u32, offset: u32, protocol: u32, isFragment: bool, d: usize): i32 {
  const bytes = total - offset;
  store<u32>(d, protocol, PACKET_PROTOCOL);
  store<u32>(d, offset, PACKET_TRANSPORT_OFFSET);
  store<u32>(d, bytes, PACKET_TRANSPORT_BYTES);
  store<u32>(d, total, PACKET_TOTAL_BYTES);
  // Portless until the transport says otherwise (TN-6).
  store<u32>(d, 0, PACKET_SOURCE_PORT);
  store<u32>(d, 0, PACKET_DESTINATION_PORT);
  store<u32>(d, isFragment ? PACKET_FLAG_FRAGMENT : 0, PACKET_FLAGS);
  if (isFragment) return <i32>total;
  const transport = packet + offset;
  if (protocol == PROTOCOL_TCP) {
    if (bytes < 20) return -DROP_TCP_LENGTH;
    const header = (<u32>load<u8>(transport, 12) >> 4) << 2;
    if (header < 20 || header > bytes) return -DROP_TCP_LENGTH;
    describePorts(d, be16(transport), be16(transport + 2));
  } else if (protocol == PROTOCOL_UDP) {
    if (bytes < 8) return -DROP_UDP_LENGTH;
    const length = be16(transport + 4);
    if (length < 8 || length > bytes) return -DROP_UDP_LENGTH;
    describePorts(d, be16(transport), be16(transport + 2));
  } else if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6) {
    if ((protocol == PROTOCOL_ICMP) != (load<u32>(d, PACKET_FAMILY) == 4)) return -DROP_ICMP_FAMILY;
    if (bytes < 8) return -DROP_ICMP_LENGTH;
    if (isEcho(protocol, be16(transport))) describePorts(d, be16(transport + 4), be16(transport + 4));
  }
  return <i32>total;
}

/** Whether type and code, as one 16-bit number, are an echo request or reply. */
function isEcho(protocol: u32, typeAndCode: u32): bool {
  return protocol == PROTOCOL_ICMP
    ? typeAndCode == 0x0800 || typeAndCode == 0x0000
    : typeAndCode == 0x8000 || typeAndCode == 0x8100;
}

function describePorts(d: usize, source: u32, destination: u32): void {
  store<u32>(d, source, PACKET_SOURCE_PORT);
  store<u32>(d, destination, PACKET_DESTINATION_PORT);
  store<u32>(d, load<u32>(d, PACKET_FLAGS) | PACKET_FLAG_PORTS, PACKET_FLAGS);
}

/** The 16-bit number in network order at `p`. */
function be16(p: usize): u32 {
  return <u32>bswap<u16>(load<u16>(p));
}
