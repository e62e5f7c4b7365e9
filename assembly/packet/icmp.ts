/**
 * ICMP errors and what they quote (TN-7). For the roles client and gateway; a plain WireGuard peer
 * carries every ICMP message. The twin is `src/packet/icmp.ts`, which control uses itself.
 */
import {
  DROP_ICMP_QUOTE,
  DROP_ICMP_TYPE,
  PACKET_FLAG_FRAGMENT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_OFFSET,
} from "../layout";
import { WALK_FRAGMENT, WALK_MALFORMED, walkExtensions, walkOffset, walkProtocol } from "./extension";
import { PROTOCOL_ICMP, PROTOCOL_ICMP6, PROTOCOL_TCP, PROTOCOL_UDP } from "./ip";

const ICMP_HEADER_BYTES: u32 = 8;
const TYPE4_UNREACHABLE: u32 = 3;
const TYPE4_SOURCE_QUENCH: u32 = 4;
const TYPE4_REDIRECT: u32 = 5;
const TYPE4_TIME_EXCEEDED: u32 = 11;
const TYPE4_PARAMETER_PROBLEM: u32 = 12;
/** Destination unreachable, packet too big, time exceeded, parameter problem: 1 to 4. */
const TYPE6_ERROR_MAX: u32 = 4;

/** Whether the packet described at `d` is an ICMP error. */
export function isIcmpError(packet: usize, d: usize): bool {
  if ((load<u32>(d, PACKET_FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  const protocol = load<u32>(d, PACKET_PROTOCOL);
  if (protocol == PROTOCOL_ICMP6) {
    const type = icmpType(packet, d);
    return type >= 1 && type <= TYPE6_ERROR_MAX;
  }
  if (protocol != PROTOCOL_ICMP) return false;
  const type = icmpType(packet, d);
  return type == TYPE4_UNREACHABLE || type == TYPE4_TIME_EXCEEDED || type == TYPE4_PARAMETER_PROBLEM;
}

/**
 * Why an ICMP message that passed validation goes no further: `DROP_ICMP_TYPE` for redirect and source
 * quench, `DROP_ICMP_QUOTE` for an error that does not quote enough of a packet, or not one that its
 * receiver sent (TN-70): only that one can be the cause. 0 for everything else.
 */
export function icmpReason(packet: usize, d: usize): u32 {
  if (
    load<u32>(d, PACKET_PROTOCOL) == PROTOCOL_ICMP &&
    (load<u32>(d, PACKET_FLAGS) & PACKET_FLAG_FRAGMENT) == 0
  ) {
    const type = icmpType(packet, d);
    if (type == TYPE4_SOURCE_QUENCH || type == TYPE4_REDIRECT) return DROP_ICMP_TYPE;
  }
  if (!isIcmpError(packet, d)) return 0;
  const quote = packet + <usize>(load<u32>(d, PACKET_TRANSPORT_OFFSET) + ICMP_HEADER_BYTES);
  const bytes = load<u32>(d, PACKET_TRANSPORT_BYTES) - ICMP_HEADER_BYTES;
  if (load<u32>(d, PACKET_PROTOCOL) == PROTOCOL_ICMP) {
    const isUsable = isUsableQuote4(quote, bytes) && load<u32>(quote, 12) == load<u32>(packet, 16);
    return isUsable ? 0 : DROP_ICMP_QUOTE;
  }
  if (!isUsableQuote6(quote, bytes)) return DROP_ICMP_QUOTE;
  const difference = v128.xor(v128.load(quote, 8), v128.load(packet, 24));
  return v128.any_true(difference) ? DROP_ICMP_QUOTE : 0;
}

/** The header is complete, and enough of the transport for its identity; length fields are ignored. */
function isUsableQuote4(quote: usize, bytes: u32): bool {
  if (bytes < 20 || load<u8>(quote) >> 4 != 4) return false;
  const header = (<u32>load<u8>(quote) & 15) << 2;
  if (header < 20 || header > bytes) return false;
  // Behind a later fragment's header stands no transport header.
  if ((<u32>bswap<u16>(load<u16>(quote, 6)) & 0x1fff) != 0) return true;
  return hasIdentity(<u32>load<u8>(quote, 9), bytes - header);
}

function isUsableQuote6(quote: usize, bytes: u32): bool {
  if (bytes < 40 || load<u8>(quote) >> 4 != 6) return false;
  const walk = walkExtensions(quote, bytes);
  if (walk == WALK_MALFORMED) return false;
  return (walk & WALK_FRAGMENT) != 0 || hasIdentity(walkProtocol(walk), bytes - walkOffset(walk));
}

function hasIdentity(protocol: u32, bytes: u32): bool {
  if (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP) return bytes >= 4;
  if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6) return bytes >= ICMP_HEADER_BYTES;
  return true;
}

function icmpType(packet: usize, d: usize): u32 {
  return <u32>load<u8>(packet + <usize>load<u32>(d, PACKET_TRANSPORT_OFFSET));
}
