/**
 * The primitives of the handshake behind one small interface (WG-1 to WG-3, D-18).
 *
 * This file and `noble-crypto.ts` are the portable implementation on @noble; the fast one on
 * `node:crypto` is `src/program/crypto-node.ts`. Both are compared with each other and with the vectors.
 */
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hmac } from "@noble/hashes/hmac.js";
import { concatBytes, type Random } from "../base/index.ts";
import { MAC_BYTES } from "./constants.ts";

export interface HandshakeCrypto {
  /** BLAKE2s-256 of the parts in a row. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
  /** Keyed BLAKE2s with 16 bytes of output. */
  mac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** RFC 2104 HMAC over BLAKE2s-256: not keyed BLAKE2s (WG-1). */
  hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;
  /** Takes `privateKey` over: it must not be used afterwards, and `erase` overwrites it. */
  keyPair(privateKey: Uint8Array): KeyPair;
  /** A new key pair, from `random` unless the implementation has a generator that no code of ours sees. */
  ephemeral(random: Random): KeyPair;
  /** ChaCha20-Poly1305 with a 12-byte nonce: ciphertext and tag. */
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, data: Uint8Array): Uint8Array;
  /** `undefined` when the tag is wrong. */
  open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined;
  /** XChaCha20-Poly1305 with a 24-byte nonce. */
  sealX(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, data: Uint8Array): Uint8Array;
  openX(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, data: Uint8Array): Uint8Array | undefined;
}

/** An X25519 key pair (RFC 7748). An object, because importing a key costs as much as using it. */
export interface KeyPair {
  readonly publicKey: Uint8Array;
  /** Diffie-Hellman; `undefined` when the result is 32 zero bytes (WG-6). */
  dh(publicKey: Uint8Array): Uint8Array | undefined;
  /** Overwrites the private key (WG-27). */
  erase(): void;
}

/** All but X25519, whose module takes 25 ms to load and which every runtime has by itself (G-15). */
export const NOBLE_SYMMETRIC: Omit<HandshakeCrypto, "keyPair" | "ephemeral"> = {
  hash: (...parts) => blake2s(joined(parts)),
  mac: (key, ...parts) => blake2s(joined(parts), { key, dkLen: MAC_BYTES }),
  hmac: (key, ...parts) => hmac(blake2s, key, joined(parts)),
  seal: (key, nonce, plaintext, data) => chacha20poly1305(key, nonce, data).encrypt(plaintext),
  open: (key, nonce, sealed, data) => opened(() => chacha20poly1305(key, nonce, data).decrypt(sealed)),
  sealX: (key, nonce, plaintext, data) => xchacha20poly1305(key, nonce, data).encrypt(plaintext),
  openX: (key, nonce, sealed, data) => opened(() => xchacha20poly1305(key, nonce, data).decrypt(sealed)),
};

/** KDF1 of WG-2. */
export function kdf1(crypto: HandshakeCrypto, key: Uint8Array, input: Uint8Array): Uint8Array {
  const secret = crypto.hmac(key, input);
  const first = crypto.hmac(secret, Uint8Array.of(1));
  secret.fill(0);
  return first;
}

/** KDF2 of WG-2. */
export function kdf2(
  crypto: HandshakeCrypto,
  key: Uint8Array,
  input: Uint8Array,
): readonly [Uint8Array, Uint8Array] {
  const secret = crypto.hmac(key, input);
  const first = crypto.hmac(secret, Uint8Array.of(1));
  const second = crypto.hmac(secret, first, Uint8Array.of(2));
  secret.fill(0);
  return [first, second];
}

/** KDF3 of WG-2. */
export function kdf3(
  crypto: HandshakeCrypto,
  key: Uint8Array,
  input: Uint8Array,
): readonly [Uint8Array, Uint8Array, Uint8Array] {
  const secret = crypto.hmac(key, input);
  const first = crypto.hmac(secret, Uint8Array.of(1));
  const second = crypto.hmac(secret, first, Uint8Array.of(2));
  const third = crypto.hmac(secret, second, Uint8Array.of(3));
  secret.fill(0);
  return [first, second, third];
}

/** The nonce of WG-3: four zero bytes and the counter, little-endian. */
export function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, counter, true);
  return nonce;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [only, ...rest] = parts;
  return only !== undefined && rest.length === 0 ? only : concatBytes(...parts);
}

function opened(decrypt: () => Uint8Array): Uint8Array | undefined {
  try {
    return decrypt();
  } catch {
    // noble reports a wrong tag by throwing; lengths were checked before.
    return undefined;
  }
}
