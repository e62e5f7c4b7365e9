/**
 * The handshake's primitives on @noble alone (D-18). A file of its own, outside the room's face: a
 * program that has another X25519 need not load this one.
 */
import { x25519 } from "@noble/curves/ed25519.js";
import { randomBytes } from "../base/index.ts";
import { KEY_BYTES } from "./constants.ts";
import { type HandshakeCrypto, type KeyPair, NOBLE_SYMMETRIC } from "./primitives.ts";

export const NOBLE_CRYPTO: HandshakeCrypto = {
  ...NOBLE_SYMMETRIC,
  keyPair,
  ephemeral: (random) => keyPair(randomBytes(random, KEY_BYTES)),
};

function keyPair(privateKey: Uint8Array): KeyPair {
  return {
    publicKey: x25519.getPublicKey(privateKey),
    dh(publicKey) {
      try {
        return x25519.getSharedSecret(privateKey, publicKey);
      } catch {
        // The only thing it throws for, given two 32-byte strings, is a result of zeros.
        return undefined;
      }
    },
    erase: () => privateKey.fill(0),
  };
}
