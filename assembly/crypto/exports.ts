/**
 * The AEAD as exports of the module. The plane's entry re-exports this file: so the variant that is
 * tested, timed and chosen at start (D-26) is the very one that carries traffic.
 */
import { flush, LANES, open, otks, STATE_BYTES, seal } from "./index";

/** @see LANES in index.ts; a function, since it reads the same from every runtime. */
export function aeadLanes(): i32 {
  return LANES;
}

/** Size of the state in bytes. */
export function aeadStateBytes(): i32 {
  return STATE_BYTES;
}

/** @see seal in index.ts */
export function aeadSeal(key: usize, np: usize, src: usize, dst: usize, len: i32, st: usize): void {
  seal(key, np, src, dst, len, st);
}

/** @see flush in index.ts */
export function aeadFlush(st: usize): void {
  flush(st);
}

/** @see open in index.ts */
export function aeadOpen(
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
  otk: usize,
): i32 {
  return open(key, np, src, dst, len, st, otk);
}

/** @see otks in index.ts */
export function aeadOtks(key: usize, np: usize, stride: usize, out: usize, st: usize): void {
  otks(key, np, stride, out, st);
}

/** Seals the same message `n` times, `batch` messages to a flush: the egress loop without its system calls. */
export function aeadSealMany(
  n: i32,
  batch: i32,
  key: usize,
  np: usize,
  src: usize,
  dst: usize,
  len: i32,
  st: usize,
): void {
  let due = batch;
  for (let i: i32 = 0; i < n; i++) {
    seal(key, np, src, dst, len, st);
    if (--due == 0) {
      flush(st);
      due = batch;
    }
  }
  flush(st);
}

/**
 * Opens the same message `n` times and returns how often it was right. With `keys`, an address for
 * 32 · LANES bytes, one-time keys are made for LANES messages at a time, as for a GRO run.
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
      const lane = i & (LANES - 1);
      if (lane == 0) otks(key, np + 4, 0, keys, st);
      otk = keys + 32 * lane;
    }
    right += open(key, np, src, dst, len, st, otk);
  }
  return right;
}
