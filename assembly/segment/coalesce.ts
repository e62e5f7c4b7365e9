/**
 * Joining decrypted packets of one flow into super-frames for the TUN device (PF-56 to PF-58, PF-62).
 *
 * One frame is under construction at a time. With its length E and its headers' length H, the next
 * datagram is opened straight to E - H, so that its payload lands where it belongs:
 *
 *     [vnet][IP TCP][payload 0][payload 1]            E = end of payload 1
 *                            [IP TCP][payload 2]      opened at E - H, over bytes that were saved
 *     [vnet][IP TCP][payload 0][payload 1][payload 2] saved bytes put back: the frame has grown
 *
 * If it does not continue the flow it is moved behind the frame, the saved bytes are put back, and the
 * frame is finished. Every packet leaves in the order in which it came; flows that interleave merely
 * end each other's frames. Nothing is merged that could not be told apart from a resent TSO frame: the
 * kernel at the other side of the TUN device gets back exactly the packets that came in, except for
 * the fields named at `continues`.
 *
 * **The arena** is two halves. Finished frames and fresh ones are placed in one of them; when a batch
 * begins and the frame under construction lies in it, fresh frames go to the beginning of the other.
 * So a frame survives batches without being moved, and bulk traffic touches twice 64 KiB only.
 *
 * Driven like this, per batch: `coalesceBegin`, then for each datagram `coalesceTarget`, open,
 * validate, and `coalesceAccept` or `coalesceDiscard`; then write the listed frames, in order. When
 * the socket has nothing more to read: `coalesceClose`, write, and begin anew.
 *
 * No system call, no allocation; the twin is `test/twin/plane/coalesce.ts`.
 */

import { Ip4, Ip6, Tcp, Udp } from "../header";
import {
  COALESCE_LIST_MAX,
  COALESCE_TCP,
  COALESCE_UDP,
  Coalesce,
  PACKET_FLAG_FRAGMENT,
  Packet,
  VNET_HEADER_BYTES,
} from "../layout";
import { complement, fold, pseudoSum, sum } from "../packet/checksum";
import { be16, PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ip";
import {
  GSO_TCP4,
  GSO_TCP6,
  GSO_UDP,
  IP_BYTES_MAX,
  VNET_CSUM_OFFSET,
  VNET_CSUM_START,
  VNET_DATA_VALID,
  VNET_FLAGS,
  VNET_GSO_SIZE,
  VNET_GSO_TYPE,
  VNET_HDR_LEN,
  VNET_NEEDS_CSUM,
} from "./vnet";

/** The portable limit of UDP segmentation (PF-38), and plenty for TCP: 64 KiB are 47 packets. */
const SEGMENTS_MAX: u32 = 64;
/** Bytes saved at a speculative target; the longest headers are 40 + 60. */
const SAVED_BYTES: u32 = 128;
/** The flag DF in the first byte of IPv4's fragment field. */
const DONT_FRAGMENT: u8 = 0x40;
/** A datagram may finish two frames, and `coalesceClose` a third. */
const LIST_RESERVE: u32 = 3;

/**
 * Prepares the record `coalesce` at `state`.
 * @param arena 64-byte aligned; it belongs to the record from here on
 * @param arenaBytes at least 2 × 128 KiB; 2 × 256 KiB never runs full within one receive
 * @param features `COALESCE_TCP | COALESCE_UDP`, or 0: every packet is a frame of its own. UDP needs
 *   a TUN device that takes USO frames
 */
export function coalesceInit(state: usize, arena: usize, arenaBytes: u32, features: u32): void {
  store<usize>(state, arena, Coalesce.ARENA);
  store<u32>(state, arenaBytes >> 1, Coalesce.HALF_BYTES);
  store<u32>(state, features, Coalesce.FEATURES);
  store<usize>(state, 0, Coalesce.FRAME);
  store<usize>(state, 0, Coalesce.TARGET);
  coalesceBegin(state);
}

/**
 * Begins a batch: forgets the listed frames, which have been written, and reuses their room.
 * The frame under construction stays.
 */
export function coalesceBegin(state: usize): void {
  const arena = load<usize>(state, Coalesce.ARENA);
  const half = <usize>load<u32>(state, Coalesce.HALF_BYTES);
  const frame = load<usize>(state, Coalesce.FRAME);
  const home = frame != 0 && frame < arena + half ? arena + half : arena;
  store<usize>(state, home, Coalesce.HOME);
  store<usize>(state, home, Coalesce.FREE);
  store<u32>(state, 0, Coalesce.COUNT);
}

/**
 * Where to open a datagram with `plainBytes` bytes of plaintext (at most 65,535, padding included).
 *
 * The caller writes exactly `[target, target + plainBytes)` and then calls `coalesceAccept` or
 * `coalesceDiscard`, and nothing else in between.
 * @returns 0 if arena or list are full: write the listed frames, `coalesceBegin`, ask again (which
 *   then succeeds)
 */
export function coalesceTarget(state: usize, plainBytes: u32): usize {
  if (load<u32>(state, Coalesce.COUNT) + LIST_RESERVE > COALESCE_LIST_MAX) return 0;
  const fresh = freshFrame(state) + <usize>VNET_HEADER_BYTES;
  const homeEnd = load<usize>(state, Coalesce.HOME) + <usize>load<u32>(state, Coalesce.HALF_BYTES);
  if (fresh + <usize>plainBytes > homeEnd) return 0;
  const isSpeculative = mayContinue(state, plainBytes);
  let target = fresh;
  if (isSpeculative) {
    target = load<usize>(state, Coalesce.END) - <usize>load<u32>(state, Coalesce.HEADER_BYTES);
    copy128(state + Coalesce.SAVED, target);
  }
  store<u32>(state, <u32>isSpeculative, Coalesce.IS_SPECULATIVE);
  store<usize>(state, target, Coalesce.TARGET);
  return target;
}

/**
 * Takes the packet at the target, which is authentic, permitted and described at `found`.
 *
 * It continues the frame under construction, or finishes it and becomes the next one; a packet that
 * cannot be part of a super-frame is listed at once, unmodified.
 * @returns the number of listed frames
 */
export function coalesceAccept(state: usize, found: usize): u32 {
  const target = load<usize>(state, Coalesce.TARGET);
  const isSpeculative = load<u32>(state, Coalesce.IS_SPECULATIVE) != 0;
  let packet = target;
  store<usize>(state, 0, Coalesce.TARGET);
  if (load<usize>(state, Coalesce.FRAME) != 0) {
    if (continues(state, target, found)) {
      grow(state, target, isSpeculative, found);
      return load<u32>(state, Coalesce.COUNT);
    }
    if (isSpeculative) {
      packet = freshFrame(state) + <usize>VNET_HEADER_BYTES;
      memory.copy(packet, target, <usize>load<u32>(found, Packet.TOTAL_BYTES));
      restore(state, target);
    }
    finish(state);
  }
  start(state, packet - <usize>VNET_HEADER_BYTES, found);
  return load<u32>(state, Coalesce.COUNT);
}

/** Gives the target back: the datagram was forged, empty, refused or handed to control. */
export function coalesceDiscard(state: usize): void {
  const target = load<usize>(state, Coalesce.TARGET);
  if (target == 0) return;
  if (load<u32>(state, Coalesce.IS_SPECULATIVE) != 0) restore(state, target);
  store<usize>(state, 0, Coalesce.TARGET);
}

/**
 * Finishes the frame under construction, if there is one: nothing more is coming (PF-58).
 * @returns the number of listed frames
 */
export function coalesceClose(state: usize): u32 {
  if (load<usize>(state, Coalesce.FRAME) != 0) finish(state);
  return load<u32>(state, Coalesce.COUNT);
}

/** Where a fresh frame begins in the home half: its packet is aligned to 16 bytes. */
function freshFrame(state: usize): usize {
  const free = isHome(state, load<usize>(state, Coalesce.FRAME))
    ? load<usize>(state, Coalesce.END)
    : load<usize>(state, Coalesce.FREE);
  return ((free + <usize>VNET_HEADER_BYTES + 15) & ~15) - <usize>VNET_HEADER_BYTES;
}

function isHome(state: usize, frame: usize): bool {
  const home = load<usize>(state, Coalesce.HOME);
  return frame >= home && frame < home + <usize>load<u32>(state, Coalesce.HALF_BYTES);
}

/** The end of the half in which the frame under construction lies. */
function roomEnd(state: usize): usize {
  const middle = load<usize>(state, Coalesce.ARENA) + <usize>load<u32>(state, Coalesce.HALF_BYTES);
  if (load<usize>(state, Coalesce.FRAME) < middle) return middle;
  return middle + <usize>load<u32>(state, Coalesce.HALF_BYTES);
}

/**
 * Whether a datagram may be opened over the frame's end, by its length alone.
 *
 * The frame's own headers must lie outside the bytes that are overwritten: `continues` compares with
 * them. Frames of very short packets grow by copying instead.
 */
function mayContinue(state: usize, plainBytes: u32): bool {
  const frame = load<usize>(state, Coalesce.FRAME);
  if (frame == 0) return false;
  const header = load<u32>(state, Coalesce.HEADER_BYTES);
  const end = load<usize>(state, Coalesce.END);
  const length = <u32>(end - frame) - VNET_HEADER_BYTES;
  if (plainBytes <= header || length < header << 1) return false;
  if (length + plainBytes - header > IP_BYTES_MAX) return false;
  return end - <usize>header + <usize>max<u32>(plainBytes, SAVED_BYTES) <= roomEnd(state);
}

/** Puts the frame's last bytes back over the headers that were opened there. */
function restore(state: usize, target: usize): void {
  // Headers are 28 bytes at least: whole vectors, and one that overlaps them at the end.
  const last = <usize>load<u32>(state, Coalesce.HEADER_BYTES) - 16;
  const saved = state + Coalesce.SAVED;
  for (let i: usize = 0; i < last; i += 16) v128.store(target + i, v128.load(saved + i));
  v128.store(target + last, v128.load(saved + last));
}

function copy128(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
  v128.store(to, v128.load(from, 64), 64);
  v128.store(to, v128.load(from, 80), 80);
  v128.store(to, v128.load(from, 96), 96);
  v128.store(to, v128.load(from, 112), 112);
}

/** Makes the packet described at `found` the frame under construction, or lists it if it stays alone. */
function start(state: usize, frame: usize, found: usize): void {
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const total = load<u32>(found, Packet.TOTAL_BYTES);
  const header = leadingHeader(state, packet, found);
  store<u64>(frame, 0);
  store<u16>(frame, 0, VNET_CSUM_OFFSET);
  store<usize>(state, frame, Coalesce.FRAME);
  store<usize>(state, packet + <usize>total, Coalesce.END);
  store<u32>(state, 1, Coalesce.SEGMENTS);
  store<u32>(state, header, Coalesce.HEADER_BYTES);
  if (header == 0) {
    finish(state);
    return;
  }
  const offset = load<u32>(found, Packet.TRANSPORT_OFFSET);
  const payload = total - header;
  store<u32>(state, offset, Coalesce.IP_HEADER_BYTES);
  store<u32>(state, payload, Coalesce.PAYLOAD_BYTES);
  store<u32>(state, bswap<u32>(load<u32>(packet + <usize>offset, 4)) + payload, Coalesce.SEQUENCE);
  store<u32>(state, (be16(packet + Ip4.IDENTIFICATION) + 1) & 0xffff, Coalesce.IDENTIFICATION);
}

/** The length of the headers if a super-frame may begin with this packet, else 0. */
function leadingHeader(state: usize, packet: usize, found: usize): u32 {
  const protocol = load<u32>(found, Packet.PROTOCOL);
  const feature = protocol == PROTOCOL_TCP ? COALESCE_TCP : protocol == PROTOCOL_UDP ? COALESCE_UDP : 0;
  if ((load<u32>(state, Coalesce.FEATURES) & feature) == 0) return 0;
  const offset = load<u32>(found, Packet.TRANSPORT_OFFSET);
  // Options and extension headers stay alone, and fragments are never touched (TN-4).
  if (offset != (load<u32>(found, Packet.FAMILY) == 6 ? Ip6.BYTES : Ip4.BYTES)) return 0;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return 0;
  const transport = packet + <usize>offset;
  // PSH ends a super-frame, so nothing follows a packet that has it.
  if (protocol == PROTOCOL_TCP && <u32>load<u8>(transport, Tcp.FLAGS) != Tcp.ACK) return 0;
  const header = offset + transportHeader(transport, found);
  if (header == offset || load<u32>(found, Packet.TOTAL_BYTES) <= header) return 0;
  return areChecksumsRight(packet, found) ? header : 0;
}

/** The length of the TCP or UDP header; 0 for a UDP datagram without checksum or with a trailer. */
function transportHeader(transport: usize, found: usize): u32 {
  if (load<u32>(found, Packet.PROTOCOL) == PROTOCOL_TCP)
    return (<u32>load<u8>(transport, Tcp.DATA_OFFSET) >> 4) << 2;
  if (be16(transport + Udp.LENGTH) != load<u32>(found, Packet.TRANSPORT_BYTES)) return 0;
  return load<u16>(transport, Udp.CHECKSUM) == 0 ? 0 : Udp.BYTES;
}

/**
 * Whether the checksums of IPv4 header and transport are right (PF-62). Expects no IP options.
 *
 * A super-frame's checksums are made anew, which must not bless what was corrupted on its way.
 */
function areChecksumsRight(packet: usize, found: usize): bool {
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  const offset = load<u32>(found, Packet.TRANSPORT_OFFSET);
  if (!isV6 && !isHeaderRight4(packet)) return false;
  const bytes = load<u32>(found, Packet.TRANSPORT_BYTES);
  const pseudo = pseudoSum(packet, isV6, load<u32>(found, Packet.PROTOCOL), bytes);
  return fold(pseudo + sum(packet + <usize>offset, bytes)) == 0xffff;
}

/** Of an IPv4 header without options: five words. */
function isHeaderRight4(packet: usize): bool {
  const first = <u64>load<u32>(packet) + <u64>load<u32>(packet, 4) + <u64>load<u32>(packet, 8);
  return fold(first + <u64>load<u32>(packet, Ip4.SOURCE) + <u64>load<u32>(packet, Ip4.DESTINATION)) == 0xffff;
}

/**
 * Whether the packet at `next` continues the frame under construction (PF-57).
 *
 * Everything must agree but what splitting makes anew (lengths, checksums, sequence numbers, and the
 * identification, which must count up unless DF makes it meaningless, RFC 6864) and the TCP window,
 * whose first value is kept, as the kernel does.
 */
function continues(state: usize, next: usize, found: usize): bool {
  const header = load<u32>(state, Coalesce.HEADER_BYTES);
  const offset = load<u32>(state, Coalesce.IP_HEADER_BYTES);
  const total = load<u32>(found, Packet.TOTAL_BYTES);
  const frame = load<usize>(state, Coalesce.FRAME);
  const end = load<usize>(state, Coalesce.END);
  if (load<u32>(found, Packet.TRANSPORT_OFFSET) != offset || total <= header) return false;
  if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  const payload = total - header;
  if (payload > load<u32>(state, Coalesce.PAYLOAD_BYTES)) return false;
  if (<u32>(end - frame) - VNET_HEADER_BYTES + payload > IP_BYTES_MAX) return false;
  if (end + <usize>payload > roomEnd(state)) return false;
  const first = frame + <usize>VNET_HEADER_BYTES;
  if (!(offset == Ip6.BYTES ? isSameFlow6(first, next) : isSameFlow4(state, first, next))) return false;
  const isNext =
    load<u32>(found, Packet.PROTOCOL) == PROTOCOL_UDP
      ? isSameFlowUdp(first + <usize>offset, next + <usize>offset, found)
      : isNextTcp(state, first + <usize>offset, next + <usize>offset, header - offset);
  return isNext && areChecksumsRight(next, found);
}

/** Version, IHL, TOS; flags, TTL, protocol; addresses. */
function isSameFlow4(state: usize, first: usize, next: usize): bool {
  if (load<u16>(first) != load<u16>(next) || load<u32>(first, Ip4.FRAGMENT) != load<u32>(next, Ip4.FRAGMENT))
    return false;
  if (load<u64>(first, Ip4.SOURCE) != load<u64>(next, Ip4.SOURCE)) return false;
  return (
    (load<u8>(next, Ip4.FRAGMENT) & DONT_FRAGMENT) != 0 ||
    be16(next + Ip4.IDENTIFICATION) == load<u32>(state, Coalesce.IDENTIFICATION)
  );
}

/** Version, traffic class, flow label; next header, hop limit; addresses. */
function isSameFlow6(first: usize, next: usize): bool {
  if (
    load<u32>(first) != load<u32>(next) ||
    load<u16>(first, Ip6.NEXT_HEADER) != load<u16>(next, Ip6.NEXT_HEADER)
  )
    return false;
  const source = v128.xor(v128.load(first, Ip6.SOURCE), v128.load(next, Ip6.SOURCE));
  const destination = v128.xor(v128.load(first, Ip6.DESTINATION), v128.load(next, Ip6.DESTINATION));
  return !v128.any_true(v128.or(source, destination));
}

function isSameFlowUdp(first: usize, next: usize, found: usize): bool {
  return load<u32>(first) == load<u32>(next) && transportHeader(next, found) != 0;
}

/** Ports, acknowledgment, data offset and options agree, the sequence number follows, ACK or ACK PSH. */
function isNextTcp(state: usize, first: usize, next: usize, header: u32): bool {
  if (
    load<u32>(first) != load<u32>(next) ||
    load<u32>(first, Tcp.ACKNOWLEDGMENT) != load<u32>(next, Tcp.ACKNOWLEDGMENT)
  )
    return false;
  if (bswap<u32>(load<u32>(next, Tcp.SEQUENCE)) != load<u32>(state, Coalesce.SEQUENCE)) return false;
  if (load<u8>(first, Tcp.DATA_OFFSET) != load<u8>(next, Tcp.DATA_OFFSET)) return false;
  if ((<u32>load<u8>(next, Tcp.FLAGS) & ~Tcp.PSH) != Tcp.ACK) return false;
  for (let i: usize = Tcp.BYTES; i < <usize>header; i += 4) {
    if (load<u32>(first + i) != load<u32>(next + i)) return false;
  }
  return true;
}

/** Appends the payload of the packet at `next`, which `continues`; finishes a frame that is full or ended. */
function grow(state: usize, next: usize, isSpeculative: bool, found: usize): void {
  const header = load<u32>(state, Coalesce.HEADER_BYTES);
  const offset = load<u32>(state, Coalesce.IP_HEADER_BYTES);
  const end = load<usize>(state, Coalesce.END);
  const payload = load<u32>(found, Packet.TOTAL_BYTES) - header;
  const segments = load<u32>(state, Coalesce.SEGMENTS) + 1;
  let isEnded = payload < load<u32>(state, Coalesce.PAYLOAD_BYTES) || segments == SEGMENTS_MAX;
  if (load<u32>(found, Packet.PROTOCOL) == PROTOCOL_TCP) {
    const push = load<u8>(next + <usize>offset, Tcp.FLAGS) & <u8>Tcp.PSH;
    if (push != 0) {
      const first = load<usize>(state, Coalesce.FRAME) + <usize>VNET_HEADER_BYTES + <usize>offset;
      store<u8>(first, load<u8>(first, Tcp.FLAGS) | push, Tcp.FLAGS);
      isEnded = true;
    }
  }
  if (isSpeculative) restore(state, next);
  else memory.copy(end, next + <usize>header, <usize>payload);
  store<usize>(state, end + <usize>payload, Coalesce.END);
  store<u32>(state, segments, Coalesce.SEGMENTS);
  store<u32>(state, load<u32>(state, Coalesce.SEQUENCE) + payload, Coalesce.SEQUENCE);
  store<u32>(state, (load<u32>(state, Coalesce.IDENTIFICATION) + 1) & 0xffff, Coalesce.IDENTIFICATION);
  if (isEnded) finish(state);
}

/** Completes the frame under construction and lists it. */
function finish(state: usize): void {
  const frame = load<usize>(state, Coalesce.FRAME);
  const end = load<usize>(state, Coalesce.END);
  const segments = load<u32>(state, Coalesce.SEGMENTS);
  if (segments > 1) writeHeaders(state, frame, <u32>(end - frame) - VNET_HEADER_BYTES);
  else if (load<u32>(state, Coalesce.HEADER_BYTES) != 0) store<u8>(frame, VNET_DATA_VALID, VNET_FLAGS);
  const count = load<u32>(state, Coalesce.COUNT);
  const entry = state + ((<usize>count) << 2);
  store<usize>(entry, frame, Coalesce.LIST_ADDRESS);
  store<u32>(entry, <u32>(end - frame), Coalesce.LIST_BYTES);
  store<u32>(entry, segments, Coalesce.LIST_SEGMENTS);
  store<u32>(state, count + 1, Coalesce.COUNT);
  if (isHome(state, frame)) store<usize>(state, end, Coalesce.FREE);
  store<usize>(state, 0, Coalesce.FRAME);
}

/** Headers of a super-frame of `bytes` bytes, and the virtio header that describes it (PF-33). */
function writeHeaders(state: usize, frame: usize, bytes: u32): void {
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const offset = load<u32>(state, Coalesce.IP_HEADER_BYTES);
  const header = load<u32>(state, Coalesce.HEADER_BYTES);
  const isV6 = offset == Ip6.BYTES;
  const isUdp = <u32>load<u8>(packet + (isV6 ? Ip6.NEXT_HEADER : Ip4.PROTOCOL)) == PROTOCOL_UDP;
  if (isV6) {
    store<u16>(packet, bswap<u16>(<u16>(bytes - Ip6.BYTES)), Ip6.PAYLOAD_BYTES);
  } else {
    store<u16>(packet, bswap<u16>(<u16>bytes), Ip4.TOTAL_BYTES);
    store<u16>(packet, 0, Ip4.CHECKSUM);
    store<u16>(packet, <u16>complement(sum(packet, offset)), Ip4.CHECKSUM);
  }
  const transport = packet + <usize>offset;
  const length = bytes - offset;
  const checksumOffset = isUdp ? <u32>Udp.CHECKSUM : <u32>Tcp.CHECKSUM;
  if (isUdp) store<u16>(transport, bswap<u16>(<u16>length), Udp.LENGTH);
  // The kernel adds the sum over the segment and complements: the field holds the pseudo-header's.
  const partial = fold(pseudoSum(packet, isV6, isUdp ? PROTOCOL_UDP : PROTOCOL_TCP, length));
  store<u16>(transport + <usize>checksumOffset, <u16>partial);
  store<u8>(frame, VNET_NEEDS_CSUM, VNET_FLAGS);
  store<u8>(frame, <u8>(isUdp ? GSO_UDP : isV6 ? GSO_TCP6 : GSO_TCP4), VNET_GSO_TYPE);
  store<u16>(frame, <u16>header, VNET_HDR_LEN);
  store<u16>(frame, <u16>load<u32>(state, Coalesce.PAYLOAD_BYTES), VNET_GSO_SIZE);
  store<u16>(frame, <u16>offset, VNET_CSUM_START);
  store<u16>(frame, <u16>checksumOffset, VNET_CSUM_OFFSET);
}
