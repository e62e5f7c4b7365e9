/**
 * Keyed hashing for tables whose keys strangers choose: the seed keeps them from choosing who shares a chain.
 */

/** The golden ratio, as SplitMix64 has it. */
const MULTIPLIER: u64 = ((<u64>0x9e3779b9) << 32) | 0x7f4a7c15;

/** Takes `value` into `hash`, which begins as the seed. The upper half of the result is the better one. */
export function mix(hash: u64, value: u64): u64 {
  const mixed = (hash ^ value) * MULTIPLIER;
  return mixed ^ (mixed >> 32);
}
