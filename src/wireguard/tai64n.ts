/**
 * The stamp of an initiation (WG-8): 8 bytes big-endian 2^62 + 10 + Unix seconds, then nanoseconds
 * with the low 24 bits cleared, so that it does not tell the time more exactly than 16.8 ms.
 */
import { TAI64N_BYTES } from "./constants.ts";

const TAI_UNIX_EPOCH = 0x4000_0000_0000_000an;
const NANOSECONDS_STEP = 1 << 24;
const NANOSECONDS_PER_SECOND = 1_000_000_000;

/** The stamp of a Unix time, or the next greater one if that is not greater than `last`. */
export function nextStamp(unixMs: number, last: Uint8Array | undefined): Uint8Array {
  const stamp = stampOf(unixMs);
  if (last === undefined || isGreaterStamp(stamp, last)) return stamp;
  return successor(last);
}

export function stampOf(unixMs: number): Uint8Array {
  const seconds = Math.floor(unixMs / 1000);
  const nanoseconds = Math.floor((unixMs - seconds * 1000) * 1_000_000);
  return encode(TAI_UNIX_EPOCH + BigInt(seconds), nanoseconds - (nanoseconds % NANOSECONDS_STEP));
}

/** Compares the 12 bytes as one big-endian number; nothing else about a received stamp matters. */
export function isGreaterStamp(stamp: Uint8Array, than: Uint8Array): boolean {
  for (let i = 0; i < TAI64N_BYTES; i++) {
    const difference = (stamp[i] ?? 0) - (than[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

function successor(stamp: Uint8Array): Uint8Array {
  const view = new DataView(stamp.buffer, stamp.byteOffset, stamp.length);
  const nanoseconds = view.getUint32(8) + NANOSECONDS_STEP;
  return nanoseconds < NANOSECONDS_PER_SECOND
    ? encode(view.getBigUint64(0), nanoseconds)
    : encode(view.getBigUint64(0) + 1n, 0);
}

function encode(seconds: bigint, nanoseconds: number): Uint8Array {
  const stamp = new Uint8Array(TAI64N_BYTES);
  const view = new DataView(stamp.buffer);
  view.setBigUint64(0, seconds);
  view.setUint32(8, nanoseconds);
  return stamp;
}
