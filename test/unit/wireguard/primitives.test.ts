/** The two back ends of the handshake's cryptography are the same functions (D-18). */

import { describe, expect, it } from "vitest";
import { createSeededRandom, fromHex, toHex } from "../../../src/base/index.ts";
import { createNodeCrypto } from "../../../src/program/crypto-node.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import { type HandshakeCrypto, kdf1, kdf2, kdf3 } from "../../../src/wireguard/primitives.ts";
import fc from "../../lib/property.ts";

const NODE_CRYPTO = createNodeCrypto();
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const parts = fc.array(fc.uint8Array({ maxLength: 150 }), { maxLength: 4 });

describe("D-18: noble and node:crypto agree", () => {
  it("on hashes, MACs, HMACs and key derivation", () => {
    fc.assert(
      fc.property(key, parts, (secret, inputs) => {
        expect(toHex(NODE_CRYPTO.hash(...inputs))).toBe(toHex(NOBLE_CRYPTO.hash(...inputs)));
        expect(toHex(NODE_CRYPTO.mac(secret, ...inputs))).toBe(toHex(NOBLE_CRYPTO.mac(secret, ...inputs)));
        expect(toHex(NODE_CRYPTO.hmac(secret, ...inputs))).toBe(toHex(NOBLE_CRYPTO.hmac(secret, ...inputs)));
        const input = inputs[0] ?? new Uint8Array(0);
        expect(kdf3(NODE_CRYPTO, secret, input).map(toHex)).toEqual(
          kdf3(NOBLE_CRYPTO, secret, input).map(toHex),
        );
      }),
      { numRuns: 200 },
    );
  });

  it("on X25519", () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        const theirs = NOBLE_CRYPTO.keyPair(b.slice()).publicKey;
        const [noble, node] = [NOBLE_CRYPTO.keyPair(a.slice()), NODE_CRYPTO.keyPair(a.slice())];
        expect(toHex(node.publicKey)).toBe(toHex(noble.publicKey));
        expect(toHex(node.dh(theirs) ?? new Uint8Array(0))).toBe(
          toHex(noble.dh(theirs) ?? new Uint8Array(0)),
        );
      }),
      { numRuns: 40 },
    );
  });
});

describe.each([
  ["noble", NOBLE_CRYPTO],
  ["node", NODE_CRYPTO],
] as readonly (readonly [string, HandshakeCrypto])[])("%s", (_name, crypto) => {
  it("WG-2: KDF1, KDF2 and KDF3 begin alike", () => {
    const [secret, input] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
    const three = kdf3(crypto, secret, input).map(toHex);
    expect(kdf2(crypto, secret, input).map(toHex)).toEqual(three.slice(0, 2));
    expect(toHex(kdf1(crypto, secret, input))).toBe(three[0]);
    expect(new Set(three).size).toBe(3);
  });

  it("WG-1: BLAKE2s and X25519 of their RFCs", () => {
    // RFC 7693 appendix B.
    expect(toHex(crypto.hash(new TextEncoder().encode("abc")))).toBe(
      "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
    );
    // RFC 7748 §6.1.
    const alice = crypto.keyPair(bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
    expect(toHex(alice.publicKey)).toBe("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    const bob = bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    expect(toHex(alice.dh(bob) ?? new Uint8Array(0))).toBe(
      "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
    );
  });

  it("WG-27: new pairs differ, agree with another's, and give nothing once they are erased", () => {
    const random = createSeededRandom(27);
    const [a, b] = [crypto.ephemeral(random), crypto.ephemeral(random)];
    expect(toHex(a.publicKey)).not.toBe(toHex(b.publicKey));
    expect(toHex(a.dh(b.publicKey) ?? new Uint8Array(0))).toBe(toHex(b.dh(a.publicKey) ?? new Uint8Array(1)));
    const shared = toHex(a.dh(b.publicKey) ?? new Uint8Array(0));
    a.erase();
    expect(toHex(a.dh(b.publicKey) ?? new Uint8Array(0))).not.toBe(shared);
  });

  it("WG-6: points of low order give no secret", () => {
    const pair = crypto.keyPair(new Uint8Array(32).fill(7));
    for (const point of [
      "00".repeat(32),
      `01${"00".repeat(31)}`,
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    ]) {
      expect(pair.dh(bytes(point)), point).toBeUndefined();
    }
  });

  it("WG-27: an erased pair gives nothing", () => {
    const other = crypto.keyPair(new Uint8Array(32).fill(8)).publicKey;
    const secret = new Uint8Array(32).fill(9);
    const pair = crypto.keyPair(secret);
    const before = toHex(pair.dh(other) ?? new Uint8Array(0));
    pair.erase();
    expect(secret).toEqual(new Uint8Array(32));
    expect(toHex(pair.dh(other) ?? new Uint8Array(0))).not.toBe(before);
  });

  it("WG-3: a changed tag, text or additional data does not open", () => {
    const [k, nonce, xnonce] = [new Uint8Array(32).fill(1), new Uint8Array(12), new Uint8Array(24)];
    const [text, data] = [bytes("0102030405"), bytes("aabb")];
    const sealed = crypto.seal(k, nonce, text, data);
    const sealedX = crypto.sealX(k, xnonce, text, data);
    expect(crypto.open(k, nonce, sealed, data)).toEqual(text);
    expect(crypto.openX(k, xnonce, sealedX, data)).toEqual(text);
    for (let at = 0; at < sealed.length; at++) {
      const [broken, brokenX] = [sealed.slice(), sealedX.slice()];
      broken[at] = (broken[at] ?? 0) ^ 1;
      brokenX[at] = (brokenX[at] ?? 0) ^ 1;
      expect(crypto.open(k, nonce, broken, data)).toBeUndefined();
      expect(crypto.openX(k, xnonce, brokenX, data)).toBeUndefined();
    }
    expect(crypto.open(k, nonce, sealed, bytes("aabc"))).toBeUndefined();
  });
});

function bytes(hex: string): Uint8Array {
  const value = fromHex(hex);
  if (value === undefined) throw new Error(`not hexadecimal: ${hex}`);
  return value;
}
