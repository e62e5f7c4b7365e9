import { describe, expect, it } from "vitest";
import { createUnread } from "../../../../src/program/userspace/unread.ts";

/** Counted up from `from`, so that every octet has its place. */
function octets(length: number, from = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (from + i) % 251);
}

function expectSame(found: Uint8Array, wanted: Uint8Array): void {
  expect(Buffer.compare(found, wanted)).toBe(0);
}

/** Around the bounds of what gets a block, and beyond one. */
const LENGTHS = [1, 0x3fff, 0x4000, 58_000, 0x10000, 0x10001];

describe("octets that nobody has read", () => {
  it("PG-125: come out as they went in, whatever memory the reader brings", () => {
    for (const room of [1_000, 0x4000, 0x20000]) {
      const unread = createUnread();
      const sent = LENGTHS.map((length, i) => octets(length, i));
      for (const bytes of sent) unread.push(bytes);
      const found: Uint8Array[] = [];
      while (!unread.isEmpty()) {
        const into = new Uint8Array(room);
        found.push(into.subarray(0, unread.copyTo(into)));
      }
      expectSame(Buffer.concat(found), Buffer.concat(sent));
    }
  });

  it("PG-125: are copied: who brought them may use the memory again", () => {
    for (const length of LENGTHS) {
      const [unread, lent] = [createUnread(), octets(length)];
      unread.push(lent);
      lent.fill(255);
      expectSame(unread.shift(), octets(length));
    }
  });

  it("PG-125: a piece that was handed over is no other's memory afterwards", () => {
    // A block that is full enough to go itself, and one that stays.
    for (const length of [40_000, 20_000]) {
      const unread = createUnread();
      for (let i = 0; i < 20; i++) {
        unread.push(octets(length, i));
        const kept = unread.shift();
        unread.push(octets(length, i + 1));
        expect(unread.copyTo(new Uint8Array(30_000))).toBe(Math.min(30_000, length));
        unread.push(octets(length, i + 2));
        unread.clear();
        unread.push(octets(length, i + 3));
        expectSame(kept, octets(length, i));
        unread.clear();
      }
      const first = [createUnread(), createUnread()].map((one, i) => {
        one.push(octets(length, i));
        return one.shift();
      });
      expect(first[0]?.buffer).not.toBe(first[1]?.buffer);
    }
  });

  it("PG-125: pieces become one until a block is full, and none has more than twice its octets of memory", () => {
    const unread = createUnread();
    // The first is alone, and short; 50 of them lie together.
    const lengths = [1_240, ...Array<number>(50).fill(1_240), 40_000, 0x4000];
    const sent = lengths.map((length, i) => octets(length, i));
    for (const bytes of sent) unread.push(bytes);
    const found: Uint8Array[] = [];
    while (!unread.isEmpty()) found.push(unread.shift());
    expect(found.map(({ length }) => length)).toEqual([1_240, 0x10000, 118_384 - 0x10000]);
    for (const { length, buffer } of found) expect(buffer.byteLength).toBeLessThanOrEqual(2 * length);
    expectSame(Buffer.concat(found), Buffer.concat(sent));
    for (const length of [0x4000, 0x8000, 0x8001]) {
      unread.push(octets(length));
      expect(unread.shift().buffer.byteLength).toBe(length > 0x8000 ? 0x10000 : length);
    }
  });

  it("PG-125: nothing is left behind the last one, and nothing of nothing", () => {
    const unread = createUnread();
    unread.push(new Uint8Array(0));
    expect(unread.isEmpty()).toBe(true);
    expect(unread.shift()).toEqual(new Uint8Array(0));
    expect(unread.copyTo(new Uint8Array(8))).toBe(0);
  });
});
