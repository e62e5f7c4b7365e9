/**
 * Longest-prefix lookup in a set of prefixes that control has flattened to disjoint, sorted ranges:
 * range i reaches from its start to the next start, and has one value (`bindings/table/range-set.ts`).
 *
 * A binary search without branches that depend on the address: 12 steps for 4,000 prefixes. A trie was
 * not tried: sets are small, and a bulk flow asks once per 64 KiB. The twin looks at every prefix:
 * `test/twin/plane/policy.ts`.
 */

import { Ip4, Ip6 } from "../header";
import { RangeSet } from "../layout";

/** The value for the source address of the validated packet at `packet`; 0 if no prefix holds it. */
export function sourceIn(set: usize, packet: usize): u32 {
  return isV6(packet) ? lookup6(set, packet + Ip6.SOURCE) : lookup4(set, packet + Ip4.SOURCE);
}

/** The value for its destination address. */
export function destinationIn(set: usize, packet: usize): u32 {
  return isV6(packet) ? lookup6(set, packet + Ip6.DESTINATION) : lookup4(set, packet + Ip4.DESTINATION);
}

function isV6(packet: usize): bool {
  return load<u8>(packet) >> 4 == 6;
}

/** The value for the IPv4 address at `address`, which is in network order. */
export function lookup4(set: usize, address: usize): u32 {
  let left = load<u32>(set, RangeSet.COUNT4);
  if (left == 0) return 0;
  const wanted = bswap<u32>(load<u32>(address));
  const starts = load<usize>(set, RangeSet.STARTS4);
  let found: u32 = 0;
  while (left > 1) {
    const half = left >> 1;
    const middle = found + half;
    found = load<u32>(starts + ((<usize>middle) << 2)) <= wanted ? middle : found;
    left -= half;
  }
  return load<u32>(load<usize>(set, RangeSet.VALUES4) + ((<usize>found) << 2));
}

/** The value for the IPv6 address at `address`. */
export function lookup6(set: usize, address: usize): u32 {
  let left = load<u32>(set, RangeSet.COUNT6);
  if (left == 0) return 0;
  const upper = bswap<u64>(load<u64>(address));
  const lower = bswap<u64>(load<u64>(address, 8));
  const starts = load<usize>(set, RangeSet.STARTS6);
  let found: u32 = 0;
  while (left > 1) {
    const half = left >> 1;
    const start = starts + ((<usize>(found + half)) << 4);
    const startUpper = load<u64>(start);
    const isAtOrAbove = startUpper < upper || (startUpper == upper && load<u64>(start, 8) <= lower);
    found = isAtOrAbove ? found + half : found;
    left -= half;
  }
  return load<u32>(load<usize>(set, RangeSet.VALUES6) + ((<usize>found) << 2));
}
