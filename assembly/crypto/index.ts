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

import { forgetKey } from "./state";

export { STATE_BYTES, wipe } from "./state";

/** Whether `makeAhead` is worth a call; 0: do not call it, pass 0 to `open`, and no address to the short functions. */
export const LANES: i32 = CIPHER == 2 ? wide.LANES : 0;
/** Messages of at most so many bytes may be sealed and opened with blocks made in advance. */
export const SHORT_BYTES: i32 = CIPHER == 2 ? wide.SHORT_BYTES : 0;
/** Sealing gains from them up to so many. */
export const SEAL_SHORT_BYTES: i32 = CIPHER == 2 ? 128 : 0;
/** What `makeAhead` writes for each message, and how much in all. */
export const AHEAD_BYTES: usize = 128;
export const AHEAD_BYTES_MAX: usize = 1024;

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

/**
 * Overwrites what is kept of the last message's key, which the next message makes anew (PF-83). To be called before a
 * loop waits, and now and then: keys are forgotten elsewhere, too.
 */
export function forget(st: usize): void {
  if (CIPHER == 2) forgetKey(st);
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
 * @param otk address of what `makeAhead` made for the message, or 0
 */
export function open(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize, otk: usize): i32 {
  if (CIPHER == 0) return turbofan.open(key, np, src, dst, len, st, otk);
  if (CIPHER == 1) return turboshaft.open(key, np, src, dst, len, st, otk);
  if (CIPHER == 2) return wide.open(key, np, src, dst, len, st, otk);
  return jsc.open(key, np, src, dst, len, st, otk);
}

/** For how many messages of `len` bytes `makeAhead` works at a time; the counters of all must be readable. */
export function lanesFor(len: i32): i32 {
  if (CIPHER != 2) return 0;
  return len <= SHORT_BYTES ? wide.SHORT_LANES : wide.LANES;
}

/**
 * Makes in advance what messages of one key with about `len` bytes need, AHEAD_BYTES each, to out: of short ones the
 * first blocks (PF-81), of others the one-time key (PF-65). Here `np` is the address of the first message's 8-byte
 * counter, and the others follow at distance `stride`: the headers of a GRO run.
 * @returns the longest message that `sealShort` and `openShort` take with it
 */
export function makeAhead(key: usize, np: usize, stride: usize, len: i32, out: usize, st: usize): i32 {
  if (CIPHER != 2) return 0;
  if (len > SHORT_BYTES) {
    wide.otks(key, np, stride, out, st);
    return 0;
  }
  wide.firstBlocks(key, np, stride, 0, out, st);
  if (len <= wide.SHORT_PAIR) return wide.SHORT_PAIR;
  wide.firstBlocks(key, np, stride, 2, out + AHEAD_BYTES * wide.SHORT_LANES, st);
  return SHORT_BYTES;
}

/** As `seal`, with what `makeAhead` made for the message, and the tag is written at once. */
export function sealShort(src: usize, dst: usize, len: i32, ahead: usize): void {
  if (CIPHER == 2) wide.sealShort(src, dst, len, ahead);
}

/** As `open`, with what `makeAhead` made for the message. */
export function openShort(src: usize, dst: usize, len: i32, st: usize, ahead: usize): i32 {
  return CIPHER == 2 ? wide.openShort(src, dst, len, ahead, st) : 0;
}
