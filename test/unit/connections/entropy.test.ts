import { describe, expect, it } from "vitest";
import { concatBytes, toHex } from "../../../src/base/index.ts";
import { createEntropy } from "../../../src/connections/entropy.ts";
import fc from "../../lib/property.ts";

const SEED = new Uint8Array(32).fill(1);

describe("SN-66: the randomness of connections", () => {
  it("depends on the seed alone, not on how it is drawn", () => {
    const whole = createEntropy(SEED).fill(new Uint8Array(5000));
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }), (lengths) => {
        const entropy = createEntropy(SEED);
        const parts = lengths.map((length) => entropy.fill(new Uint8Array(length)));
        const drawn = concatBytes(...parts).subarray(0, 5000);
        expect(toHex(drawn)).toBe(toHex(whole.subarray(0, drawn.length)));
      }),
    );
  });

  it("differs with every bit of the seed, does not repeat, and leaves the seed alone", () => {
    const seed = SEED.slice();
    const first = toHex(createEntropy(seed).fill(new Uint8Array(3000)));
    expect(seed).toEqual(SEED);
    const flipped = SEED.slice();
    flipped[31] = 0;
    expect(toHex(createEntropy(flipped).fill(new Uint8Array(3000)))).not.toBe(first);
    const blocks = first.match(/.{64}/g) ?? [];
    expect(new Set(blocks).size).toBe(blocks.length);
  });

  it("refuses a seed of another length", () => {
    expect(() => createEntropy(new Uint8Array(31))).toThrow("32 bytes");
  });
});
