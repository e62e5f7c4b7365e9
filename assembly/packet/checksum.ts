/**
 * Ones' complement sums (RFC 1071) over memory, and their incremental update (RFC 1624).
 *
 * A sum is a `u64` to which words are added *as they lie in memory*: 16-bit words loaded
 * little-endian. Ones' complement addition does not care about byte order as long as all words are
 * treated alike (RFC 1071 §2 B), so `fold` gives a value that is stored little-endian and thereby
 * lies in memory in network order. A number that is not in memory enters through `word`.
 *
 * The readable twin is `src/packet/checksum.ts`, which control uses itself.
 */

import { Ip4, Ip6 } from "../header";

/**
 * Sum of the `n` bytes at `p`; an odd last byte is padded with zero.
 *
 * Reads exactly `[p, p + n)`. `n` is at most 262,144, so that no 32-bit lane overflows.
 */
export function sum(p: usize, n: u32): u64 {
  let a = i32x4.splat(0);
  let b = i32x4.splat(0);
  const runs = p + <usize>(n & ~31);
  for (; p < runs; p += 32) {
    a = i32x4.add(a, i32x4.extadd_pairwise_i16x8_u(v128.load(p)));
    b = i32x4.add(b, i32x4.extadd_pairwise_i16x8_u(v128.load(p, 16)));
  }
  if ((n & 16) != 0) {
    a = i32x4.add(a, i32x4.extadd_pairwise_i16x8_u(v128.load(p)));
    p += 16;
  }
  if ((n & 8) != 0) {
    b = i32x4.add(b, i32x4.extadd_pairwise_i16x8_u(v128.load64_zero(p)));
    p += 8;
  }
  if ((n & 4) != 0) {
    a = i32x4.add(a, i32x4.extadd_pairwise_i16x8_u(v128.load32_zero(p)));
    p += 4;
  }
  a = i32x4.add(a, b);
  a = i64x2.add(i64x2.extend_low_i32x4_u(a), i64x2.extend_high_i32x4_u(a));
  let total = i64x2.extract_lane(a, 0) + i64x2.extract_lane(a, 1);
  if ((n & 2) != 0) {
    total += <u64>load<u16>(p);
    p += 2;
  }
  if ((n & 1) != 0) total += <u64>load<u8>(p);
  return total;
}

/** The sum reduced to 16 bits, not complemented. */
export function fold(s: u64): u32 {
  // A number plus itself with its halves exchanged has their ones' complement sum in its upper half.
  const half = <u32>((s + rotl<u64>(s, 32)) >> 32);
  return (half + rotl<u32>(half, 16)) >> 16;
}

/** What goes into a checksum field for a sum that was taken with that field zero. */
export function complement(s: u64): u32 {
  return ~fold(s) & 0xffff;
}

/** The 16-bit number `value` as a summand: as if it lay in memory in network order. */
export function word(value: u32): u64 {
  return <u64>bswap<u16>(<u16>value);
}

/**
 * Sum of the pseudo-header of the packet at `packet` (RFC 9293 §3.1, RFC 8200 §8.1).
 *
 * The destination is the one in the IP header: a routing header with segments left never passes
 * validation where that matters (TN-3 row 8).
 * @param length bytes of transport header and payload, at most 65,535
 */
export function pseudoSum(packet: usize, isV6: bool, protocol: u32, length: u32): u64 {
  const addresses = isV6
    ? sum(packet + Ip6.SOURCE, 32)
    : <u64>load<u32>(packet, Ip4.SOURCE) + <u64>load<u32>(packet, Ip4.DESTINATION);
  return addresses + word(protocol) + word(length);
}

/**
 * The checksum `HC' = ~(~HC + ~old + new)` after `old` was replaced by `new` (RFC 1624 eqn. 3, TN-9).
 *
 * A packet that was corrupted before stays recognisably corrupted: nothing is computed anew.
 * @param checksum the field as loaded little-endian; the result is stored the same way
 * @param oldSum `sum` over the replaced bytes, which begin at an even offset of the packet
 * @param newSum `sum` over the bytes that replace them
 */
export function updated(checksum: u32, oldSum: u64, newSum: u64): u32 {
  return complement(<u64>(~checksum & 0xffff) + <u64>(~fold(oldSum) & 0xffff) + newSum);
}
