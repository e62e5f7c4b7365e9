/**
 * Keyed BLAKE2s with 16 bytes of output (RFC 7693): MAC(key, message) of WireGuard (WG-1), for mac1, mac2 and
 * cookies. Handshake messages are few beside packets, so the rounds are a loop over a table of the message
 * schedule, with one row of the state in each vector and half a round each time. Rounds unrolled with the schedule in
 * the code would be 4 % faster and 4 KB larger. The twin is `src/wireguard/noble-crypto.ts`.
 *
 * The scratch of MAC_SCRATCH_BYTES holds the chaining value, which depends on the key, and the last block:
 *
 *   [chaining value 32][block 64]
 */

/** Size of the scratch of `mac`, in bytes. */
export const MAC_SCRATCH_BYTES: usize = 96;
/** Length of a MAC, of a cookie, and of the fields mac1 and mac2, in bytes. */
export const MAC_BYTES: u32 = 16;

const BLOCK_BYTES: u32 = 64;
const SCRATCH_BLOCK: usize = 32;
const ROUNDS: usize = 10;

/** RFC 7693 §2.7: which message word each step takes, as offsets in bytes; rows in the order of `mix`. */
const SCHEDULE = memory.data<u8>([
  0, 8, 16, 24, 4, 12, 20, 28, 32, 40, 48, 56, 36, 44, 52, 60, 56, 16, 36, 52, 40, 32, 60, 24, 4, 0, 44, 20,
  48, 8, 28, 12, 44, 48, 20, 60, 32, 0, 8, 52, 40, 12, 28, 36, 56, 24, 4, 16, 28, 12, 52, 44, 36, 4, 48, 56,
  8, 20, 16, 60, 24, 40, 0, 32, 36, 20, 8, 40, 0, 28, 16, 60, 56, 44, 24, 12, 4, 48, 32, 52, 8, 24, 0, 32, 48,
  40, 44, 12, 16, 28, 60, 4, 52, 20, 56, 36, 48, 4, 56, 16, 20, 60, 52, 40, 0, 24, 36, 32, 28, 12, 8, 44, 52,
  28, 48, 12, 44, 56, 4, 36, 20, 60, 32, 8, 0, 16, 24, 40, 24, 56, 44, 0, 60, 36, 12, 32, 48, 52, 4, 40, 8,
  28, 16, 20, 40, 32, 28, 4, 8, 16, 24, 20, 60, 36, 12, 52, 44, 56, 48, 0,
]);

/**
 * MAC(key, message), to be compared as a whole vector, which takes the same time whatever differs.
 * @param keyBytes length of the key, at most 32
 * @param scratch MAC_SCRATCH_BYTES of memory
 */
export function mac(key: usize, keyBytes: u32, message: usize, bytes: u32, scratch: usize): v128 {
  const block = scratch + SCRATCH_BLOCK;
  // RFC 7693 §2.5: digest length, key length, fan-out and depth, in the first word of the parameters.
  const parameters = i32x4(0x0101_0000 | (keyBytes << 8) | MAC_BYTES, 0, 0, 0);
  v128.store(scratch, v128.xor(initialUpper(), parameters));
  v128.store(scratch, initialLower(), 16);
  fillBlock(block, key, keyBytes);
  compress(scratch, block, BLOCK_BYTES, bytes == 0);
  if (bytes == 0) return v128.load(scratch);
  let done: u32 = 0;
  for (; bytes - done > BLOCK_BYTES; done += BLOCK_BYTES) {
    compress(scratch, message + <usize>done, BLOCK_BYTES + done + BLOCK_BYTES, false);
  }
  fillBlock(block, message + <usize>done, bytes - done);
  compress(scratch, block, BLOCK_BYTES + bytes, true);
  return v128.load(scratch);
}

/** Whether the 16 bytes at `field` are that MAC. */
export function isMac(expected: v128, field: usize): bool {
  return !v128.any_true(v128.xor(expected, v128.load(field)));
}

/** RFC 7693 §2.6: the words 0 to 3 of the initialisation vector. */
function initialUpper(): v128 {
  return i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a);
}

/** Its words 4 to 7. */
function initialLower(): v128 {
  return i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
}

function fillBlock(block: usize, from: usize, bytes: u32): void {
  memory.fill(block, 0, <usize>BLOCK_BYTES);
  memory.copy(block, from, <usize>bytes);
}

/** RFC 7693 §3.2: one block of the message; `counted` bytes came so far, this block included. */
function compress(chaining: usize, block: usize, counted: u32, isLast: bool): void {
  const upper = v128.load(chaining);
  const lower = v128.load(chaining, 16);
  let a = upper;
  let b = lower;
  let c = initialUpper();
  let d = v128.xor(initialLower(), i32x4(counted, 0, isLast ? -1 : 0, 0));
  // Each step waits for the one before: the message goes to `a` first, for which nothing waits.
  for (let half: usize = 0; half < 2 * ROUNDS; half++) {
    const schedule = SCHEDULE + (half << 3);
    a = i32x4.add(i32x4.add(a, words(block, schedule)), b);
    d = rotatedBy16(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotated(v128.xor(b, c), 12);
    a = i32x4.add(i32x4.add(a, words(block, schedule + 4)), b);
    d = rotatedBy8(v128.xor(d, a));
    c = i32x4.add(c, d);
    b = rotated(v128.xor(b, c), 7);
    // The diagonals become columns behind the first half of a round, and the columns diagonals behind the second.
    c = v128.shuffle<i32>(c, c, 2, 3, 0, 1);
    if ((half & 1) == 0) {
      b = v128.shuffle<i32>(b, b, 1, 2, 3, 0);
      d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    } else {
      b = v128.shuffle<i32>(b, b, 3, 0, 1, 2);
      d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);
    }
  }
  v128.store(chaining, v128.xor(upper, v128.xor(a, c)));
  v128.store(chaining, v128.xor(lower, v128.xor(b, d)), 16);
}

/** The four message words that a row of the schedule names. */
function words(block: usize, schedule: usize): v128 {
  return i32x4(
    load<i32>(block + <usize>load<u8>(schedule)),
    load<i32>(block + <usize>load<u8>(schedule, 1)),
    load<i32>(block + <usize>load<u8>(schedule, 2)),
    load<i32>(block + <usize>load<u8>(schedule, 3)),
  );
}

function rotated(row: v128, bits: i32): v128 {
  return v128.or(i32x4.shr_u(row, bits), i32x4.shl(row, 32 - bits));
}

function rotatedBy16(row: v128): v128 {
  return v128.shuffle<i16>(row, row, 1, 0, 3, 2, 5, 4, 7, 6);
}

function rotatedBy8(row: v128): v128 {
  return v128.shuffle<i8>(row, row, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
}
