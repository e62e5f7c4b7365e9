/**
 * The MSS option of TCP (RFC 9293 §3.7.1), lowered to what fits a path (TN-109).
 *
 * The twin is `test/twin/plane/mss.ts`.
 */
import { Ip4, Ip6, Tcp } from "../header";
import { PACKET_FLAG_FRAGMENT, Packet } from "../layout";
import { updated } from "./checksum";
import { be16, PROTOCOL_TCP } from "./ip";

const OPTION_END: u32 = 0;
const OPTION_NOP: u32 = 1;
const OPTION_MSS: u32 = 2;
const MSS_OPTION_BYTES: usize = 4;

/** Whether the validated packet at `packet`, described at `found`, begins a TCP connection or answers that. */
export function isSyn(packet: usize, found: usize): bool {
  if (load<u32>(found, Packet.PROTOCOL) != PROTOCOL_TCP) return false;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  return (load<u8>(packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET), Tcp.FLAGS) & Tcp.SYN) != 0;
}

/**
 * Lowers every MSS option of the segment to what an IP packet of `mtu` bytes leaves; the checksum follows.
 *
 * Expects `isSyn`: then the whole TCP header is inside the packet. Writes nothing outside of it.
 */
export function clampMss(packet: usize, found: usize, mtu: u32): void {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  const headers = (isV6 ? Ip6.BYTES : Ip4.BYTES) + Tcp.BYTES;
  const most = mtu > headers ? mtu - headers : 0;
  const tcp = packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET);
  const end = tcp + ((<usize>load<u8>(tcp, Tcp.DATA_OFFSET) >> 4) << 2);
  let option = tcp + <usize>Tcp.BYTES;
  while (option < end) {
    const kind = <u32>load<u8>(option);
    if (kind == OPTION_END) return;
    if (kind == OPTION_NOP) {
      option++;
      continue;
    }
    if (option + 1 >= end) return;
    const length = <usize>load<u8>(option, 1);
    if (length < 2 || option + length > end) return;
    if (kind == OPTION_MSS && length == MSS_OPTION_BYTES && be16(option + 2) > most) {
      setMss(tcp, option + 2, most);
    }
    option += length;
  }
}

function setMss(tcp: usize, at: usize, mss: u32): void {
  const old = load<u16>(at);
  store<u16>(at, bswap<u16>(<u16>mss));
  const checksum = <u32>load<u16>(tcp, Tcp.CHECKSUM);
  // At an odd offset its bytes lie in two words, each in the other half (RFC 1071 §2 B).
  const isOdd = ((at - tcp) & 1) != 0;
  const oldSum = <u64>(isOdd ? bswap<u16>(old) : old);
  const newSum = <u64>(isOdd ? <u16>mss : bswap<u16>(<u16>mss));
  store<u16>(tcp, <u16>updated(checksum, oldSum, newSum), Tcp.CHECKSUM);
}
