/**
 * The AEAD as exports of the module. The plane's entry re-exports this file: so the variant that is
 * tested, timed and chosen at start (D-26) is the very one that carries traffic.
 */
import {
  AHEAD_BYTES,
  flush,
  forget,
  LANES,
  lanesFor,
  makeAhead,
  open,
  openShort,
  SEAL_SHORT_BYTES,
  SHORT_BYTES,
  STATE_BYTES,
  seal,
  sealShort,
} from "./index";

/** @see lanesFor in index.ts */
export function aeadLanes(len: i32): i32 {
  return lanesFor(len);
}

/** Size of the state in bytes. */
export function aeadStateBytes(): i32 {
  return STATE_BYTES;
}

/** @see seal and sealShort in index.ts: with `ahead` a short message is sealed as one. */
export function aeadSeal(
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
  ahead: usize,
): void {
  if (LANES && ahead && len <= SHORT_BYTES) sealShort(src, dst, len, ahead);
  else seal(key, np, src, dst, len, st);
}

/** @see flush in index.ts */
export function aeadFlush(st: usize): void {
  flush(st);
}

/** @see forget in index.ts */
export function aeadForget(st: usize): void {
  forget(st);
}

/** @see open and openShort in index.ts: with `otk` a short message is opened as one. */
export function aeadOpen(
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
  otk: usize,
): i32 {
  if (LANES && otk && len <= SHORT_BYTES) return openShort(src, dst, len, st, otk);
  return open(key, np, src, dst, len, st, otk);
}

/** @see makeAhead in index.ts */
export function aeadAhead(key: usize, np: usize, stride: usize, len: i32, out: usize, st: usize): void {
  makeAhead(key, np, stride, len, out, st);
}

/**
 * Seals the same message `n` times, `batch` messages to a flush: the egress loop without its system calls. With `keys`,
 * an address for AHEAD_BYTES_MAX bytes, short messages have their blocks made in advance, as in a long run.
 */
export function aeadSealMany(
  n: i32,
  batch: i32,
  keys: usize,
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
): void {
  let due = batch;
  for (let i: i32 = 0; i < n; i++) {
    let ahead: usize = 0;
    if (LANES && keys && len <= SEAL_SHORT_BYTES) {
      const lane = i & (lanesFor(len) - 1);
      if (lane == 0) makeAhead(key, np + 4, 0, len, keys, st);
      ahead = keys + AHEAD_BYTES * <usize>lane;
    }
    aeadSeal(key, np, src, dst, len, st, ahead);
    if (--due == 0) {
      flush(st);
      due = batch;
    }
  }
  flush(st);
}

/**
 * Opens the same message `n` times and returns how often it was right. With `keys`, an address for AHEAD_BYTES_MAX
 * bytes, keys or blocks are made in advance, as for a long GRO run.
 */
export function aeadOpenMany(
  n: i32,
  keys: usize,
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
): i32 {
  let right: i32 = 0;
  for (let i: i32 = 0; i < n; i++) {
    let otk: usize = 0;
    if (LANES && keys) {
      const lane = i & (lanesFor(len) - 1);
      if (lane == 0) makeAhead(key, np + 4, 0, len, keys, st);
      otk = keys + AHEAD_BYTES * <usize>lane;
    }
    right += aeadOpen(key, np, src, dst, len, st, otk);
  }
  return right;
}
