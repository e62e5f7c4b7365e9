/**
 * XChaCha20-Poly1305 of a cookie: 16 bytes of text under 16 bytes of additional data (WG-30, WG-33;
 * draft-irtf-cfrg-xchacha-03 §2). One message per stranger and budget, so it is short rather than fast. The
 * twin is `src/wireguard/noble-crypto.ts`.
 *
 *   scratch   [subkey 32][key stream 64][MAC input 48]
 */

/** Size of the scratch of `sealCookie`, in bytes. */
export const XAEAD_SCRATCH_BYTES: usize = 144;

const SCRATCH_STREAM: usize = 32;
const SCRATCH_MAC_INPUT: usize = 96;
const DOUBLE_ROUNDS: u32 = 10;
const LIMB_MASK: u64 = 0x3ffffff;
const MAC_INPUT_BLOCKS: usize = 3;

/**
 * Encrypts the 16 bytes at `text`, and writes them and their tag, 32 bytes, to `out`.
 * @param key address of 32 bytes
 * @param nonce address of 24 bytes, never used twice with the key
 * @param additional address of the 16 bytes that the tag covers as well
 * @param scratch XAEAD_SCRATCH_BYTES of memory; zero afterwards
 */
export function sealCookie(
  key: usize,
  nonce: usize,
  additional: usize,
  text: usize,
  out: usize,
  scratch: usize,
): void {
  const stream = scratch + SCRATCH_STREAM;
  rounds(key, v128.load(nonce), stream);
  // HChaCha20: the first and the last row, without the input added.
  v128.store(scratch, v128.load(stream));
  v128.store(scratch, v128.load(stream, 48), 16);
  const tail = load<u64>(nonce, 16);
  keyStream(scratch, tail, 1, stream);
  const sealed = v128.xor(v128.load(text), v128.load(stream));
  v128.store(out, sealed);
  keyStream(scratch, tail, 0, stream);
  const input = scratch + SCRATCH_MAC_INPUT;
  v128.store(input, v128.load(additional));
  v128.store(input, sealed, 16);
  store<u64>(input, 16, 32);
  store<u64>(input, 16, 40);
  poly1305(stream, input, out + 16);
  memory.fill(scratch, 0, XAEAD_SCRATCH_BYTES);
}

/** RFC 8439 §2.3: block `counter` of the key stream for the nonce of four zero bytes and `tail`. */
function keyStream(key: usize, tail: u64, counter: u32, out: usize): void {
  const last = i32x4(counter, 0, <i32>tail, <i32>(tail >> 32));
  rounds(key, last, out);
  v128.store(out, i32x4.add(v128.load(out), constants()));
  v128.store(out, i32x4.add(v128.load(out, 16), v128.load(key)), 16);
  v128.store(out, i32x4.add(v128.load(out, 32), v128.load(key, 16)), 32);
  v128.store(out, i32x4.add(v128.load(out, 48), last), 48);
}

/** "expand 32-byte k" */
function constants(): v128 {
  return i32x4(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
}

/** The twenty rounds of ChaCha20 over constants, key and `last`, one row in each vector. */
function rounds(key: usize, last: v128, out: usize): void {
  let a = constants();
  let b = v128.load(key);
  let c = v128.load(key, 16);
  let d = last;
  for (let i: u32 = 0; i < DOUBLE_ROUNDS << 1; i++) {
    a = i32x4.add(a, b);
    d = rotated(v128.xor(d, a), 16);
    c = i32x4.add(c, d);
    b = rotated(v128.xor(b, c), 12);
    a = i32x4.add(a, b);
    d = rotated(v128.xor(d, a), 8);
    c = i32x4.add(c, d);
    b = rotated(v128.xor(b, c), 7);
    // Columns become diagonals behind an even round, and diagonals columns behind an odd one.
    const isColumns = (i & 1) == 0;
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    if (isColumns) {
      b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
      d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    } else {
      b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
      d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);
    }
  }
  v128.store(out, a);
  v128.store(out, b, 16);
  v128.store(out, c, 32);
  v128.store(out, d, 48);
}

function rotated(row: v128, bits: i32): v128 {
  return v128.or(i32x4.shl(row, bits), i32x4.shr_u(row, 32 - bits));
}

/** RFC 8439 §2.5 over MAC_INPUT_BLOCKS whole blocks, in five limbs of 26 bits; the tag goes to `out`. */
function poly1305(key: usize, input: usize, out: usize): void {
  const r0 = load<u64>(key) & 0x3ffffff;
  const r1 = (load<u64>(key, 3) >> 2) & 0x3ffff03;
  const r2 = (load<u64>(key, 6) >> 4) & 0x3ffc0ff;
  const r3 = (load<u64>(key, 9) >> 6) & 0x3f03fff;
  const r4 = <u64>(load<u32>(key, 12) >> 8) & 0x00fffff;
  let h0: u64 = 0;
  let h1: u64 = 0;
  let h2: u64 = 0;
  let h3: u64 = 0;
  let h4: u64 = 0;
  for (let i: usize = 0; i < MAC_INPUT_BLOCKS; i++) {
    const block = input + (i << 4);
    h0 += load<u64>(block) & LIMB_MASK;
    h1 += (load<u64>(block, 3) >> 2) & LIMB_MASK;
    h2 += (load<u64>(block, 6) >> 4) & LIMB_MASK;
    h3 += (load<u64>(block, 8) >> 14) & LIMB_MASK;
    h4 += (<u64>load<u32>(block, 12) >> 8) | (1 << 24);
    const d0 = h0 * r0 + 5 * (h1 * r4 + h2 * r3 + h3 * r2 + h4 * r1);
    const d1 = (d0 >> 26) + h0 * r1 + h1 * r0 + 5 * (h2 * r4 + h3 * r3 + h4 * r2);
    const d2 = (d1 >> 26) + h0 * r2 + h1 * r1 + h2 * r0 + 5 * (h3 * r4 + h4 * r3);
    const d3 = (d2 >> 26) + h0 * r3 + h1 * r2 + h2 * r1 + h3 * r0 + 5 * (h4 * r4);
    const d4 = (d3 >> 26) + h0 * r4 + h1 * r3 + h2 * r2 + h3 * r1 + h4 * r0;
    h0 = (d0 & LIMB_MASK) + 5 * (d4 >> 26);
    h1 = (d1 & LIMB_MASK) + (h0 >> 26);
    h0 &= LIMB_MASK;
    h2 = d2 & LIMB_MASK;
    h3 = d3 & LIMB_MASK;
    h4 = d4 & LIMB_MASK;
  }
  finish(h0, h1, h2, h3, h4, key + 16, out);
}

/** Reduces the sum modulo 2^130 - 5 and adds the second half of the key. */
function finish(h0: u64, h1: u64, h2: u64, h3: u64, h4: u64, key: usize, out: usize): void {
  h2 += h1 >> 26;
  h3 += h2 >> 26;
  h4 += h3 >> 26;
  h0 += 5 * (h4 >> 26);
  h1 = (h1 & LIMB_MASK) + (h0 >> 26);
  h0 &= LIMB_MASK;
  h2 &= LIMB_MASK;
  h3 &= LIMB_MASK;
  h4 &= LIMB_MASK;
  // The second limb may be one bit longer.
  const lower = h0 + (h1 << 26) + (h2 << 52);
  const upper = (h2 >> 12) | (h3 << 14) | (h4 << 40);
  // The sum plus 5, less 2^130, is taken where that is not negative.
  const lowerPlus = lower + 5;
  const upperPlus = upper + <u64>(lowerPlus < lower);
  const mask: u64 = 0 - (((h4 >> 24) + <u64>(upperPlus < upper)) >> 2);
  const reduced = lower ^ ((lower ^ lowerPlus) & mask);
  const tag = reduced + load<u64>(key);
  store<u64>(out, tag);
  store<u64>(out, (upper ^ ((upper ^ upperPlus) & mask)) + load<u64>(key, 8) + <u64>(tag < reduced), 8);
}
