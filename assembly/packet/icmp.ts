/**
 * ICMP errors and what they quote (TN-7). For the roles client and gateway; a plain WireGuard peer
 * carries every ICMP message. The twin is `src/packet/icmp.ts`, which control uses itself.
 */

import { Icmp, Ip4, Ip6 } from "../header";
import { Drop, PACKET_FLAG_FRAGMENT, Packet } from "../layout";
import { WALK_FRAGMENT, WALK_MALFORMED, walkExtensions, walkOffset, walkProtocol } from "./extension";
import { PROTOCOL_ICMP, PROTOCOL_ICMP6, PROTOCOL_TCP, PROTOCOL_UDP } from "./ip";

/** The fragment offset of IPv4, in network order. */
export const FRAGMENT_OFFSET4_MASK: u32 = 0x1fff;
const TYPE4_UNREACHABLE: u32 = 3;
const TYPE4_SOURCE_QUENCH: u32 = 4;
const TYPE4_REDIRECT: u32 = 5;
const TYPE4_TIME_EXCEEDED: u32 = 11;
const TYPE4_PARAMETER_PROBLEM: u32 = 12;
/** Destination unreachable, packet too big, time exceeded, parameter problem: 1 to 4. */
const TYPE6_ERROR_MAX: u32 = 4;

/** Type and code of *prohibited*, as they lie in memory. */
const PROHIBITED4: u32 = 3 | (13 << 8);
const PROHIBITED6: u32 = 1 | (1 << 8);

/** Whether the packet described at `found` is an ICMP error. */
export function isIcmpError(packet: usize, found: usize): bool {
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  const protocol = load<u32>(found, Packet.PROTOCOL);
  if (protocol == PROTOCOL_ICMP6) {
    const type = icmpType(packet, found);
    return type >= 1 && type <= TYPE6_ERROR_MAX;
  }
  if (protocol != PROTOCOL_ICMP) return false;
  const type = icmpType(packet, found);
  return type == TYPE4_UNREACHABLE || type == TYPE4_TIME_EXCEEDED || type == TYPE4_PARAMETER_PROBLEM;
}

/** Whether the packet described at `found` says *prohibited* (TN-12): ICMP 3/13, ICMPv6 1/1. */
export function isProhibited(packet: usize, found: usize): bool {
  const protocol = load<u32>(found, Packet.PROTOCOL);
  if (protocol != PROTOCOL_ICMP && protocol != PROTOCOL_ICMP6) return false;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  // Type and code side by side.
  const kind = <u32>load<u16>(packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET));
  return kind == (protocol == PROTOCOL_ICMP ? PROHIBITED4 : PROHIBITED6);
}

/**
 * Why an ICMP message that passed validation goes no further: `Drop.ICMP_TYPE` for redirect and source
 * quench, `Drop.ICMP_QUOTE` for an error that does not quote enough of a packet, or not one that its
 * receiver sent (TN-70): only that one can be the cause. 0 for everything else.
 */
export function icmpReason(packet: usize, found: usize): u32 {
  if (
    load<u32>(found, Packet.PROTOCOL) == PROTOCOL_ICMP &&
    (load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) == 0
  ) {
    const type = icmpType(packet, found);
    if (type == TYPE4_SOURCE_QUENCH || type == TYPE4_REDIRECT) return Drop.ICMP_TYPE;
  }
  if (!isIcmpError(packet, found)) return 0;
  const quote = packet + <usize>(load<u32>(found, Packet.TRANSPORT_OFFSET) + Icmp.BYTES);
  const bytes = load<u32>(found, Packet.TRANSPORT_BYTES) - Icmp.BYTES;
  if (load<u32>(found, Packet.PROTOCOL) == PROTOCOL_ICMP) {
    const isUsable =
      isUsableQuote4(quote, bytes) && load<u32>(quote, Ip4.SOURCE) == load<u32>(packet, Ip4.DESTINATION);
    return isUsable ? 0 : Drop.ICMP_QUOTE;
  }
  if (!isUsableQuote6(quote, bytes)) return Drop.ICMP_QUOTE;
  const difference = v128.xor(v128.load(quote, Ip6.SOURCE), v128.load(packet, Ip6.DESTINATION));
  return v128.any_true(difference) ? Drop.ICMP_QUOTE : 0;
}

/** The header is complete, and enough of the transport for its identity; length fields are ignored. */
function isUsableQuote4(quote: usize, bytes: u32): bool {
  if (bytes < Ip4.BYTES || load<u8>(quote) >> 4 != 4) return false;
  const header = (<u32>load<u8>(quote) & 15) << 2;
  if (header < Ip4.BYTES || header > bytes) return false;
  // Behind a later fragment's header stands no transport header.
  if ((<u32>bswap<u16>(load<u16>(quote, Ip4.FRAGMENT)) & FRAGMENT_OFFSET4_MASK) != 0) return true;
  return hasIdentity(<u32>load<u8>(quote, Ip4.PROTOCOL), bytes - header);
}

function isUsableQuote6(quote: usize, bytes: u32): bool {
  if (bytes < Ip6.BYTES || load<u8>(quote) >> 4 != 6) return false;
  const walk = walkExtensions(quote, bytes);
  if (walk == WALK_MALFORMED) return false;
  return (walk & WALK_FRAGMENT) != 0 || hasIdentity(walkProtocol(walk), bytes - walkOffset(walk));
}

function hasIdentity(protocol: u32, bytes: u32): bool {
  if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP) return bytes >= 4;
  if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6) return bytes >= Icmp.BYTES;
  return true;
}

function icmpType(packet: usize, found: usize): u32 {
  return <u32>load<u8>(packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET));
}
