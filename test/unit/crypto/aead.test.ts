import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Bench, createOracle, findFault, openBench, warmUp } from "../../../bindings/cipher/index.ts";
import { RECORDS } from "../../../bindings/memory/index.ts";
import { createSeededRandom, randomBelow, randomBytes } from "../../../src/base/index.ts";
import { compileVariant, VARIANTS } from "./modules.ts";
import { aeadTag, seal } from "./twin.ts";

const KEY = 0x20_0000;
const NONCE = KEY + 64;
const ONE_TIME_KEY = KEY + 256;
const STATE = KEY + 0x1000;
const OTHER_STATE = KEY + 0x2000;
const SOURCE = KEY + 0x10000;
const SEALED = KEY + 0x20000;

/** PF-50: 0 to 699, every 7th to 1,500, every 23rd to 2,200. */
const LENGTHS = Array.from({ length: 2200 }, (_, i) => i).filter(
  (i) => i < 700 || (i < 1500 && i % 7 === 0) || i % 23 === 0,
);

describe.each(VARIANTS)("AEAD, variant %s", (name) => {
  let bench: Bench;
  const oracle = createOracle();

  beforeAll(() => {
    bench = openBench(compileVariant(name));
  });

  test("PF-50: agrees with OpenSSL on all lengths, before tier-up", () => {
    expect(findFault(bench, oracle, LENGTHS)).toBeUndefined();
  });

  test("PF-50: the same after tier-up", () => {
    warmUp(bench);
    expect(findFault(bench, oracle, LENGTHS)).toBeUndefined();
  });

  test("D-4: agrees with the scalar twin", () => {
    expect(findFault(bench, seal, [0, 1, 63, 64, 65, 192, 193, 448, 449, 1420])).toBeUndefined();
  });

  test("PF-44: no carry is lost with r and text at their extremes", () => {
    for (let length = 0; length < 1500; length += 37) {
      for (const [r, m] of EXTREMES) {
        const text = new Uint8Array(length).fill(m);
        const otk = new Uint8Array(32).fill(r, 0, 16).fill(0xff, 16);
        expect(opens(bench, otk, text, aeadTag(otk, text, new Uint8Array(0)))).toBe(true);
        otk[31] = 0;
        expect(opens(bench, otk, text, aeadTag(otk, text, new Uint8Array(0)))).toBe(true);
      }
    }
  });

  test("PF-44: accumulators from p − 8 to p + 8 are reduced rightly", () => {
    // With r = 1 the accumulator is the sum of all blocks and of 2^128 for each: three, with the lengths'.
    const otk = new Uint8Array(32);
    otk[0] = 1;
    const lengthsBlock = 32n << 64n;
    for (let beyond = -8n; beyond <= 8n; beyond++) {
      const text = new Uint8Array(32);
      text.set(toBytes((1n << 128n) - 5n + beyond - lengthsBlock));
      const tag = toBytes(beyond < 0n ? (1n << 128n) - 5n + beyond : beyond);
      expect(opens(bench, otk, text, tag)).toBe(true);
    }
  });

  test("PF-63: tags deferred in mixed sizes and keys, flushed at random, flushing twice does nothing", () => {
    const random = createSeededRandom(63);
    const sizes = [0, 1, 17, 63, 64, 65, 100, 192, 193, 448, 449, 1280, 1420, 2047];
    for (let run = 0; run < 100; run++) {
      const expected: Uint8Array[] = [];
      for (let i = 0; i < 12; i++) {
        const [key, nonce] = [randomBytes(random, 32), randomBytes(random, 12)];
        const text = randomBytes(random, sizes[randomBelow(random, sizes.length)] ?? 0);
        sealAt(bench, SEALED + 4096 * i, key, nonce, text);
        // The source is free at once.
        bench.bytes.fill(0, SOURCE, SOURCE + text.length);
        expected.push(oracle(key, nonce, text));
        if (randomBelow(random, 4) === 0) bench.aead.aeadFlush(STATE);
      }
      bench.aead.aeadFlush(STATE);
      bench.aead.aeadFlush(STATE);
      for (const [i, sealed] of expected.entries()) expect(isAt(bench, SEALED + 4096 * i, sealed)).toBe(true);
    }
  });

  test("PF-63: before the flush the tag is not there, and an opening elsewhere does not disturb it", () => {
    const [key, nonce, text] = [new Uint8Array(32), new Uint8Array(12), new Uint8Array(1420)];
    bench.bytes.fill(0xaa, SEALED, SEALED + 1436);
    sealAt(bench, SEALED, key, nonce, text);
    const expected = seal(key, nonce, text);
    expect(isAt(bench, SEALED, expected.subarray(0, 1420))).toBe(true);
    expect(bench.bytes.subarray(SEALED + 1420, SEALED + 1436).every((byte) => byte === 0xaa)).toBe(true);
    opens(bench, new Uint8Array(32), text, new Uint8Array(16));
    bench.aead.aeadFlush(STATE);
    expect(isAt(bench, SEALED, expected)).toBe(true);
  });

  test("PF-83: what is kept of a key serves no other key, no other upper half of a nonce and no later block", () => {
    const [key, nonce] = [new Uint8Array(32), new Uint8Array(12)];
    const text = Uint8Array.from({ length: 3000 }, (_, i) => i);
    const check = (length: number) => {
      const expected = seal(key, nonce, text.subarray(0, length));
      sealAt(bench, SEALED, key, nonce, text.subarray(0, length));
      bench.aead.aeadFlush(STATE);
      expect(isAt(bench, SEALED, expected)).toBe(true);
      const opened = SEALED + 4096;
      expect(bench.aead.aeadOpen(KEY, NONCE, SEALED, opened, length, OTHER_STATE, 0)).toBe(1);
      expect(isAt(bench, opened, text.subarray(0, length))).toBe(true);
    };
    for (const state of [STATE, OTHER_STATE]) bench.bytes.fill(0, state, state + bench.aead.aeadStateBytes());
    // A key of zeros, and nothing is kept yet; then with what is kept; then where it was made for later blocks.
    for (const length of [1420, 1280, 3000, 1420]) check(length);
    for (let bit = 0; bit < 44 * 8; bit += 13) {
      const [bytes, at] = bit < 256 ? [key, bit] : [nonce, bit - 256];
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
      check(1420);
    }
  });

  test("PF-83: a key is kept by wide alone, and forgetting leaves nothing of it, but the tag that is due", () => {
    const key = Buffer.from(Array.from({ length: 32 }, (_, i) => 0xa0 + i));
    const [nonce, text] = [new Uint8Array(12), new Uint8Array(1420)];
    const isKept = () => {
      const state = Buffer.from(bench.bytes.slice(STATE, STATE + bench.aead.aeadStateBytes()));
      return state.includes(key.subarray(0, 16)) || state.includes(key.subarray(16));
    };
    sealAt(bench, SEALED, key, nonce, text);
    expect(isKept()).toBe(name === "wide");
    bench.aead.aeadForget(STATE);
    expect(isKept()).toBe(false);
    expect(
      bench.bytes.subarray(STATE + 1344, STATE + bench.aead.aeadStateBytes()).every((byte) => byte === 0),
    ).toBe(true);
    bench.aead.aeadFlush(STATE);
    expect(isAt(bench, SEALED, seal(key, nonce, text))).toBe(true);
    sealAt(bench, SEALED, key, nonce, text);
    bench.aead.aeadFlush(STATE);
    expect(isAt(bench, SEALED, seal(key, nonce, text))).toBe(true);
  });

  test("PF-65, PF-81: makes eight keys at a time, the first blocks of four short messages, or nothing", () => {
    const lanes = [0, 64, 65, 192, 193, 1420].map((length) => bench.aead.aeadLanes(length));
    expect(lanes).toEqual(name === "wide" ? [4, 4, 4, 4, 8, 8] : [0, 0, 0, 0, 0, 0]);
    expect(bench.aead.aeadStateBytes()).toBe(2368);
  });

  test("PF-63: the worker's record has room for the state, and for the keys made in advance", () => {
    expect(RECORDS.worker.fields.aead.bytes).toBeGreaterThanOrEqual(bench.aead.aeadStateBytes());
    expect(RECORDS.worker.fields.keysAhead.bytes).toBe(1024);
  });

  afterAll(() => {
    bench.bytes.fill(0, KEY);
  });
});

const EXTREMES = [
  [0xff, 0xff],
  [0xff, 0x00],
  [0x00, 0xff],
  [0xff, 0xfb],
] as const;

/** 16 bytes, little-endian. */
function toBytes(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

/** Whether a message of the given ciphertext and tag is accepted under a one-time key made in advance. */
function opens({ aead, bytes }: Bench, otk: Uint8Array, text: Uint8Array, tag: Uint8Array): boolean {
  // Its halves lie apart: between them are those of the first block (PF-81).
  bytes.set(otk.subarray(0, 16), ONE_TIME_KEY);
  bytes.set(otk.subarray(16), ONE_TIME_KEY + 32);
  bytes.set(text, SOURCE);
  bytes.set(tag, SOURCE + text.length);
  return aead.aeadOpen(KEY, NONCE, SOURCE, SOURCE + 0x4000, text.length, OTHER_STATE, ONE_TIME_KEY) === 1;
}

function sealAt({ aead, bytes }: Bench, at: number, key: Uint8Array, nonce: Uint8Array, text: Uint8Array) {
  bytes.set(key, KEY);
  bytes.set(nonce, NONCE);
  bytes.set(text, SOURCE);
  aead.aeadSeal(KEY, NONCE, SOURCE, at, text.length, STATE, 0);
}

function isAt({ bytes }: Bench, at: number, expected: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(at, at + expected.length), expected) === 0;
}
