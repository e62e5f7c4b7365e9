/** The plane's BLAKE2s and XChaCha20-Poly1305 against control's, which is an independent library. */

import { describe, expect, it } from "vitest";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import fc from "../../lib/property.ts";
import { loadPacketModule } from "../plane/load.ts";

const { wasm, bytes, free } = loadPacketModule();
const KEY = free;
const NONCE = free + 64;
const ADDITIONAL = free + 128;
const SCRATCH = free + 256;
const OUT = free + 512;
const MESSAGE = free + 1024;
const SCRATCH_BYTES = 160;

const sized = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

describe("MACs of handshakes", () => {
  it("WG-1, D-4: keyed BLAKE2s agrees with its twin on every length of key and message", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 32 }),
        fc.uint8Array({ maxLength: 300, size: "max" }),
        (key, message) => {
          bytes.set(key, KEY);
          bytes.set(message, MESSAGE);
          wasm.macTo(KEY, key.length, MESSAGE, message.length, SCRATCH, OUT);
          expect(bytes.slice(OUT, OUT + 16)).toEqual(Uint8Array.from(NOBLE_CRYPTO.mac(key, message)));
        },
      ),
      { numRuns: 500 },
    );
  });

  it("WG-1: messages at the edges of a block of 64 bytes", () => {
    const key = new Uint8Array(32).fill(7);
    bytes.set(key, KEY);
    for (const length of [0, 1, 63, 64, 65, 116, 127, 128, 129, 132]) {
      const message = Uint8Array.from({ length }, (_, i) => i * 5);
      bytes.set(message, MESSAGE);
      wasm.macTo(KEY, 32, MESSAGE, length, SCRATCH, OUT);
      expect(bytes.slice(OUT, OUT + 16)).toEqual(Uint8Array.from(NOBLE_CRYPTO.mac(key, message)));
    }
  });

  it("WG-33, D-4: a sealed cookie agrees with its twin, carries in Poly1305 included, and leaves no secret", () => {
    const filled = fc.constantFrom(0, 0xff).map((byte) => new Uint8Array(32).fill(byte));
    fc.assert(
      fc.property(
        fc.oneof(sized(32), filled),
        sized(24),
        sized(16),
        sized(16),
        (key, nonce, mac1, cookie) => {
          bytes.set(key, KEY);
          bytes.set(nonce, NONCE);
          bytes.set(mac1, ADDITIONAL);
          bytes.set(cookie, MESSAGE);
          bytes.fill(0xaa, SCRATCH + 144, SCRATCH + SCRATCH_BYTES);
          wasm.sealCookie(KEY, NONCE, ADDITIONAL, MESSAGE, OUT, SCRATCH);
          const expected = NOBLE_CRYPTO.sealX(key, nonce, cookie, mac1);
          expect(bytes.slice(OUT, OUT + 32)).toEqual(Uint8Array.from(expected));
          expect(bytes.slice(SCRATCH, SCRATCH + 144).every((byte) => byte === 0)).toBe(true);
          expect(bytes.slice(SCRATCH + 144, SCRATCH + SCRATCH_BYTES).every((byte) => byte === 0xaa)).toBe(
            true,
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});
