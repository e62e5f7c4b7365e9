/**
 * Splitting what one read of the TUN device brings into IP packets (PF-32, PF-54, TN-4, D-6).
 *
 * A read brings a `virtio_net_hdr` and one packet, or a super-frame of one flow that the kernel left
 * for us to cut up. The segments come one at a time; the header of segment i is stamped directly in
 * front of its payload, over what the caller has sealed already:
 *
 *     [vnet][IP TCP][payload 0      ][payload 1      ][payload 2 ]
 *           ^ segment 0              |
 *                          [IP TCP]  ^ segment 1: headers over the tail of payload 0
 *
 * so no payload is ever moved, and checksums come from sums over the parts of the headers that stay
 * the same, plus one pass over the payload. No system call, no allocation; the twin is
 * `test/twin/plane/split.ts`.
 */

import { Ip4, Ip6, Tcp, Udp } from "../header";
import {
  Drop,
  PACKET_FLAG_FRAGMENT,
  Packet,
  SPLIT_HEADER_CAPACITY,
  Split,
  VNET_HEADER_BYTES,
} from "../layout";
import { complement, pseudoSum, sum, word } from "../packet/checksum";
import { PROTOCOL_TCP, PROTOCOL_UDP, validate } from "../packet/ip";
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCP4,
  GSO_TCP6,
  GSO_UDP,
  IP_BYTES_MAX,
  VNET_CSUM_OFFSET,
  VNET_CSUM_START,
  VNET_FLAGS,
  VNET_GSO_SIZE,
  VNET_GSO_TYPE,
  VNET_NEEDS_CSUM,
} from "./vnet";

/**
 * Takes the frame of `bytes` bytes at `frame`, as the TUN device gave it.
 *
 * Validates the packet (TN-3), describes it at `found` for the one judgement of all its segments, checks
 * that the virtio header does not contradict it, and completes the checksum of a single packet. Every
 * segment is bounded by `limit`: a frame whose segments exceed it is refused as a whole.
 * Expects 16 writable bytes behind the frame (for the caller's padding) and none before it.
 * @param limit largest IP packet in bytes, as for `validate`; so is `isStrict`
 * @param state record `split` of the layout; it is valid until the next `splitBegin`
 * @returns the number of segments, at least 1, or `-Drop.…`
 */
export function splitBegin(
  frame: usize,
  bytes: u32,
  limit: u32,
  isStrict: bool,
  found: usize,
  state: usize,
): i32 {
  // A refused frame has no segments, whoever asks.
  store<u32>(state, 0, Split.COUNT);
  store<u32>(state, 0, Split.INDEX);
  if (bytes < VNET_HEADER_BYTES || bytes - VNET_HEADER_BYTES > IP_BYTES_MAX) return -Drop.TUN_HEADER;
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const isSingle = load<u8>(frame, VNET_GSO_TYPE) == GSO_NONE;
  const total = validate(packet, bytes - VNET_HEADER_BYTES, isSingle ? limit : IP_BYTES_MAX, isStrict, found);
  if (total < 0) return total;
  store<usize>(state, packet, Split.PACKET);
  store<u32>(state, <u32>total, Split.TOTAL_BYTES);
  if (isSingle) return beginSingle(frame, packet, <u32>total, found, state);
  return beginSuper(frame, packet, <u32>total, limit, found, state);
}

/**
 * The address of the next segment, a complete IP packet; its length is in `Split.SEGMENT_BYTES`.
 *
 * The caller is done with the previous segment: its tail is overwritten. Nothing behind the segment's
 * last byte may have changed since `splitBegin`.
 * @returns 0 after the last segment
 */
export function splitNext(state: usize): usize {
  const index = load<u32>(state, Split.INDEX);
  const count = load<u32>(state, Split.COUNT);
  if (index == count) return 0;
  store<u32>(state, index + 1, Split.INDEX);
  const packet = load<usize>(state, Split.PACKET);
  const total = load<u32>(state, Split.TOTAL_BYTES);
  if (load<u32>(state, Split.HEADER_BYTES) == 0) {
    store<u32>(state, total, Split.SEGMENT_BYTES);
    return packet;
  }
  return stamp(packet, total, index, count, state);
}

/** The headers of the frame have been changed since `splitBegin`, not their lengths: they are taken again. */
export function splitRefresh(state: usize): void {
  const header = load<u32>(state, Split.HEADER_BYTES);
  if (header != 0) keepHeader(load<usize>(state, Split.PACKET), header, state);
}

/** A packet without segmentation: completes its checksum if the kernel left that to us (PF-32). */
function beginSingle(frame: usize, packet: usize, total: u32, found: usize, state: usize): i32 {
  store<u32>(state, 0, Split.HEADER_BYTES);
  if ((load<u8>(frame, VNET_FLAGS) & VNET_NEEDS_CSUM) != 0) {
    const reason = completeChecksum(frame, packet, total, found);
    if (reason != 0) return -reason;
  }
  store<u32>(state, 1, Split.COUNT);
  return 1;
}

/** Turns the pseudo-header's sum in the checksum field into the checksum; returns 0 or a reason. */
function completeChecksum(frame: usize, packet: usize, total: u32, found: usize): u32 {
  const start = <u32>load<u16>(frame, VNET_CSUM_START);
  const offset = <u32>load<u16>(frame, VNET_CSUM_OFFSET);
  if (start < load<u32>(found, Packet.TRANSPORT_OFFSET) || start + offset + 2 > total) return Drop.TUN_HEADER;
  // The field holds the sum of the pseudo-header, so summing over it adds that. A result of zero is
  // stored as 0xffff for every protocol, as the kernel itself does: to UDP zero means "none", to the
  // others both are the same number.
  const checksum = complement(sum(packet + <usize>start, total - start));
  store<u16>(packet + <usize>(start + offset), <u16>(checksum == 0 ? 0xffff : checksum));
  return 0;
}

/** A super-frame: checks that header and packet agree, and keeps what all segments have in common. */
function beginSuper(frame: usize, packet: usize, total: u32, limit: u32, found: usize, state: usize): i32 {
  const family = load<u32>(found, Packet.FAMILY);
  const protocol = load<u32>(found, Packet.PROTOCOL);
  const kind = <u32>load<u8>(frame, VNET_GSO_TYPE) & ~GSO_ECN;
  if (kind != GSO_TCP4 && kind != GSO_TCP6 && kind != GSO_UDP) return -Drop.TUN_GSO_TYPE;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return -Drop.TUN_HEADER;
  if (protocol != (kind == GSO_UDP ? PROTOCOL_UDP : PROTOCOL_TCP)) return -Drop.TUN_HEADER;
  if ((kind == GSO_TCP4 && family != 4) || (kind == GSO_TCP6 && family != 6)) return -Drop.TUN_HEADER;
  const offset = load<u32>(found, Packet.TRANSPORT_OFFSET);
  if ((load<u8>(frame, VNET_FLAGS) & VNET_NEEDS_CSUM) != 0) {
    const field = protocol == PROTOCOL_UDP ? <u32>Udp.CHECKSUM : <u32>Tcp.CHECKSUM;
    if (<u32>load<u16>(frame, VNET_CSUM_START) != offset) return -Drop.TUN_HEADER;
    if (<u32>load<u16>(frame, VNET_CSUM_OFFSET) != field) return -Drop.TUN_HEADER;
  }
  // The header length of the virtio header is only a hint and often wrong (PF-32).
  const transport = packet + <usize>offset;
  const header =
    offset + (protocol == PROTOCOL_UDP ? Udp.BYTES : (<u32>load<u8>(transport, Tcp.DATA_OFFSET) >> 4) << 2);
  const gso = <u32>load<u16>(frame, VNET_GSO_SIZE);
  if (gso == 0 || header > SPLIT_HEADER_CAPACITY) return -Drop.TUN_HEADER;
  const payload = total - header;
  if (header + min<u32>(gso, payload) > limit) return -Drop.IP_TOO_BIG;
  const count = payload == 0 ? 1 : (payload + gso - 1) / gso;
  store<u32>(state, count, Split.COUNT);
  store<u32>(state, gso, Split.GSO_BYTES);
  store<u32>(state, header, Split.HEADER_BYTES);
  store<u32>(state, offset, Split.TRANSPORT_OFFSET);
  store<u32>(state, family, Split.FAMILY);
  store<u32>(state, protocol, Split.PROTOCOL);
  keepHeader(packet, header, state);
  return <i32>count;
}

/** Copies the headers to the state with every varying field zero, and sums what is left. */
function keepHeader(packet: usize, header: u32, state: usize): void {
  const copy = state + Split.HEADER;
  const offset = load<u32>(state, Split.TRANSPORT_OFFSET);
  const isV6 = load<u32>(state, Split.FAMILY) == 6;
  const protocol = load<u32>(state, Split.PROTOCOL);
  memory.copy(copy, packet, <usize>header);
  if (isV6) {
    store<u16>(copy, 0, Ip6.PAYLOAD_BYTES);
  } else {
    store<u32>(state, <u32>bswap<u16>(load<u16>(copy, Ip4.IDENTIFICATION)), Split.IDENTIFICATION);
    // Total length and identification.
    store<u32>(copy, 0, Ip4.TOTAL_BYTES);
    store<u16>(copy, 0, Ip4.CHECKSUM);
    store<u64>(state, sum(copy, offset), Split.IP_SUM);
  }
  const transport = copy + <usize>offset;
  if (protocol == PROTOCOL_UDP) {
    // Length and checksum.
    store<u32>(transport, 0, Udp.LENGTH);
  } else {
    store<u32>(state, bswap<u32>(load<u32>(transport, Tcp.SEQUENCE)), Split.SEQUENCE);
    store<u32>(state, <u32>load<u8>(transport, Tcp.FLAGS), Split.TCP_FLAGS);
    store<u32>(transport, 0, Tcp.SEQUENCE);
    store<u8>(transport, 0, Tcp.FLAGS);
    store<u16>(transport, 0, Tcp.CHECKSUM);
  }
  const fixed = sum(transport, header - offset) + pseudoSum(copy, isV6, protocol, 0);
  store<u64>(state, fixed, Split.TRANSPORT_SUM);
}

/** Writes the headers of segment `index` in front of its payload; returns where the packet begins. */
function stamp(packet: usize, total: u32, index: u32, count: u32, state: usize): usize {
  const header = load<u32>(state, Split.HEADER_BYTES);
  const gso = load<u32>(state, Split.GSO_BYTES);
  const before = index * gso;
  const payload = min<u32>(gso, total - header - before);
  const segment = packet + <usize>before;
  const bytes = header + payload;
  memory.copy(segment, state + Split.HEADER, <usize>header);
  if (load<u32>(state, Split.FAMILY) == 6) {
    store<u16>(segment, bswap<u16>(<u16>(bytes - Ip6.BYTES)), Ip6.PAYLOAD_BYTES);
  } else {
    store<u16>(segment, bswap<u16>(<u16>bytes), Ip4.TOTAL_BYTES);
    store<u16>(
      segment,
      bswap<u16>(<u16>(load<u32>(state, Split.IDENTIFICATION) + index)),
      Ip4.IDENTIFICATION,
    );
    const varying = <u64>load<u32>(segment, Ip4.TOTAL_BYTES);
    store<u16>(segment, <u16>complement(load<u64>(state, Split.IP_SUM) + varying), Ip4.CHECKSUM);
  }
  const offset = load<u32>(state, Split.TRANSPORT_OFFSET);
  const transport = segment + <usize>offset;
  let checksum = load<u64>(state, Split.TRANSPORT_SUM) + sum(segment + <usize>header, payload);
  checksum += word(bytes - offset);
  if (load<u32>(state, Split.PROTOCOL) == PROTOCOL_UDP) {
    store<u16>(transport, bswap<u16>(<u16>(bytes - offset)), Udp.LENGTH);
    checksum += word(bytes - offset);
    const result = complement(checksum);
    store<u16>(transport, <u16>(result == 0 ? 0xffff : result), Udp.CHECKSUM);
  } else {
    store<u32>(transport, bswap<u32>(load<u32>(state, Split.SEQUENCE) + before), Tcp.SEQUENCE);
    store<u8>(transport, <u8>flagsOf(index, count, load<u32>(state, Split.TCP_FLAGS)), Tcp.FLAGS);
    // The flags share their 16-bit word with the data offset, which `Split.TRANSPORT_SUM` holds.
    checksum += <u64>load<u32>(transport, Tcp.SEQUENCE) + ((<u64>load<u8>(transport, Tcp.FLAGS)) << 8);
    store<u16>(transport, <u16>complement(checksum), Tcp.CHECKSUM);
  }
  store<u32>(state, bytes, Split.SEGMENT_BYTES);
  return segment;
}

/** FIN and PSH belong to the last segment, CWR to the first (PF-32). */
function flagsOf(index: u32, count: u32, flags: u32): u32 {
  if (index + 1 != count) flags &= ~(Tcp.FIN | Tcp.PSH);
  if (index != 0) flags &= ~Tcp.CWR;
  return flags;
}
