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
import {
  COALESCE_ARENA,
  COALESCE_COUNT,
  COALESCE_END,
  COALESCE_FEATURES,
  COALESCE_FRAME,
  COALESCE_FREE,
  COALESCE_HALF_BYTES,
  COALESCE_HEADER_BYTES,
  COALESCE_HOME,
  COALESCE_IDENTIFICATION,
  COALESCE_IP_HEADER_BYTES,
  COALESCE_IS_SPECULATIVE,
  COALESCE_LIST_ADDRESS,
  COALESCE_LIST_BYTES,
  COALESCE_LIST_MAX,
  COALESCE_LIST_SEGMENTS,
  COALESCE_PAYLOAD_BYTES,
  COALESCE_SAVED,
  COALESCE_SEGMENTS,
  COALESCE_SEQUENCE,
  COALESCE_TARGET,
  COALESCE_TCP,
  COALESCE_UDP,
  PACKET_FAMILY,
  PACKET_FLAG_FRAGMENT,
  PACKET_FLAGS,
  PACKET_PROTOCOL,
  PACKET_TOTAL_BYTES,
  PACKET_TRANSPORT_BYTES,
  PACKET_TRANSPORT_OFFSET,
  VNET_HEADER_BYTES,
} from "../layout";
import { complement, fold, pseudoSum, sum } from "../packet/checksum";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../packet/ip";
import {
  GSO_TCP4,
  GSO_TCP6,
  GSO_UDP,
  IP_BYTES_MAX,
  TCP_ACK,
  TCP_CHECKSUM_OFFSET,
  TCP_PSH,
  UDP_CHECKSUM_OFFSET,
  UDP_HEADER_BYTES,
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
/** A datagram may finish two frames, and `coalesceClose` a third. */
const LIST_RESERVE: u32 = 3;

/**
 * Prepares the record `coalesce` at `g`.
 * @param arena 64-byte aligned; it belongs to the record from here on
 * @param arenaBytes at least 2 × 128 KiB; 2 × 256 KiB never runs full within one receive
 * @param features `COALESCE_TCP | COALESCE_UDP`, or 0: every packet is a frame of its own. UDP needs
 *   a TUN device that takes USO frames
 */
export function coalesceInit(g: usize, arena: usize, arenaBytes: u32, features: u32): void {
  store<usize>(g, arena, COALESCE_ARENA);
  store<u32>(g, arenaBytes >> 1, COALESCE_HALF_BYTES);
  store<u32>(g, features, COALESCE_FEATURES);
  store<usize>(g, 0, COALESCE_FRAME);
  store<usize>(g, 0, COALESCE_TARGET);
  coalesceBegin(g);
}

/**
 * Begins a batch: forgets the listed frames, which have been written, and reuses their room.
 * The frame under construction stays.
 */
export function coalesceBegin(g: usize): void {
  const arena = load<usize>(g, COALESCE_ARENA);
  const half = <usize>load<u32>(g, COALESCE_HALF_BYTES);
  const frame = load<usize>(g, COALESCE_FRAME);
  const home = frame != 0 && frame < arena + half ? arena + half : arena;
  store<usize>(g, home, COALESCE_HOME);
  store<usize>(g, home, COALESCE_FREE);
  store<u32>(g, 0, COALESCE_COUNT);
}

/**
 * Where to open a datagram with `plainBytes` bytes of plaintext (at most 65,535, padding included).
 *
 * The caller writes exactly `[target, target + plainBytes)` and then calls `coalesceAccept` or
 * `coalesceDiscard`, and nothing else in between.
 * @returns 0 if arena or list are full: write the listed frames, `coalesceBegin`, ask again (which
 *   then succeeds)
 */
export function coalesceTarget(g: usize, plainBytes: u32): usize {
  if (load<u32>(g, COALESCE_COUNT) + LIST_RESERVE > COALESCE_LIST_MAX) return 0;
  const fresh = freshFrame(g) + <usize>VNET_HEADER_BYTES;
  const homeEnd = load<usize>(g, COALESCE_HOME) + <usize>load<u32>(g, COALESCE_HALF_BYTES);
  if (fresh + <usize>plainBytes > homeEnd) return 0;
  const isSpeculative = mayContinue(g, plainBytes);
  let target = fresh;
  if (isSpeculative) {
    target = load<usize>(g, COALESCE_END) - <usize>load<u32>(g, COALESCE_HEADER_BYTES);
    copy128(g + COALESCE_SAVED, target);
  }
  store<u32>(g, <u32>isSpeculative, COALESCE_IS_SPECULATIVE);
  store<usize>(g, target, COALESCE_TARGET);
  return target;
}

/**
 * Takes the packet at the target, which is authentic, permitted and described at `d`.
 *
 * It continues the frame under construction, or finishes it and becomes the next one; a packet that
 * cannot be part of a super-frame is listed at once, unmodified.
 * @returns the number of listed frames
 */
export function coalesceAccept(g: usize, d: usize): u32 {
  const target = load<usize>(g, COALESCE_TARGET);
  const isSpeculative = load<u32>(g, COALESCE_IS_SPECULATIVE) != 0;
  let packet = target;
  store<usize>(g, 0, COALESCE_TARGET);
  if (load<usize>(g, COALESCE_FRAME) != 0) {
    if (continues(g, target, d)) {
      grow(g, target, isSpeculative, d);
      return load<u32>(g, COALESCE_COUNT);
    }
    if (isSpeculative) {
      packet = freshFrame(g) + <usize>VNET_HEADER_BYTES;
      memory.copy(packet, target, <usize>load<u32>(d, PACKET_TOTAL_BYTES));
      restore(g, target);
    }
    finish(g);
  }
  start(g, packet - <usize>VNET_HEADER_BYTES, d);
  return load<u32>(g, COALESCE_COUNT);
}

/** Gives the target back: the datagram was forged, empty, refused or handed to control. */
export function coalesceDiscard(g: usize): void {
  const target = load<usize>(g, COALESCE_TARGET);
  if (target == 0) return;
  if (load<u32>(g, COALESCE_IS_SPECULATIVE) != 0) restore(g, target);
  store<usize>(g, 0, COALESCE_TARGET);
}

/**
 * Finishes the frame under construction, if there is one: nothing more is coming (PF-58).
 * @returns the number of listed frames
 */
export function coalesceClose(g: usize): u32 {
  if (load<usize>(g, COALESCE_FRAME) != 0) finish(g);
  return load<u32>(g, COALESCE_COUNT);
}

/** Where a fresh frame begins in the home half: its packet is aligned to 16 bytes. */
function freshFrame(g: usize): usize {
  const free = isHome(g, load<usize>(g, COALESCE_FRAME))
    ? load<usize>(g, COALESCE_END)
    : load<usize>(g, COALESCE_FREE);
  return ((free + <usize>VNET_HEADER_BYTES + 15) & ~15) - <usize>VNET_HEADER_BYTES;
}

function isHome(g: usize, frame: usize): bool {
  const home = load<usize>(g, COALESCE_HOME);
  return frame >= home && frame < home + <usize>load<u32>(g, COALESCE_HALF_BYTES);
}

/** The end of the half in which the frame under construction lies. */
function roomEnd(g: usize): usize {
  const middle = load<usize>(g, COALESCE_ARENA) + <usize>load<u32>(g, COALESCE_HALF_BYTES);
  if (load<usize>(g, COALESCE_FRAME) < middle) return middle;
  return middle + <usize>load<u32>(g, COALESCE_HALF_BYTES);
}

/**
 * Whether a datagram may be opened over the frame's end, by its length alone.
 *
 * The frame's own headers must lie outside the bytes that are overwritten: `continues` compares with
 * them. Frames of very short packets grow by copying instead.
 */
function mayContinue(g: usize, plainBytes: u32): bool {
  const frame = load<usize>(g, COALESCE_FRAME);
  if (frame == 0) return false;
  const header = load<u32>(g, COALESCE_HEADER_BYTES);
  const end = load<usize>(g, COALESCE_END);
  const length = <u32>(end - frame) - VNET_HEADER_BYTES;
  if (plainBytes <= header || length < header << 1) return false;
  if (length + plainBytes - header > IP_BYTES_MAX) return false;
  return end - <usize>header + <usize>max<u32>(plainBytes, SAVED_BYTES) <= roomEnd(g);
}

/** Puts the frame's last bytes back over the headers that were opened there. */
function restore(g: usize, target: usize): void {
  // Headers are 28 bytes at least: whole vectors, and one that overlaps them at the end.
  const last = <usize>load<u32>(g, COALESCE_HEADER_BYTES) - 16;
  const saved = g + COALESCE_SAVED;
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

/** Makes the packet described at `d` the frame under construction, or lists it if it stays alone. */
function start(g: usize, frame: usize, d: usize): void {
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const total = load<u32>(d, PACKET_TOTAL_BYTES);
  const header = leadingHeader(g, packet, d);
  store<u64>(frame, 0);
  store<u16>(frame, 0, 8);
  store<usize>(g, frame, COALESCE_FRAME);
  store<usize>(g, packet + <usize>total, COALESCE_END);
  store<u32>(g, 1, COALESCE_SEGMENTS);
  store<u32>(g, header, COALESCE_HEADER_BYTES);
  if (header == 0) {
    finish(g);
    return;
  }
  const offset = load<u32>(d, PACKET_TRANSPORT_OFFSET);
  const payload = total - header;
  store<u32>(g, offset, COALESCE_IP_HEADER_BYTES);
  store<u32>(g, payload, COALESCE_PAYLOAD_BYTES);
  store<u32>(g, bswap<u32>(load<u32>(packet + <usize>offset, 4)) + payload, COALESCE_SEQUENCE);
  store<u32>(g, (be16(packet + 4) + 1) & 0xffff, COALESCE_IDENTIFICATION);
}

/** The length of the headers if a super-frame may begin with this packet, else 0. */
function leadingHeader(g: usize, packet: usize, d: usize): u32 {
  const protocol = load<u32>(d, PACKET_PROTOCOL);
  const feature = protocol == PROTOCOL_TCP ? COALESCE_TCP : protocol == PROTOCOL_UDP ? COALESCE_UDP : 0;
  if ((load<u32>(g, COALESCE_FEATURES) & feature) == 0) return 0;
  const offset = load<u32>(d, PACKET_TRANSPORT_OFFSET);
  // Options and extension headers stay alone, and fragments are never touched (TN-4).
  if (offset != (load<u32>(d, PACKET_FAMILY) == 6 ? 40 : 20)) return 0;
  if ((load<u32>(d, PACKET_FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return 0;
  const transport = packet + <usize>offset;
  // PSH ends a super-frame, so nothing follows a packet that has it.
  if (protocol == PROTOCOL_TCP && <u32>load<u8>(transport, 13) != TCP_ACK) return 0;
  const header = offset + transportHeader(transport, d);
  if (header == offset || load<u32>(d, PACKET_TOTAL_BYTES) <= header) return 0;
  return areChecksumsRight(packet, d) ? header : 0;
}

/** The length of the TCP or UDP header; 0 for a UDP datagram without checksum or with a trailer. */
function transportHeader(transport: usize, d: usize): u32 {
  if (load<u32>(d, PACKET_PROTOCOL) == PROTOCOL_TCP) return (<u32>load<u8>(transport, 12) >> 4) << 2;
  if (be16(transport + 4) != load<u32>(d, PACKET_TRANSPORT_BYTES)) return 0;
  return load<u16>(transport, 6) == 0 ? 0 : UDP_HEADER_BYTES;
}

/**
 * Whether the checksums of IPv4 header and transport are right (PF-62).
 *
 * A super-frame's checksums are made anew, which must not bless what was corrupted on its way.
 */
function areChecksumsRight(packet: usize, d: usize): bool {
  const isV6 = load<u32>(d, PACKET_FAMILY) == 6;
  const offset = load<u32>(d, PACKET_TRANSPORT_OFFSET);
  if (!isV6 && fold(sum(packet, offset)) != 0xffff) return false;
  const bytes = load<u32>(d, PACKET_TRANSPORT_BYTES);
  const pseudo = pseudoSum(packet, isV6, load<u32>(d, PACKET_PROTOCOL), bytes);
  return fold(pseudo + sum(packet + <usize>offset, bytes)) == 0xffff;
}

/**
 * Whether the packet at `q` continues the frame under construction (PF-57).
 *
 * Everything must agree but what splitting makes anew (lengths, checksums, sequence numbers, and the
 * identification, which must count up unless DF makes it meaningless, RFC 6864) and the TCP window,
 * whose first value is kept, as the kernel does.
 */
function continues(g: usize, q: usize, d: usize): bool {
  const header = load<u32>(g, COALESCE_HEADER_BYTES);
  const offset = load<u32>(g, COALESCE_IP_HEADER_BYTES);
  const total = load<u32>(d, PACKET_TOTAL_BYTES);
  const frame = load<usize>(g, COALESCE_FRAME);
  const end = load<usize>(g, COALESCE_END);
  if (load<u32>(d, PACKET_TRANSPORT_OFFSET) != offset || total <= header) return false;
  if ((load<u32>(d, PACKET_FLAGS) & PACKET_FLAG_FRAGMENT) != 0) return false;
  const payload = total - header;
  if (payload > load<u32>(g, COALESCE_PAYLOAD_BYTES)) return false;
  if (<u32>(end - frame) - VNET_HEADER_BYTES + payload > IP_BYTES_MAX) return false;
  if (end + <usize>payload > roomEnd(g)) return false;
  const p = frame + <usize>VNET_HEADER_BYTES;
  if (!(offset == 40 ? isSameFlow6(p, q) : isSameFlow4(g, p, q))) return false;
  const isNext =
    load<u32>(d, PACKET_PROTOCOL) == PROTOCOL_UDP
      ? isSameFlowUdp(p + <usize>offset, q + <usize>offset, d)
      : isNextTcp(g, p + <usize>offset, q + <usize>offset, header - offset);
  return isNext && areChecksumsRight(q, d);
}

/** Version, IHL, TOS; flags, TTL, protocol; addresses. */
function isSameFlow4(g: usize, p: usize, q: usize): bool {
  if (load<u16>(p) != load<u16>(q) || load<u32>(p, 6) != load<u32>(q, 6)) return false;
  if (load<u64>(p, 12) != load<u64>(q, 12)) return false;
  return (load<u8>(q, 6) & 0x40) != 0 || be16(q + 4) == load<u32>(g, COALESCE_IDENTIFICATION);
}

/** Version, traffic class, flow label; next header, hop limit; addresses. */
function isSameFlow6(p: usize, q: usize): bool {
  if (load<u32>(p) != load<u32>(q) || load<u16>(p, 6) != load<u16>(q, 6)) return false;
  const source = v128.xor(v128.load(p, 8), v128.load(q, 8));
  const destination = v128.xor(v128.load(p, 24), v128.load(q, 24));
  return !v128.any_true(v128.or(source, destination));
}

function isSameFlowUdp(p: usize, q: usize, d: usize): bool {
  return load<u32>(p) == load<u32>(q) && transportHeader(q, d) != 0;
}

/** Ports, acknowledgment, data offset and options agree, the sequence number follows, ACK or ACK PSH. */
function isNextTcp(g: usize, p: usize, q: usize, header: u32): bool {
  if (load<u32>(p) != load<u32>(q) || load<u32>(p, 8) != load<u32>(q, 8)) return false;
  if (bswap<u32>(load<u32>(q, 4)) != load<u32>(g, COALESCE_SEQUENCE)) return false;
  if (load<u8>(p, 12) != load<u8>(q, 12)) return false;
  if ((<u32>load<u8>(q, 13) & ~TCP_PSH) != TCP_ACK) return false;
  for (let i: usize = 20; i < <usize>header; i += 4) {
    if (load<u32>(p + i) != load<u32>(q + i)) return false;
  }
  return true;
}

/** Appends the payload of the packet at `q`, which `continues`; finishes a frame that is full or ended. */
function grow(g: usize, q: usize, isSpeculative: bool, d: usize): void {
  const header = load<u32>(g, COALESCE_HEADER_BYTES);
  const offset = load<u32>(g, COALESCE_IP_HEADER_BYTES);
  const end = load<usize>(g, COALESCE_END);
  const payload = load<u32>(d, PACKET_TOTAL_BYTES) - header;
  const segments = load<u32>(g, COALESCE_SEGMENTS) + 1;
  let isEnded = payload < load<u32>(g, COALESCE_PAYLOAD_BYTES) || segments == SEGMENTS_MAX;
  if (load<u32>(d, PACKET_PROTOCOL) == PROTOCOL_TCP) {
    const push = load<u8>(q + <usize>offset, 13) & <u8>TCP_PSH;
    if (push != 0) {
      const first = load<usize>(g, COALESCE_FRAME) + <usize>VNET_HEADER_BYTES + <usize>offset;
      store<u8>(first, load<u8>(first, 13) | push, 13);
      isEnded = true;
    }
  }
  if (isSpeculative) restore(g, q);
  else memory.copy(end, q + <usize>header, <usize>payload);
  store<usize>(g, end + <usize>payload, COALESCE_END);
  store<u32>(g, segments, COALESCE_SEGMENTS);
  store<u32>(g, load<u32>(g, COALESCE_SEQUENCE) + payload, COALESCE_SEQUENCE);
  store<u32>(g, (load<u32>(g, COALESCE_IDENTIFICATION) + 1) & 0xffff, COALESCE_IDENTIFICATION);
  if (isEnded) finish(g);
}

/** Completes the frame under construction and lists it. */
function finish(g: usize): void {
  const frame = load<usize>(g, COALESCE_FRAME);
  const end = load<usize>(g, COALESCE_END);
  const segments = load<u32>(g, COALESCE_SEGMENTS);
  if (segments > 1) writeHeaders(g, frame, <u32>(end - frame) - VNET_HEADER_BYTES);
  else if (load<u32>(g, COALESCE_HEADER_BYTES) != 0) store<u8>(frame, VNET_DATA_VALID, VNET_FLAGS);
  const count = load<u32>(g, COALESCE_COUNT);
  const entry = g + ((<usize>count) << 2);
  store<usize>(entry, frame, COALESCE_LIST_ADDRESS);
  store<u32>(entry, <u32>(end - frame), COALESCE_LIST_BYTES);
  store<u32>(entry, segments, COALESCE_LIST_SEGMENTS);
  store<u32>(g, count + 1, COALESCE_COUNT);
  if (isHome(g, frame)) store<usize>(g, end, COALESCE_FREE);
  store<usize>(g, 0, COALESCE_FRAME);
}

/** Headers of a super-frame of `bytes` bytes, and the virtio header that describes it (PF-33). */
function writeHeaders(g: usize, frame: usize, bytes: u32): void {
  const packet = frame + <usize>VNET_HEADER_BYTES;
  const offset = load<u32>(g, COALESCE_IP_HEADER_BYTES);
  const header = load<u32>(g, COALESCE_HEADER_BYTES);
  const isV6 = offset == 40;
  const isUdp = <u32>load<u8>(packet + (isV6 ? 6 : 9)) == PROTOCOL_UDP;
  if (isV6) {
    store<u16>(packet, bswap<u16>(<u16>(bytes - 40)), 4);
  } else {
    store<u16>(packet, bswap<u16>(<u16>bytes), 2);
    store<u16>(packet, 0, 10);
    store<u16>(packet, <u16>complement(sum(packet, offset)), 10);
  }
  const transport = packet + <usize>offset;
  const length = bytes - offset;
  const checksumOffset = isUdp ? UDP_CHECKSUM_OFFSET : TCP_CHECKSUM_OFFSET;
  if (isUdp) store<u16>(transport, bswap<u16>(<u16>length), 4);
  // The kernel adds the sum over the segment and complements: the field holds the pseudo-header's.
  const partial = fold(pseudoSum(packet, isV6, isUdp ? PROTOCOL_UDP : PROTOCOL_TCP, length));
  store<u16>(transport + <usize>checksumOffset, <u16>partial);
  store<u8>(frame, VNET_NEEDS_CSUM, VNET_FLAGS);
  store<u8>(frame, <u8>(isUdp ? GSO_UDP : isV6 ? GSO_TCP6 : GSO_TCP4), VNET_GSO_TYPE);
  store<u16>(frame, <u16>header, VNET_HDR_LEN);
  store<u16>(frame, <u16>load<u32>(g, COALESCE_PAYLOAD_BYTES), VNET_GSO_SIZE);
  store<u16>(frame, <u16>offset, VNET_CSUM_START);
  store<u16>(frame, <u16>checksumOffset, VNET_CSUM_OFFSET);
}

function be16(p: usize): u32 {
  return <u32>bswap<u16>(load<u16>(p));
}
