/** The walk over IPv6 extension headers (TN-3 rows 7 to 9), for packets and for quoted packets. */
import { Extension, Ip6 } from "../header";

const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const DESTINATION_OPTIONS: u32 = 60;
/** A bound on the walk; real packets have one or two headers. */
const HEADERS_MAX: u32 = 8;
/** The fragment offset and M, in network order. */
const FRAGMENT_MASK: u32 = 0xfff9;

/** The walk failed: a header is malformed or cut, hop-by-hop is not the first, or there are too many. */
export const WALK_MALFORMED: u64 = u64.MAX_VALUE;
/** A routing header has segments left. */
export const WALK_ROUTED: u64 = 1 << 40;
/** A fragment header that is not atomic ended the walk: what follows it is not a header. */
export const WALK_FRAGMENT: u64 = 1 << 41;

/**
 * Walks the extension headers of the IPv6 packet at `packet`, of which `available` bytes are there, at
 * least 40.
 * @returns `WALK_MALFORMED`, or the offset of the transport in bits 0 to 31 (`walkOffset`), its protocol
 *   in bits 32 to 39 (`walkProtocol`), and the flags above
 */
export function walkExtensions(packet: usize, available: u32): u64 {
  let next = <u32>load<u8>(packet, Ip6.NEXT_HEADER);
  let offset = Ip6.BYTES;
  let flags: u64 = 0;
  for (let count: u32 = 0; flags < WALK_FRAGMENT && isExtension(next); count++) {
    if (count == HEADERS_MAX || available - offset < 8) return WALK_MALFORMED;
    if (next == HOP_BY_HOP && count != 0) return WALK_MALFORMED;
    const header = packet + <usize>offset;
    let length: u32 = 8;
    if (next == FRAGMENT) {
      if ((<u32>bswap<u16>(load<u16>(header, Extension.FRAGMENT)) & FRAGMENT_MASK) != 0)
        flags |= WALK_FRAGMENT;
    } else {
      length = (<u32>load<u8>(header, Extension.LENGTH) + 1) << 3;
      if (length > available - offset) return WALK_MALFORMED;
      if (next == ROUTING && load<u8>(header, Extension.SEGMENTS_LEFT) != 0) flags |= WALK_ROUTED;
    }
    next = <u32>load<u8>(header, Extension.NEXT_HEADER);
    offset += length;
  }
  return flags | ((<u64>next) << 32) | <u64>offset;
}

export function walkOffset(walk: u64): u32 {
  return <u32>walk;
}

export function walkProtocol(walk: u64): u32 {
  return <u32>(walk >> 32) & 0xff;
}

/** Whether a header of that number is walked. */
export function isExtension(next: u32): bool {
  return next == HOP_BY_HOP || next == ROUTING || next == FRAGMENT || next == DESTINATION_OPTIONS;
}
