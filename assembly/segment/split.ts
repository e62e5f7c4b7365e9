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
import {
  DROP_IP_TOO_BIG,
  DROP_TUN_GSO_TYPE,
  DROP_TUN_HEADER,
  PACKET_FAMILY,
  PACKET_FLAG_FRAGMENT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_TRANSPORT_OFFSET,
  SPLIT_COUNT,
  SPLIT_FAMILY,
  SPLIT_GSO_BYTES,
  SPLIT_HEADER,
  SPLIT_HEADER_BYTES,
  SPLIT_HEADER_CAPACITY,
  SPLIT_IDENTIFICATION,
  SPLIT_INDEX,
  SPLIT_IP_SUM,
  SPLIT_PACKET,
  SPLIT_PROTOCOL,
  SPLIT_SEGMENT_BYTES,
  SPLIT_SEQUENCE,
  SPLIT_TCP_FLAGS,
  SPLIT_TOTAL_BYTES,
  SPLIT_TRANSPORT_OFFSET,
  SPLIT_TRANSPORT_SUM,
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
  TCP_CHECKSUM_OFFSET,
  TCP_CWR,
  TCP_FIN,
  TCP_PSH,
  UDP_CHECKSUM_OFFSET,
  UDP_HEADER_BYTES,
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
 * Validates the packet (TN-3), describes it at `d` for the one judgement of all its segments, checks
 * that the virtio header does not contradict it, and completes the checksum of a single packet. Every
 * segment is bounded by `limit`: a frame whose segments exceed it is refused as a whole.
 * Expects 16 writable bytes behind the frame (for the caller's padding) and none before it.
 * @param limit largest IP packet in bytes, as for `validate`; so is `isStrict`
 * @param state record `split` of the layout; it is valid until the next `splitBegin`
 * @returns the number of segments, at least 1, or `-DROP_…`
 */
export function splitBegin(
  frame: usize,
  bytes: u32,
  limit: u32,
  isStrict: bool,
  d: usize,
  state: usize,
): i32 {
  // A refused frame has no segments, whoever asks.
  store<u32>(state, 0, SPLIT_COUNT);
  store<u32>(state, 0, SPLIT_INDEX);
  if (bytes < VNET_HEADER_BYTES || bytes - VNET_HEADER_BYTES > IP_BYTES_MAX) return -DROP_TUN_HEADER;
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const isSingle = load<u8>(frame, VNET_GSO_TYPE) == GSO_NONE;
  const total = validate(packet, bytes - VNET_HEADER_BYTES, isSingle ? limit : IP_BYTES_MAX, isStrict, d);
  if (total < 0) return total;
  store<usize>(state, packet, SPLIT_PACKET);
  store<u32>(state, <u32>total, SPLIT_TOTAL_BYTES);
  if (isSingle) return beginSingle(frame, packet, <u32>total, d, state);
  return beginSuper(frame, packet, <u32>total, limit, d, state);
}

/**
 * The address of the next segment, a complete IP packet; its length is in `SPLIT_SEGMENT_BYTES`.
 *
 * The caller is done with the previous segment: its tail is overwritten. Nothing behind the segment's
 * last byte may have changed since `splitBegin`.
 * @returns 0 after the last segment
 */
export function splitNext(state: usize): usize {
  const index = load<u32>(state, SPLIT_INDEX);
  const count = load<u32>(state, SPLIT_COUNT);
  if (index == count) return 0;
  store<u32>(state, index + 1, SPLIT_INDEX);
  const packet = load<usize>(state, SPLIT_PACKET);
  const total = load<u32>(state, SPLIT_TOTAL_BYTES);
  if (load<u32>(state, SPLIT_HEADER_BYTES) == 0) {
    store<u32>(state, total, SPLIT_SEGMENT_BYTES);
    return packet;
  }
  return stamp(packet, total, index, count, state);
}

/** A packet without segmentation: completes its checksum if the kernel left that to us (PF-32). */
function beginSingle(frame: usize, packet: usize, total: u32, d: usize, state: usize): i32 {
  store<u32>(state, 0, SPLIT_HEADER_BYTES);
  if ((load<u8>(frame, VNET_FLAGS) & VNET_NEEDS_CSUM) != 0) {
    const reason = completeChecksum(frame, packet, total, d);
    if (reason != 0) return -reason;
  }
  store<u32>(state, 1, SPLIT_COUNT);
  return 1;
}

/** Turns the pseudo-header's sum in the checksum field into the checksum; returns 0 or a reason. */
function completeChecksum(frame: usize, packet: usize, total: u32, d: usize): u32 {
  const start = <u32>load<u16>(frame, VNET_CSUM_START);
  const offset = <u32>load<u16>(frame, VNET_CSUM_OFFSET);
  if (start < load<u32>(d, PACKET_TRANSPORT_OFFSET) || start + offset + 2 > total) return DROP_TUN_HEADER;
  // The field holds the sum of the pseudo-header, so summing over it adds that. A result of zero is
  // stored as 0xffff for every protocol, as the kernel itself does: to UDP zero means "none", to the
  // others both are the same number.
  const checksum = complement(sum(packet + <usize>start, total - start));
  store<u16>(packet + <usize>(start + offset), <u16>(checksum == 0 ? 0xffff : checksum));
  return 0;
}

/** A super-frame: checks that header and packet agree, and keeps what all segments have in common. */
function beginSuper(frame: usize, packet: usize, total: u32, limit: u32, d: usize, state: usize): i32 {
  const family = load<u32>(d, PACKET_FAMILY);
  const protocol = load<u32>(d, PACKET_PROTOCOL);
  const kind = <u32>load<u8>(frame, VNET_GSO_TYPE) & ~GSO_ECN;
  if (kind != GSO_TCP4 && kind != GSO_TCP6 && kind != GSO_UDP) return -DROP_TUN_GSO_TYPE;
  if ((load<u32>(d, PACKET_FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return -DROP_TUN_HEADER;
  if (protocol != (kind == GSO_UDP ? PROTOCOL_UDP : PROTOCOL_TCP)) return -DROP_TUN_HEADER;
  if ((kind == GSO_TCP4 && family != 4) || (kind == GSO_TCP6 && family != 6)) return -DROP_TUN_HEADER;
  const offset = load<u32>(d, PACKET_TRANSPORT_OFFSET);
  if ((load<u8>(frame, VNET_FLAGS) & VNET_NEEDS_CSUM) != 0) {
    const field = protocol == PROTOCOL_UDP ? UDP_CHECKSUM_OFFSET : TCP_CHECKSUM_OFFSET;
    if (<u32>load<u16>(frame, VNET_CSUM_START) != offset) return -DROP_TUN_HEADER;
    if (<u32>load<u16>(frame, VNET_CSUM_OFFSET) != field) return -DROP_TUN_HEADER;
  }
  // The header length of the virtio header is only a hint and often wrong (PF-32).
  const transport = packet + <usize>offset;
  const header =
    offset + (protocol == PROTOCOL_UDP ? UDP_HEADER_BYTES : (<u32>load<u8>(transport, 12) >> 4) << 2);
  const gso = <u32>load<u16>(frame, VNET_GSO_SIZE);
  if (gso == 0 || header > SPLIT_HEADER_CAPACITY) return -DROP_TUN_HEADER;
  const payload = total - header;
  if (header + min<u32>(gso, payload) > limit) return -DROP_IP_TOO_BIG;
  const count = payload == 0 ? 1 : (payload + gso - 1) / gso;
  store<u32>(state, count, SPLIT_COUNT);
  store<u32>(state, gso, SPLIT_GSO_BYTES);
  store<u32>(state, header, SPLIT_HEADER_BYTES);
  store<u32>(state, offset, SPLIT_TRANSPORT_OFFSET);
  store<u32>(state, family, SPLIT_FAMILY);
  store<u32>(state, protocol, SPLIT_PROTOCOL);
  keepHeader(packet, header, state);
  return <i32>count;
}

/** Copies the headers to the state with every varying field zero, and sums what is left. */
function keepHeader(packet: usize, header: u32, state: usize): void {
  const copy = state + SPLIT_HEADER;
  const offset = load<u32>(state, SPLIT_TRANSPORT_OFFSET);
  const isV6 = load<u32>(state, SPLIT_FAMILY) == 6;
  const protocol = load<u32>(state, SPLIT_PROTOCOL);
  memory.copy(copy, packet, <usize>header);
  if (isV6) {
    store<u16>(copy, 0, 4);
  } else {
    store<u32>(state, <u32>bswap<u16>(load<u16>(copy, 4)), SPLIT_IDENTIFICATION);
    store<u32>(copy, 0, 2);
    store<u16>(copy, 0, 10);
    store<u64>(state, sum(copy, offset), SPLIT_IP_SUM);
  }
  const transport = copy + <usize>offset;
  if (protocol == PROTOCOL_UDP) {
    store<u32>(transport, 0, 4);
  } else {
    store<u32>(state, bswap<u32>(load<u32>(transport, 4)), SPLIT_SEQUENCE);
    store<u32>(state, <u32>load<u8>(transport, 13), SPLIT_TCP_FLAGS);
    store<u32>(transport, 0, 4);
    store<u8>(transport, 0, 13);
    store<u16>(transport, 0, 16);
  }
  const fixed = sum(transport, header - offset) + pseudoSum(copy, isV6, protocol, 0);
  store<u64>(state, fixed, SPLIT_TRANSPORT_SUM);
}

/** Writes the headers of segment `index` in front of its payload; returns where the packet begins. */
function stamp(packet: usize, total: u32, index: u32, count: u32, state: usize): usize {
  const header = load<u32>(state, SPLIT_HEADER_BYTES);
  const gso = load<u32>(state, SPLIT_GSO_BYTES);
  const before = index * gso;
  const payload = min<u32>(gso, total - header - before);
  const segment = packet + <usize>before;
  const bytes = header + payload;
  memory.copy(segment, state + SPLIT_HEADER, <usize>header);
  if (load<u32>(state, SPLIT_FAMILY) == 6) {
    store<u16>(segment, bswap<u16>(<u16>(bytes - 40)), 4);
  } else {
    store<u16>(segment, bswap<u16>(<u16>bytes), 2);
    store<u16>(segment, bswap<u16>(<u16>(load<u32>(state, SPLIT_IDENTIFICATION) + index)), 4);
    const varying = <u64>load<u32>(segment, 2 as usize);
    store<u16>(segment, <u16>complement(load<u64>(state, SPLIT_IP_SUM) + varying), 10);
  }
  const offset = load<u32>(state, SPLIT_TRANSPORT_OFFSET);
  const transport = segment + <usize>offset;
  let checksum = load<u64>(state, SPLIT_TRANSPORT_SUM) + sum(segment + <usize>header, payload);
  checksum += word(bytes - offset);
  if (load<u32>(state, SPLIT_PROTOCOL) == PROTOCOL_UDP) {
    store<u16>(transport, bswap<u16>(<u16>(bytes - offset)), 4);
    checksum += word(bytes - offset);
    const result = complement(checksum);
    store<u16>(transport, <u16>(result == 0 ? 0xffff : result), UDP_CHECKSUM_OFFSET);
  } else {
    store<u32>(transport, bswap<u32>(load<u32>(state, SPLIT_SEQUENCE) + before), 4);
    store<u8>(transport, <u8>flagsOf(index, count, load<u32>(state, SPLIT_TCP_FLAGS)), 13);
    // The flags share their 16-bit word with the data offset, which `SPLIT_TRANSPORT_SUM` holds.
    checksum += <u64>load<u32>(transport, 4) + ((<u64>load<u8>(transport, 13)) << 8);
    store<u16>(transport, <u16>complement(checksum), TCP_CHECKSUM_OFFSET);
  }
  store<u32>(state, bytes, SPLIT_SEGMENT_BYTES);
  return segment;
}

/** FIN and PSH belong to the last segment, CWR to the first (PF-32). */
function flagsOf(index: u32, count: u32, flags: u32): u32 {
  if (index + 1 != count) flags &= ~(TCP_FIN | TCP_PSH);
  if (index != 0) flags &= ~TCP_CWR;
  return flags;
}
