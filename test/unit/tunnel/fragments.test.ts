/** Fragments at control: they go as their first one, wait for it within bounds, and are nobody's else (TN-112). */
import { describe, expect, it } from "vitest";
import { after, instant } from "../../../src/base/index.ts";
import type { FragmentOf } from "../../../src/packet/index.ts";
import { createFragments } from "../../../src/tunnel/fragments.ts";

const START = instant(1_000_000);
const at = (ms: number) => after(START, ms);
const later = (n: number): FragmentOf => ({ datagram: `d${n}`, isLater: true });
const first = (n: number): FragmentOf => ({ datagram: `d${n}`, isLater: false });
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe("fragments that control has", () => {
  it("TN-112: later ones wait for their first, and go behind it in the order in which they came", () => {
    const fragments = createFragments<string>();
    for (const n of [1, 2]) expect(fragments.keep(at(n), "a", later(7), bytes(n))).toBe(true);
    fragments.keep(at(3), "a", later(8), bytes(8));
    expect(fragments.decide(at(4), "a", first(7), "pass")).toEqual([bytes(1), bytes(2)]);
    expect(fragments.fateOf(at(5), later(7))).toBe("pass");
    expect(fragments.fateOf(at(5), later(8))).toBeUndefined();
  });

  it("TN-112: for 200 ms, not longer; none that waits wakes anybody", () => {
    const fragments = createFragments<string>();
    expect(fragments.pollTimeout()).toBeUndefined();
    fragments.keep(START, "a", later(7), bytes(1));
    fragments.keep(at(10), "a", later(7), bytes(2));
    fragments.keep(at(50), "a", later(8), bytes(3));
    expect(fragments.pollTimeout()).toBe(at(200));
    expect(fragments.handleTimeout(at(199))).toBe(0);
    expect(fragments.handleTimeout(at(200))).toBe(2);
    expect(fragments.pollTimeout()).toBe(at(250));
    expect(fragments.decide(at(201), "a", first(7), "pass")).toEqual([]);
    expect(fragments.handleTimeout(at(250))).toBe(1);
    expect(fragments.pollTimeout()).toBeUndefined();
  });

  it("TN-112: what became of a first is known for 30 s, and no longer than its decision holds", () => {
    const fragments = createFragments<string>();
    fragments.decide(START, "a", first(7), "pass");
    fragments.decide(START, "b", first(8), "drop");
    expect(fragments.fateOf(at(29_999), later(7))).toBe("pass");
    expect(fragments.fateOf(at(30_000), later(7))).toBeUndefined();
    fragments.forget("a");
    expect([later(7), later(8)].map((one) => fragments.fateOf(START, one))).toEqual([undefined, "drop"]);
    fragments.forget();
    expect(fragments.fateOf(START, later(8))).toBeUndefined();
  });

  it("TN-112: of one peer 64 wait, with 64 KiB; others' wait all the same", () => {
    const fragments = createFragments<string>();
    const kept = Array.from({ length: 70 }, (_, n) => fragments.keep(START, "a", later(n), bytes(n)));
    expect(kept.filter((isKept) => isKept)).toHaveLength(64);
    expect(fragments.keep(START, "b", later(100), new Uint8Array(65_536))).toBe(true);
    expect(fragments.keep(START, "b", later(101), bytes(1))).toBe(false);
    // Room comes back with what goes.
    fragments.decide(START, "a", first(0), "pass");
    expect(fragments.keep(START, "a", later(101), bytes(1))).toBe(true);
    expect(fragments.handleTimeout(at(200))).toBe(65);
    expect(fragments.keep(at(200), "b", later(102), new Uint8Array(65_536))).toBe(true);
  });

  it("TN-112: of all peers together 1,024 wait, with 1 MiB", () => {
    const fragments = createFragments<string>();
    const kept = (length: number, count: number) =>
      Array.from({ length: count }, (_, n) =>
        fragments.keep(START, `p${n}`, later(n), new Uint8Array(length)),
      ).filter((isKept) => isKept).length;
    expect(kept(1, 1100)).toBe(1024);
    fragments.handleTimeout(at(200));
    expect(kept(65_536, 20)).toBe(16);
  });

  it("TN-112: of one peer 256 firsts are known, of all 4,096; the oldest goes", () => {
    const fragments = createFragments<number>();
    for (let n = 0; n < 257; n++) fragments.decide(START, "a", first(n), n);
    expect([0, 1, 256].map((n) => fragments.fateOf(START, later(n)))).toEqual([undefined, 1, 256]);
    for (let n = 0; n < 4_096; n++) fragments.decide(START, `p${n}`, first(1_000 + n), n);
    expect(fragments.fateOf(START, later(256))).toBeUndefined();
    expect(fragments.fateOf(START, later(1_000))).toBe(0);
  });
});
