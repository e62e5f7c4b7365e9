/**
 * Translation of addresses, ports and echo identifiers (TN-9), with checksums brought up to date by what has changed
 * (RFC 1624): a packet that was corrupted before stays recognisably corrupted.
 *
 * The twin is `src/packet/rewrite.ts`, which control uses itself.
 */
import { Icmp, Ip4, Ip6, Tcp, Udp } from "../header";
import { PACKET_FLAG_FRAGMENT, PACKET_FLAG_PORTS, Packet } from "../layout";
import { sum, updated } from "./checksum";
import { PROTOCOL_ICMP, PROTOCOL_ICMP6, PROTOCOL_TCP, PROTOCOL_UDP } from "./ip";

/** Of ICMP and ICMPv6 alike: behind type and code. */
const ICMP_CHECKSUM: usize = 2;

/**
 * Gives the validated packet at `packet`, described at `found`, another source and destination port.
 * @param address 16 bytes, of which IPv4 uses the first four
 * @param port the destination port, or the echo identifier
 */
export function rewriteSource(packet: usize, found: usize, address: usize, port: u32): void {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  rewrite(packet, found, packet + (isV6 ? Ip6.SOURCE : Ip4.SOURCE), address, Udp.DESTINATION_PORT, port);
}

/** Gives it another destination and source port, or echo identifier. */
export function rewriteDestination(packet: usize, found: usize, address: usize, port: u32): void {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  rewrite(packet, found, packet + (isV6 ? Ip6.DESTINATION : Ip4.DESTINATION), address, Udp.SOURCE_PORT, port);
}

/** @param field the port's offset in TCP and UDP */
function rewrite(packet: usize, found: usize, at: usize, address: usize, field: usize, port: u32): void {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  const oldAddress = isV6 ? sum(at, 16) : <u64>load<u32>(at);
  const newAddress = isV6 ? sum(address, 16) : <u64>load<u32>(address);
  if (isV6) {
    v128.store(at, v128.load(address));
  } else {
    store<u32>(at, load<u32>(address));
    mend(packet + Ip4.CHECKSUM, oldAddress, newAddress);
  }
  const flags = load<u32>(found, Packet.FLAGS);
  // A later fragment has no transport header; of a plain peer's nobody knows.
  if ((flags & (PACKET_FLAG_FRAGMENT | PACKET_FLAG_PORTS)) == PACKET_FLAG_FRAGMENT) return;
  const protocol = load<u32>(found, Packet.PROTOCOL);
  const transport = packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET);
  const hasPorts = (flags & PACKET_FLAG_PORTS) != 0;
  const isIcmp = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6;
  // Neither addresses nor an identifier are summed: an update by nothing would still turn 0xffff into 0.
  if (protocol == PROTOCOL_ICMP && !hasPorts) return;
  let oldSum: u64 = protocol == PROTOCOL_ICMP ? 0 : oldAddress;
  let newSum: u64 = protocol == PROTOCOL_ICMP ? 0 : newAddress;
  if (hasPorts) {
    const place = transport + (isIcmp ? Icmp.IDENTIFIER : field);
    oldSum += <u64>load<u16>(place);
    store<u16>(place, bswap<u16>(<u16>port));
    newSum += <u64>load<u16>(place);
  }
  if (protocol == PROTOCOL_TCP) mend(transport + Tcp.CHECKSUM, oldSum, newSum);
  else if (isIcmp) mend(transport + ICMP_CHECKSUM, oldSum, newSum);
  else if (protocol == PROTOCOL_UDP) mendUdp(transport + Udp.CHECKSUM, oldSum, newSum);
}

function mend(field: usize, oldSum: u64, newSum: u64): void {
  store<u16>(field, <u16>updated(<u32>load<u16>(field), oldSum, newSum));
}

/** To UDP zero means "none": that stays, and is never the result (RFC 768). */
function mendUdp(field: usize, oldSum: u64, newSum: u64): void {
  const old = <u32>load<u16>(field);
  if (old == 0) return;
  const checksum = updated(old, oldSum, newSum);
  store<u16>(field, <u16>(checksum == 0 ? 0xffff : checksum));
}
