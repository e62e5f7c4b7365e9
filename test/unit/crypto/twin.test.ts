import { createCipheriv } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { describe, expect, test } from "vitest";
import fc from "../../lib/property.ts";
import vectors from "../../vectors/rfc8439.json" with { type: "json" };
import { chacha, chachaBlock, oneTimeKeyOf, poly1305, seal } from "./twin.ts";

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (array: Uint8Array) => Buffer.from(array).toString("hex");

describe("D-4: the twin of the AEAD is RFC 8439", () => {
  test("§2.3.2: block function", () => {
    const { key, nonce, counter, keystream } = vectors.block;
    expect(hex(chachaBlock(bytes(key), bytes(nonce), counter))).toBe(keystream);
  });

  test("§2.4.2: encryption from block 1", () => {
    const { key, nonce, counter, plaintext, ciphertext } = vectors.cipher;
    expect(hex(chacha(bytes(key), bytes(nonce), counter, bytes(plaintext)))).toBe(ciphertext);
  });

  test("§2.6.2: one-time key", () => {
    const { key, nonce, oneTimeKey } = vectors.oneTimeKey;
    expect(hex(oneTimeKeyOf(bytes(key), bytes(nonce)))).toBe(oneTimeKey);
  });

  test.each(vectors.macs)("Poly1305, $name", ({ key, text, tag }) => {
    expect(hex(poly1305(bytes(key), bytes(text)))).toBe(tag);
  });

  test("§2.8.2: AEAD with associated data", () => {
    const { key, nonce, aad, plaintext, ciphertext, tag } = vectors.aead;
    expect(hex(seal(bytes(key), bytes(nonce), bytes(plaintext), bytes(aad)))).toBe(ciphertext + tag);
  });

  test("agrees with OpenSSL and noble on any key, nonce, text and associated data", () => {
    const array = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
    fc.assert(
      fc.property(array(32, 32), array(12, 12), array(0, 300), array(0, 40), (key, nonce, text, aad) => {
        const ours = hex(seal(key, nonce, text, aad));
        const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 });
        cipher.setAAD(aad, { plaintextLength: text.length });
        expect(ours).toBe(hex(Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])));
        expect(ours).toBe(hex(chacha20poly1305(key, nonce, aad).encrypt(text)));
      }),
      { numRuns: 150 },
    );
  });
});
