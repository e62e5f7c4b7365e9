/**
 * The scalar twin of the AEAD's variants: ChaCha20-Poly1305 in RFC 8439's words, with associated data.
 *
 * Slow and obvious on purpose; not shipped (D-4). Comments name the section that a step comes from.
 */

const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574] as const;
const P = (1n << 130n) - 5n;
const R_CLAMP = 0x0ffffffc0ffffffc0ffffffc0fffffffn;

/** §2.3: 64 bytes of keystream. */
export function chachaBlock(key: Uint8Array, nonce: Uint8Array, counter: number): Uint8Array {
  const initial = Uint32Array.from([...SIGMA, ...words(key), counter, ...words(nonce)]);
  const state = initial.slice();
  for (let i = 0; i < 10; i++) {
    quarterRound(state, 0, 4, 8, 12);
    quarterRound(state, 1, 5, 9, 13);
    quarterRound(state, 2, 6, 10, 14);
    quarterRound(state, 3, 7, 11, 15);
    quarterRound(state, 0, 5, 10, 15);
    quarterRound(state, 1, 6, 11, 12);
    quarterRound(state, 2, 7, 8, 13);
    quarterRound(state, 3, 4, 9, 14);
  }
  const keystream = new DataView(new ArrayBuffer(64));
  for (let i = 0; i < 16; i++) keystream.setUint32(4 * i, at(state, i) + at(initial, i), true);
  return new Uint8Array(keystream.buffer);
}

/** §2.4: encrypts, and decrypts, from block `counter` on. */
export function chacha(key: Uint8Array, nonce: Uint8Array, counter: number, input: Uint8Array): Uint8Array {
  const output = new Uint8Array(input.length);
  for (let start = 0; start < input.length; start += 64) {
    const keystream = chachaBlock(key, nonce, counter + start / 64);
    for (let i = start; i < Math.min(start + 64, input.length); i++) {
      output[i] = at(input, i) ^ at(keystream, i - start);
    }
  }
  return output;
}

/** §2.5: the tag of `text` under a one-time key of 32 bytes. */
export function poly1305(oneTimeKey: Uint8Array, text: Uint8Array): Uint8Array {
  const r = toBigInt(oneTimeKey.subarray(0, 16)) & R_CLAMP;
  const s = toBigInt(oneTimeKey.subarray(16));
  let accumulator = 0n;
  for (let start = 0; start < text.length; start += 16) {
    const block = text.subarray(start, start + 16);
    const highBit = 1n << BigInt(8 * block.length);
    accumulator = ((accumulator + toBigInt(block) + highBit) * r) % P;
  }
  const tag = accumulator + s;
  return Uint8Array.from({ length: 16 }, (_, i) => Number((tag >> BigInt(8 * i)) & 0xffn));
}

/** §2.8: the tag of `ciphertext` and `aad`, both padded, and their lengths. */
export function aeadTag(oneTimeKey: Uint8Array, ciphertext: Uint8Array, aad: Uint8Array): Uint8Array {
  const lengths = new DataView(new ArrayBuffer(16));
  lengths.setBigUint64(0, BigInt(aad.length), true);
  lengths.setBigUint64(8, BigInt(ciphertext.length), true);
  return poly1305(
    oneTimeKey,
    concat(aad, padding(aad), ciphertext, padding(ciphertext), new Uint8Array(lengths.buffer)),
  );
}

/** §2.6: the first half of block 0. */
export function oneTimeKeyOf(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  return chachaBlock(key, nonce, 0).subarray(0, 32);
}

/** §2.8: ciphertext and tag. */
export function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const ciphertext = chacha(key, nonce, 1, plaintext);
  return concat(ciphertext, aeadTag(oneTimeKeyOf(key, nonce), ciphertext, aad));
}

function quarterRound(state: Uint32Array, a: number, b: number, c: number, d: number): void {
  const step = (to: number, from: number, turned: number, bits: number): void => {
    state[to] = at(state, to) + at(state, from);
    const mixed = at(state, turned) ^ at(state, to);
    state[turned] = (mixed << bits) | (mixed >>> (32 - bits));
  };
  step(a, b, d, 16);
  step(c, d, b, 12);
  step(a, b, d, 8);
  step(c, d, b, 7);
}

function words(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
}

function toBigInt(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function padding(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(-bytes.length & 15);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

function at(array: Uint32Array | Uint8Array, i: number): number {
  const value = array[i];
  if (value === undefined) throw new RangeError(`no element ${i}`);
  return value;
}
