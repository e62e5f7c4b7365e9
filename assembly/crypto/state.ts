/**
 * The state of one sealing or opening loop, and what all variants of the AEAD do with it.
 *
 *   [MAC 80][tag address u32][blocks pending i32][8 unused][pending MAC input 608][scratch 640][first round 1024]
 *
 * It holds keystream and one-time keys: it is secret, is zero at first, and is wiped at the end.
 */

/** Where the tag of the last sealed message belongs. */
export const STATE_TAG: usize = 80;
/** How many blocks of MAC input are pending; 0: no tag is due. */
export const STATE_LEFT: usize = 84;
/** The pending MAC input: at most one batch, five blocks that found no room under it, and the block of lengths. */
export const STATE_PENDING: usize = 96;
/** Keystream of one batch, 512 bytes, and words that a variant parks, 128 bytes. */
export const STATE_SCRATCH: usize = 704;
/** What a variant keeps of a key's first round (PF-83); it says as much as the key does. */
export const STATE_FIRST_ROUND: usize = 1344;
const FIRST_ROUND_BYTES: usize = 1024;
/** Size of the whole state in bytes; it needs no alignment, but does better on a cache line's start. */
export const STATE_BYTES: i32 = 2368;

/**
 * Copies the last `n` bytes of ciphertext at `c` (at most 592) to the pending MAC input, padded with
 * zeros, and the block of lengths behind them (RFC 8439 §2.8). Returns the number of blocks. A copy,
 * because MAC input read from its place would reach into the next message.
 */
export function keepPending(st: usize, c: usize, n: i32, len: i32): i32 {
  const pending = st + STATE_PENDING;
  let i: i32 = 0;
  for (; i + 16 <= n; i += 16) v128.store(pending + i, v128.load(c + i));
  if (i < n) {
    v128.store(pending + i, i32x4.splat(0));
    memory.copy(pending + i, c + i, n - i);
    i += 16;
  }
  store<u64>(pending + i, 0);
  store<u64>(pending + i, <u64>len, 8);
  return (i >> 4) + 1;
}

/** Overwrites what is kept of a key's first round. */
export function forgetKey(st: usize): void {
  memory.fill(st + STATE_FIRST_ROUND, 0, FIRST_ROUND_BYTES);
}

/** Overwrites the state, so that it holds no secret and no pending tag. */
export function wipe(st: usize): void {
  memory.fill(st, 0, STATE_BYTES);
}
