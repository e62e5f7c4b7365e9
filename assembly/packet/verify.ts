/**
 * Whether the checksums of a complete packet are right (`--validate-checksums`, PG-6). For fault finding: it
 * touches every byte of the packet once more. The twin: `checksumsHold` of `test/twin/plane/verify.ts`.
 */
import { Tcp, Udp } from "../header";
import { PACKET_FLAG_FRAGMENT, Packet } from "../layout";
import { fold, pseudoSum, sum } from "./checksum";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "./ip";

/** A sum over everything, the checksum included, is all ones (RFC 1071 §1). */
const ALL_ONES: u32 = 0xffff;

/** Expects that `validate` accepted the packet and described it at `found`. A fragment has no whole sum. */
export function checksumsHold(packet: usize, found: usize): bool {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  if (!isV6 && fold(sum(packet, (<u32>load<u8>(packet) & 15) << 2)) != ALL_ONES) return false;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return true;
  const protocol = load<u32>(found, Packet.PROTOCOL);
  const bytes = load<u32>(found, Packet.TRANSPORT_BYTES);
  const transport = packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET);
  if (protocol == PROTOCOL_TCP) {
    return bytes < Tcp.BYTES || isWhole(packet, isV6, protocol, transport, bytes);
  }
  if (protocol != PROTOCOL_UDP || bytes < Udp.BYTES) return true;
  // Over IPv4 a sender may leave it out (RFC 768).
  if (!isV6 && load<u16>(transport, Udp.CHECKSUM) == 0) return true;
  const length = <u32>bswap<u16>(load<u16>(transport, Udp.LENGTH));
  // Bytes behind the datagram are padding.
  return length < Udp.BYTES || length > bytes || isWhole(packet, isV6, protocol, transport, length);
}

function isWhole(packet: usize, isV6: bool, protocol: u32, transport: usize, bytes: u32): bool {
  return fold(sum(transport, bytes) + pseudoSum(packet, isV6, protocol, bytes)) == ALL_ONES;
}
