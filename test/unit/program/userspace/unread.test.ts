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
    const unread = createUnread();
    for (let i = 0; i < 100; i++) {
      unread.push(octets(20_000, i));
      unread.push(octets(20_000, i + 1));
      const kept = unread.shift();
      expect(unread.copyTo(new Uint8Array(30_000))).toBe(20_000);
      unread.push(octets(20_000, i + 2));
      unread.clear();
      unread.push(octets(20_000, i + 3));
      expectSame(kept, octets(20_000, i));
      unread.clear();
    }
    const first = [createUnread(), createUnread()].map((one, i) => {
      one.push(octets(20_000, i));
      return one.shift();
    });
    expect(first[0]?.buffer).not.toBe(first[1]?.buffer);
  });

  it("PG-125: nothing is left behind the last one, and nothing of nothing", () => {
    const unread = createUnread();
    unread.push(new Uint8Array(0));
    expect(unread.isEmpty()).toBe(true);
    expect(unread.shift()).toEqual(new Uint8Array(0));
    expect(unread.copyTo(new Uint8Array(8))).toBe(0);
  });
});
