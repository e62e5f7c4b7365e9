/**
 * Poly1305 (RFC 8439 §2.5) as statements of scalar 64-bit AssemblyScript: radix 2^32, 16 products.
 *
 * The accumulator is h0 + h1·2^32 + h2·2^64 + h3·2^96, where h3 keeps all that is above (34 bits), so
 * that a block's high bit 2^128 is 2^32 added at h3's place. r is clamped, hence r1, r2, r3 are
 * multiples of 4 and, as 2^130 ≡ 5, a product with 2^128·r_i is one with the whole number s_i = 5·r_i/4:
 * no fifth limb. One serial carry chain follows the products.
 *
 * Bounds, in units of 2^30: sums a1, a2 ≤ 8, a3 ≤ 24, a0 ≤ 13 and r_i < 1, s_i < 5/4. So the largest
 * product sum is f0 ≤ 2^58·(13 + 5/4·40) = 63·2^58 < 2^64: it fits, and nothing is left for carries
 * that run in parallel. Tested with r and message all ones.
 *
 * Rejected: Karatsuba's 10 products (alone 1.08 times as fast, since a core multiplies once a cycle; under
 * ChaCha20 0.95, for the sums and differences are more instructions on the way); carries written into
 * the sums, so that binaryen cannot gather the products (0.97); 20 products with parallel carries (3–9 % faster than 20 with serial ones, slower than 16);
 * four messages in vector lanes, radix 2^26 (2.25 GB/s alone, no gain beside ChaCha20, which leaves the
 * scalar units idle); i64.mul_wide (in no V8 yet).
 */

const ACCUMULATOR = ["h0", "h1", "h2", "h3"];
const CLAMPED = ["r0", "r1", "r2", "r3"];
const SECOND = ["k0", "k1"];
const KEPT = [...ACCUMULATOR, ...CLAMPED, ...SECOND];
const TEMPORARY = ["s1", "s2", "s3", "m0", "m1", "m2", "m3", "f0", "f1", "f2", "f3"];
const MULTIPLIERS = "s1 = r1 + (r1 >> 2); s2 = r2 + (r2 >> 2); s3 = r3 + (r3 >> 2);";

/**
 * 2^32 and 2^34 − 1: loaded into locals at entry, since an immediate of 64 bits would be materialised
 * at each use.
 */
export const MAC_CONSTANTS = ["0x100000000", "0x3ffffffff"];

/** Bytes that `saveMac` writes. */
export const MAC_STATE_BYTES = 8 * KEPT.length;

/** Declares the MAC's locals. */
export const declareMac = [
  `let ${[...KEPT, ...TEMPORARY].map((v) => `${v}: u64 = 0`).join(", ")};`,
  "const HIGH_BIT = load<u64>(MAC_CONSTANTS), M34 = load<u64>(MAC_CONSTANTS, 8);",
];

/** Takes the MAC up again from `st`. */
export const loadMac = [...KEPT.map((v, i) => `${v} = load<u64>(st, ${8 * i});`), MULTIPLIERS];

/** Saves the MAC to `st`. */
export const saveMac = KEPT.map((v, i) => `store<u64>(st, ${v}, ${8 * i});`);

/** Absorbs the 16 bytes at `pointer + offset`. */
export function absorb(pointer, offset) {
  const word = (i) => `load<u32>(${pointer}, ${offset + 4 * i})`;
  return absorbWords([0, 1, 2, 3].map(word));
}

/** Absorbs a block of four words. The lines are in an order in which each needs only earlier ones. */
function absorbWords([w0, w1, w2, w3]) {
  return [
    `m0 = h0 + ${w0}; m1 = h1 + ${w1}; m2 = h2 + ${w2}; m3 = h3 + HIGH_BIT + ${w3};`,
    "f0 = m0 * r0 + m1 * s3 + m2 * s2 + m3 * s1;",
    "f1 = m0 * r1 + m1 * r0 + m2 * s3 + m3 * s2;",
    "f2 = m0 * r2 + m1 * r1 + m2 * r0 + m3 * s3;",
    "f3 = m0 * r3 + m1 * r2 + m2 * r1 + m3 * r0;",
    "h0 = f0 & M32; f1 += f0 >> 32; h1 = f1 & M32; f2 += f1 >> 32;",
    "h2 = f2 & M32; f3 += f2 >> 32; h0 += (f3 >> 34) * 5; h3 = f3 & M34;",
  ];
}

/** Absorbs `left` blocks at `pp`. */
export const absorbLeft = ["for (; left > 0; left--, pp += 16) {", absorb("pp", 0), "}"];

/**
 * Absorbs the last `len & 15` bytes of ciphertext at `pp`, and the block of lengths (RFC 8439 §2.8), without a
 * copy: 16 bytes are read, which the tag's place makes readable.
 */
export const absorbEnd = [
  "if (len & 15) {",
  [
    "const shift = <u64>(len & 7) << 3, cut = ((<u64>1) << shift) - 1;",
    "const isLong = (len & 8) != 0;",
    "const low = load<u64>(pp) & (isLong ? -1 : cut), high = isLong ? load<u64>(pp, 8) & cut : 0;",
    ...absorbWords(["(low & M32)", "(low >> 32)", "(high & M32)", "(high >> 32)"]),
  ],
  "}",
  ...absorbWords(["0", "0", "<u64>len", "0"]),
];

/** Begins a MAC with the one-time key whose halves lie at `at` and `at + secondOffset` (RFC 8439 §2.6). */
export function beginMac(at, secondOffset) {
  return [
    `r0 = <u64>load<u32>(${at}) & 0x0fffffff; r1 = <u64>load<u32>(${at}, 4) & 0x0ffffffc;`,
    `r2 = <u64>load<u32>(${at}, 8) & 0x0ffffffc; r3 = <u64>load<u32>(${at}, 12) & 0x0ffffffc;`,
    MULTIPLIERS,
    `${ACCUMULATOR.join(" = ")} = 0;`,
    `k0 = load<u64>(${at}, ${secondOffset}); k1 = load<u64>(${at}, ${secondOffset + 8});`,
  ];
}

/** Ends the MAC: the tag is h0 (first 8 bytes) and h2 (last 8). */
export const finishMac = [
  "// Full carry.",
  "f0 = h3 >> 32; h3 &= M32;",
  "h1 += h0 >> 32; h0 &= M32; h2 += h1 >> 32; h1 &= M32; h3 += h2 >> 32; h2 &= M32; f0 += h3 >> 32; h3 &= M32;",
  "h0 += (f0 >> 2) * 5; f0 &= 3; h1 += h0 >> 32; h0 &= M32; h2 += h1 >> 32; h1 &= M32;",
  "h3 += h2 >> 32; h2 &= M32; f0 += h3 >> 32; h3 &= M32;",
  "// h + 5 reaches 2^130 exactly if h ≥ p: then it, without its top, is h mod p. Chosen by mask, not by branch.",
  "m0 = h0 + 5; m1 = h1 + (m0 >> 32); m2 = h2 + (m1 >> 32); m3 = h3 + (m2 >> 32);",
  "f0 = 0 - ((f0 + (m3 >> 32)) >> 2);",
  "h0 = (h0 & ~f0) | (m0 & f0 & M32); h1 = (h1 & ~f0) | (m1 & f0 & M32);",
  "h2 = (h2 & ~f0) | (m2 & f0 & M32); h3 = (h3 & ~f0) | (m3 & f0 & M32);",
  "h0 |= h1 << 32; h2 |= h3 << 32;",
  "h0 += k0; h2 += k1 + u64(h0 < k0);",
];
