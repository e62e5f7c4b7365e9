/**
 * Which peer a destination leads to by its address alone: a hash with open addressing, which control writes while it
 * is read (`bindings/table/host-table.ts`). One cache line per probe, and two probes at most on average: with ten
 * thousand clients a binary search would take 15 steps. The twin looks at every address: `test/twin/plane/policy.ts`.
 */

import { Ip4, Ip6 } from "../header";
import {
  HOST_HASH_MULTIPLIER,
  HostEntry,
  HostTable,
  PLANE_ADDRESS,
  Plane,
  TARGET_GONE,
  TARGET_NONE,
} from "../layout";

/** The target of the destination of the validated packet at `packet`; TARGET_NONE if no peer has the address. */
export function hostTarget(packet: usize): u32 {
  const table = atomic.load<usize>(PLANE_ADDRESS, Plane.HOSTS);
  if (table == 0) return TARGET_NONE;
  if (load<u8>(packet) >> 4 == 6) {
    const upper = bswap<u64>(load<u64>(packet, Ip6.DESTINATION));
    const lower = bswap<u64>(load<u64>(packet, Ip6.DESTINATION + 8));
    const folded = upper ^ lower;
    return search(table, 6, upper, lower, <u32>folded ^ <u32>(folded >> 32));
  }
  const address = bswap<u32>(load<u32>(packet, Ip4.DESTINATION));
  return search(table, 4, 0, address, address);
}

/** At least half of the entries are free, so the loop ends soon. */
function search(table: usize, family: u32, upper: u64, lower: u64, word: u32): u32 {
  const mask = load<u32>(table, HostTable.MASK);
  const mixed = word * HOST_HASH_MULTIPLIER;
  const first = mixed ^ (mixed >> 16);
  for (let i: u32 = 0; i <= mask; i++) {
    const entry = table + HostTable.BYTES + <usize>((first + i) & mask) * HostEntry.BYTES;
    const target = atomic.load<u32>(entry, HostEntry.TARGET);
    if (target == TARGET_NONE) return TARGET_NONE;
    const isIt =
      load<u64>(entry, HostEntry.LOWER) == lower &&
      load<u64>(entry, HostEntry.UPPER) == upper &&
      load<u32>(entry, HostEntry.FAMILY) == family;
    if (isIt) return target == TARGET_GONE ? TARGET_NONE : target;
  }
  return TARGET_NONE;
}
