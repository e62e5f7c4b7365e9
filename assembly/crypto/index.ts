/**
 * ChaCha20-Poly1305 for WireGuard's transport messages: the variant that the build's constant CIPHER
 * names (D-26). 0: turbofan, 1: turboshaft, 2: wide, 3: jsc. The other variants are not compiled in.
 *
 * Common to all functions:
 *   key  address of the 32-byte key
 *   np   address of the 12-byte nonce, four zero bytes and the little-endian counter; the four bytes
 *        before it must be readable (PF-46)
 *   st   address of the loop's state of STATE_BYTES, zero at first; sealing and opening need one each
 */
import * as jsc from "./aead-jsc";
import * as turbofan from "./aead-turbofan";
import * as turboshaft from "./aead-turboshaft";
import * as wide from "./aead-wide";

export { STATE_BYTES, wipe } from "./state";

/** How many one-time keys `otks` makes; 0: do not call it, pass 0 to `open`. */
export const LANES: i32 = CIPHER == 2 ? wide.LANES : 0;

/**
 * Encrypts src[0, len) to dst[0, len); dst may be src. The tag is written to dst + len only by the next
 * `seal` or `flush` with the same st: flush before anything is sent. src is free as soon as this
 * returns; dst[0, len + 16) must stay as it is until the tag is written (PF-63). Messages of different
 * keys may follow each other.
 */
export function seal(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize): void {
  if (CIPHER == 0) turbofan.seal(key, np, src, dst, len, st);
  else if (CIPHER == 1) turboshaft.seal(key, np, src, dst, len, st);
  else if (CIPHER == 2) wide.seal(key, np, src, dst, len, st);
  else jsc.seal(key, np, src, dst, len, st);
}

/** Writes the tag of the last sealed message, if it is still due. */
export function flush(st: usize): void {
  if (CIPHER == 0) turbofan.flush(st);
  else if (CIPHER == 1) turboshaft.flush(st);
  else if (CIPHER == 2) wide.flush(st);
  else jsc.flush(st);
}

/**
 * Decrypts src[0, len) to dst[0, len), which must not overlap, and compares the tag at src + len in
 * constant time. Returns 1 if it is right; at 0 what is in dst must be thrown away.
 * @param otk address of the message's one-time key from `otks`, or 0
 */
export function open(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize, otk: usize): i32 {
  if (CIPHER == 0) return turbofan.open(key, np, src, dst, len, st, otk);
  if (CIPHER == 1) return turboshaft.open(key, np, src, dst, len, st, otk);
  if (CIPHER == 2) return wide.open(key, np, src, dst, len, st, otk);
  return jsc.open(key, np, src, dst, len, st, otk);
}

/**
 * Makes the one-time keys of LANES messages of one key, 32 bytes each, to out. Here `np` is the address
 * of the first message's 8-byte counter, and the others follow at distance `stride`: the headers of a
 * GRO run (PF-65). Worth it from three messages on; all LANES counters must be readable.
 */
export function otks(key: usize, np: usize, stride: usize, out: usize, st: usize): void {
  if (CIPHER == 2) wide.otks(key, np, stride, out, st);
}
