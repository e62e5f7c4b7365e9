/**
 * The handshake's primitives on `node:crypto` where that is faster than @noble (D-18): X25519 by a
 * factor of ten to thirty, BLAKE2s by two. What OpenSSL does not offer to Node (keyed BLAKE2s,
 * XChaCha20) and what costs more to call than to compute (its HMAC, short AEADs) is done otherwise.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  getHashes,
  hash as hashAtOnce,
  type KeyObject,
  randomFillSync,
} from "node:crypto";
import type { Random } from "../base/index.ts";
import { type HandshakeCrypto, type KeyPair, NOBLE_SYMMETRIC } from "../wireguard/index.ts";

/** DER in front of a raw private key: PKCS #8 with OID 1.3.101.110 (RFC 8410 §7). */
const PRIVATE_KEY_HEADER = Uint8Array.of(
  0x30,
  0x2e,
  0x02,
  0x01,
  0x00,
  0x30,
  0x05,
  0x06,
  0x03,
  0x2b,
  0x65,
  0x6e,
  0x04,
  0x22,
  0x04,
  0x20,
);
const HASH_NAME = "blake2s256";
/** The longest of a handshake: a pad, and a message that is hashed with it. */
const CRYPTO_SCRATCH_BYTES = 256;
const HMAC_BLOCK_BYTES = 64;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

export function createNodeCrypto(): HandshakeCrypto {
  // A build of OpenSSL without BLAKE2s is possible; noble's is the same function, only slower.
  const hashes = getHashes().includes(HASH_NAME) ? { hash, hmac } : {};
  return { ...NOBLE_SYMMETRIC, ...hashes, keyPair, ephemeral };
}

/** Parts are joined here: one call for the whole costs two thirds of a call for each. */
const scratch = new Uint8Array(CRYPTO_SCRATCH_BYTES);

function hash(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) {
    if (length + part.length > CRYPTO_SCRATCH_BYTES) return hashInParts(parts);
    scratch.set(part, length);
    length += part.length;
  }
  const result = hashAtOnce(HASH_NAME, scratch.subarray(0, length), "buffer");
  scratch.fill(0, 0, length);
  return result;
}

function hashInParts(parts: readonly Uint8Array[]): Uint8Array {
  const digest = createHash(HASH_NAME);
  for (const part of parts) digest.update(part);
  return digest.digest();
}

/** RFC 2104 by hand: two plain hashes cost a third of what `createHmac` does. Keys are 32 bytes. */
function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const inner = new Uint8Array(HMAC_BLOCK_BYTES).fill(INNER_PAD);
  const outer = new Uint8Array(HMAC_BLOCK_BYTES).fill(OUTER_PAD);
  for (const [i, byte] of key.entries()) {
    inner[i] = byte ^ INNER_PAD;
    outer[i] = byte ^ OUTER_PAD;
  }
  const result = hash(outer, hash(inner, ...parts));
  inner.fill(0);
  outer.fill(0);
  return result;
}

function keyPair(privateKey: Uint8Array): KeyPair {
  const der = Buffer.concat([PRIVATE_KEY_HEADER, privateKey]);
  const imported = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  privateKey.fill(0);
  return pairOf(imported);
}

/** OpenSSL's own generator: importing a key takes Node 20 seven times as long as making one. */
function ephemeral(): KeyPair {
  return pairOf(generateKeyPairSync("x25519").privateKey);
}

function pairOf(object: KeyObject): KeyPair {
  let privateKey: KeyObject | undefined = object;
  return {
    publicKey: Uint8Array.from(Buffer.from(object.export({ format: "jwk" }).x ?? "", "base64url")),
    dh(publicKey) {
      if (privateKey === undefined) return undefined;
      try {
        return diffieHellman({ privateKey, publicKey: publicKeyObject(publicKey) });
      } catch {
        // OpenSSL refuses a result of zeros, and nothing else about two keys of 32 bytes.
        return undefined;
      }
    },
    // OpenSSL overwrites the key when the last reference to it is collected.
    erase() {
      privateKey = undefined;
    },
  };
}

/** Key objects of public keys that are used again: those of peers, which live as long as their array. */
const publicKeys = new WeakMap<Uint8Array, KeyObject>();

function publicKeyObject(raw: Uint8Array): KeyObject {
  const known = publicKeys.get(raw);
  if (known !== undefined) return known;
  const x = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString("base64url");
  const imported = createPublicKey({ key: { kty: "OKP", crv: "X25519", x }, format: "jwk" });
  publicKeys.set(raw, imported);
  return imported;
}

/** The system's generator: the source of all keys (TS-6). */
export const NODE_RANDOM: Random = { fill: (bytes) => randomFillSync(bytes) };
