/** The machine's only source of randomness: ChaCha20 over its seed, drawn in call order (SN-66). */
import { chacha20 } from "@noble/ciphers/chacha.js";
import { assert, type Random } from "../base/index.ts";

const SEED_BYTES = 32;
const STREAM_BYTES = 1_024;

/**
 * Each key makes one stream; its first 32 bytes are the next key. What was drawn before cannot be
 * found in memory afterwards.
 */
export function createEntropy(seed: Uint8Array): Random {
  assert(seed.length === SEED_BYTES, "the seed has 32 bytes");
  const nonce = new Uint8Array(12);
  const key = seed.slice();
  let left: Uint8Array = new Uint8Array(0);

  function refill(): void {
    const stream = chacha20(key, nonce, new Uint8Array(STREAM_BYTES));
    key.set(stream.subarray(0, SEED_BYTES));
    left = stream.subarray(SEED_BYTES);
  }

  return {
    fill(bytes) {
      for (let offset = 0; offset < bytes.length; ) {
        if (left.length === 0) refill();
        const taken = left.subarray(0, bytes.length - offset);
        bytes.set(taken, offset);
        taken.fill(0);
        left = left.subarray(taken.length);
        offset += taken.length;
      }
      return bytes;
    },
  };
}
