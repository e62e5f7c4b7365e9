/**
 * Which packets from the tunnel may be for the client's resolver (TN-38, DN-68). It asks name servers from ports that no
 * program of the host is given; control tells its flows from those of programs that chose such a port all the same.
 * The twin: `test/twin/plane/policy.ts`.
 */
import { Icmp, Ip4, Udp } from "../header";
import { DNS_PORT, GATEWAY_DNS_PORT, PACKET_FLAG_FRAGMENT, Packet, RESOLVER_PORT_FIRST } from "../layout";
import { WALK_FRAGMENT, walkExtensions, walkOffset, walkProtocol } from "./extension";
import { FRAGMENT_OFFSET4_MASK, isIcmpError } from "./icmp";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "./ip";

/**
 * Whether the packet described at `found` comes from a name server to such a port, or is an ICMP error about a packet
 * that went the other way. The quote of an error has been judged already (`icmpReason`).
 */
export function isForResolver(packet: usize, found: usize): bool {
  const port = load<u32>(found, Packet.DESTINATION_PORT);
  const protocol = load<u32>(found, Packet.PROTOCOL);
  if (hasPorts(protocol)) {
    if (port < RESOLVER_PORT_FIRST || (load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) {
      return false;
    }
    return isNameServer(load<u32>(found, Packet.SOURCE_PORT));
  }
  return isIcmpError(packet, found) && isQuoteOfResolver(packet, found, protocol);
}

function isQuoteOfResolver(packet: usize, found: usize, protocol: u32): bool {
  const quote = packet + <usize>(load<u32>(found, Packet.TRANSPORT_OFFSET) + Icmp.BYTES);
  if (protocol == PROTOCOL_ICMP) {
    const isLater = (<u32>bswap<u16>(load<u16>(quote, Ip4.FRAGMENT)) & FRAGMENT_OFFSET4_MASK) != 0;
    if (isLater || !hasPorts(<u32>load<u8>(quote, Ip4.PROTOCOL))) return false;
    return arePortsOfResolver(quote + <usize>((<u32>load<u8>(quote) & 15) << 2));
  }
  const walk = walkExtensions(quote, load<u32>(found, Packet.TRANSPORT_BYTES) - Icmp.BYTES);
  if ((walk & WALK_FRAGMENT) != 0 || !hasPorts(walkProtocol(walk))) return false;
  return arePortsOfResolver(quote + <usize>walkOffset(walk));
}

/** Of a quoted packet, at its transport header: TCP has its ports where UDP does. */
function arePortsOfResolver(transport: usize): bool {
  if (<u32>bswap<u16>(load<u16>(transport, Udp.SOURCE_PORT)) < RESOLVER_PORT_FIRST) return false;
  return isNameServer(<u32>bswap<u16>(load<u16>(transport, Udp.DESTINATION_PORT)));
}

function hasPorts(protocol: u32): bool {
  return protocol == PROTOCOL_UDP || protocol == PROTOCOL_TCP;
}

function isNameServer(port: u32): bool {
  return port == DNS_PORT || port == GATEWAY_DNS_PORT;
}
