/**
 * Validation of IP packets: TN-1 to TN-4 and the transport identity of TN-6.
 *
 * Strict about lengths, lenient about everything else. What follows relies on the descriptor and
 * never checks a length again. The twin is `src/packet/ip.ts`, which control uses itself.
 */

import { Extension, Icmp, Ip4, Ip6, Tcp, Udp } from "../header";
import { Drop, PACKET_FLAG_FRAGMENT, PACKET_FLAG_LATER, PACKET_FLAG_PORTS, Packet } from "../layout";
import {
  isExtension,
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

const OPTION_END: u32 = 0;
const OPTION_NOP: u32 = 1;
const OPTION_LOOSE_SOURCE_ROUTE: u32 = 131;
const OPTION_STRICT_SOURCE_ROUTE: u32 = 137;
/** MF and the fragment offset of IPv4, in network order. */
const FRAGMENT4_MASK: u32 = 0x3fff;
const OFFSET4_MASK: u32 = 0x1fff;
const MORE4: u32 = 0x2000;
/** The same of IPv6: the offset is in bytes as it stands. */
const OFFSET6_MASK: u32 = 0xfff8;
const OFFSET6_UNIT: u32 = 8;
const MORE6: u32 = 1;
const FRAGMENT_BYTES: usize = 8;
const MOST_DATAGRAM_BYTES: u32 = 65_535;

/**
 * Checks the IP packet at `packet` (TN-3, in its order) and describes it at `found`.
 *
 * Reads only `[packet, packet + available)`, writes only the record `packet` of the layout at `found`,
 * which has a meaning only when the result is not negative.
 * @param available bytes that may belong to the packet, padding included
 * @param limit largest total length in bytes (row 4); 65,535 for a super-frame (TN-4)
 * @param isStrict false, for a WireGuard peer that decides by address alone, lifts rows 5, 6, 8 and 9, and
 *   rows 10 to 13 for fragments (TN-4)
 * @returns the total length in bytes without padding, or `-Drop.…`; the caller counts
 */
export function validate(packet: usize, available: u32, limit: u32, isStrict: bool, found: usize): i32 {
  if (available == 0) return -Drop.IP_VERSION;
  const version = <u32>load<u8>(packet) >> 4;
  if (version == 4) return validate4(packet, available, limit, isStrict, found);
  if (version == 6) return validate6(packet, available, limit, isStrict, found);
  return -Drop.IP_VERSION;
}

function validate4(packet: usize, available: u32, limit: u32, isStrict: bool, found: usize): i32 {
  if (available < Ip4.BYTES) return -Drop.IP_LENGTH;
  const header = (<u32>load<u8>(packet) & 15) << 2;
  const total = be16(packet + Ip4.TOTAL_BYTES);
  if (header < Ip4.BYTES || header > total || total > available) return -Drop.IP_LENGTH;
  if (total > limit) return -Drop.IP_TOO_BIG;
  const field = be16(packet + Ip4.FRAGMENT);
  const isFragment = (field & FRAGMENT4_MASK) != 0;
  const protocol = <u32>load<u8>(packet, Ip4.PROTOCOL);
  store<u32>(found, 4, Packet.FAMILY);
  if (isStrict) {
    if (header > Ip4.BYTES && hasSourceRoute(packet + Ip4.BYTES, packet + header)) {
      return -Drop.IP_SOURCE_ROUTE;
    }
    if (isFragment) {
      const isLast = (field & MORE4) == 0;
      return describeFragment(packet, total, header, protocol, (field & OFFSET4_MASK) << 3, isLast, found);
    }
  }
  return describe(packet, total, header, protocol, isFragment, found);
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

function validate6(packet: usize, available: u32, limit: u32, isStrict: bool, found: usize): i32 {
  if (available < Ip6.BYTES) return -Drop.IP_LENGTH;
  const total = Ip6.BYTES + be16(packet + Ip6.PAYLOAD_BYTES);
  if (total > available) return -Drop.IP_LENGTH;
  if (total > limit) return -Drop.IP_TOO_BIG;
  const walk = walkExtensions(packet, total);
  if (walk == WALK_MALFORMED) return -Drop.IP6_EXT;
  const isFragment = (walk & WALK_FRAGMENT) != 0;
  const offset = walkOffset(walk);
  const protocol = walkProtocol(walk);
  store<u32>(found, 6, Packet.FAMILY);
  if (isStrict) {
    if ((walk & WALK_ROUTED) != 0) return -Drop.IP_SOURCE_ROUTE;
    if (isFragment) {
      const field = be16(packet + <usize>offset - FRAGMENT_BYTES + Extension.FRAGMENT);
      if (field < OFFSET6_UNIT && isExtension(protocol)) return -Drop.IP_FRAGMENT;
      const isLast = (field & MORE6) == 0;
      return describeFragment(packet, total, offset, protocol, field & OFFSET6_MASK, isLast, found);
    }
  }
  return describe(packet, total, offset, protocol, isFragment, found);
}

/**
 * A fragment, in the roles client and gateway (TN-3 rows 5 and 9): the first has its whole transport header, which
 * no later one can change; none reaches beyond what a packet can be.
 * @param position of its first byte in the datagram
 */
function describeFragment(
  packet: usize,
  total: u32,
  offset: u32,
  protocol: u32,
  position: u32,
  isLast: bool,
  found: usize,
): i32 {
  const bytes = total - offset;
  if (bytes == 0 || position + bytes > MOST_DATAGRAM_BYTES) return -Drop.IP_FRAGMENT;
  if (!isLast && (bytes & 7) != 0) return -Drop.IP_FRAGMENT;
  const isIcmp = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6;
  if (isIcmp && (protocol == PROTOCOL_ICMP) != (load<u32>(found, Packet.FAMILY) == 4))
    return -Drop.ICMP_FAMILY;
  const least = protocol == PROTOCOL_TCP ? Tcp.BYTES : Udp.BYTES;
  if (position != 0) {
    if (position < least) return -Drop.IP_FRAGMENT;
    describePlace(total, offset, protocol, found);
    store<u32>(found, PACKET_FLAG_FRAGMENT | PACKET_FLAG_LATER, Packet.FLAGS);
    return <i32>total;
  }
  if (bytes < least) return -Drop.IP_FRAGMENT;
  const transport = packet + <usize>offset;
  // An error that comes in pieces cannot be translated, and nobody sends one (TN-7).
  if (isIcmp && !isEcho(protocol, be16(transport + Icmp.TYPE))) return -Drop.IP_FRAGMENT;
  // The length of UDP is that of the whole datagram.
  if (protocol == PROTOCOL_UDP && be16(transport + Udp.LENGTH) < Udp.BYTES) return -Drop.UDP_LENGTH;
  if (protocol == PROTOCOL_UDP) {
    describePlace(total, offset, protocol, found);
    describePorts(found, be16(transport + Udp.SOURCE_PORT), be16(transport + Udp.DESTINATION_PORT));
  } else if (describe(packet, total, offset, protocol, false, found) < 0) return -Drop.TCP_LENGTH;
  store<u32>(found, load<u32>(found, Packet.FLAGS) | PACKET_FLAG_FRAGMENT, Packet.FLAGS);
  return <i32>total;
}

/** What is known of any packet; portless until the transport says otherwise (TN-6). */
function describePlace(total: u32, offset: u32, protocol: u32, found: usize): void {
  store<u32>(found, protocol, Packet.PROTOCOL);
  store<u32>(found, offset, Packet.TRANSPORT_OFFSET);
  store<u32>(found, total - offset, Packet.TRANSPORT_BYTES);
  store<u32>(found, total, Packet.TOTAL_BYTES);
  store<u32>(found, 0, Packet.SOURCE_PORT);
  store<u32>(found, 0, Packet.DESTINATION_PORT);
  store<u32>(found, 0, Packet.FLAGS);
}

/** Rows 10 to 13 and the descriptor; the family stands in `found` already. */
function describe(
  packet: usize,
  total: u32,
  offset: u32,
  protocol: u32,
  isFragment: bool,
  found: usize,
): i32 {
  const bytes = total - offset;
  describePlace(total, offset, protocol, found);
  if (isFragment) {
    store<u32>(found, PACKET_FLAG_FRAGMENT, Packet.FLAGS);
    return <i32>total;
  }
  const transport = packet + offset;
  if (protocol == PROTOCOL_TCP) {
    if (bytes < Tcp.BYTES) return -Drop.TCP_LENGTH;
    const header = (<u32>load<u8>(transport, Tcp.DATA_OFFSET) >> 4) << 2;
    if (header < Tcp.BYTES || header > bytes) return -Drop.TCP_LENGTH;
    describePorts(found, be16(transport + Tcp.SOURCE_PORT), be16(transport + Tcp.DESTINATION_PORT));
  } else if (protocol == PROTOCOL_UDP) {
    if (bytes < Udp.BYTES) return -Drop.UDP_LENGTH;
    const length = be16(transport + Udp.LENGTH);
    if (length < Udp.BYTES || length > bytes) return -Drop.UDP_LENGTH;
    describePorts(found, be16(transport + Udp.SOURCE_PORT), be16(transport + Udp.DESTINATION_PORT));
  } else if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6) {
    if ((protocol == PROTOCOL_ICMP) != (load<u32>(found, Packet.FAMILY) == 4)) return -Drop.ICMP_FAMILY;
    if (bytes < Icmp.BYTES) return -Drop.ICMP_LENGTH;
    if (isEcho(protocol, be16(transport + Icmp.TYPE))) {
      describePorts(found, be16(transport + Icmp.IDENTIFIER), be16(transport + Icmp.IDENTIFIER));
    }
  }
  return <i32>total;
}

/** Whether type and code, as one 16-bit number, are an echo request or reply. */
function isEcho(protocol: u32, typeAndCode: u32): bool {
  return protocol == PROTOCOL_ICMP
    ? typeAndCode == 0x0800 || typeAndCode == 0x0000
    : typeAndCode == 0x8000 || typeAndCode == 0x8100;
}

function describePorts(found: usize, source: u32, destination: u32): void {
  store<u32>(found, source, Packet.SOURCE_PORT);
  store<u32>(found, destination, Packet.DESTINATION_PORT);
  store<u32>(found, load<u32>(found, Packet.FLAGS) | PACKET_FLAG_PORTS, Packet.FLAGS);
}

/** The 16-bit number in network order at `p`. */
export function be16(p: usize): u32 {
  return ((<u32>load<u8>(p)) << 8) | <u32>load<u8>(p, 1);
}
