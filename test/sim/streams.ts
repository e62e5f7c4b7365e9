/** Random streams of the simulated world: one per purpose, so that none shifts another's draws (TS-6). */
import { sha256 } from "@noble/hashes/sha2.js";
import type { Random } from "../../src/base/index.ts";

/** sfc32, seeded with the first 16 bytes of SHA-256(seed ‖ label). */
export function createStream(seed: number, label: string): Random & { unit(): number } {
  const start = new Uint8Array(4);
  new DataView(start.buffer).setUint32(0, seed);
  const digest = sha256.create().update(start).update(new TextEncoder().encode(label)).digest();
  const words = new DataView(digest.buffer, digest.byteOffset);
  let a = words.getUint32(0);
  let b = words.getUint32(4);
  let c = words.getUint32(8);
  let counter = words.getUint32(12);

  function next(): number {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
  for (let i = 0; i < 12; i++) next();

  return {
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = next() & 0xff;
      return bytes;
    },
    /** Uniform in [0, 1). */
    unit: () => next() / 2 ** 32,
  };
}
