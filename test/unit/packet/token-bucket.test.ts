import { expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { createTokenBucket } from "../../../src/packet/token-bucket.ts";

it("gives its burst at once, then one token per period, never more than the burst", () => {
  const bucket = createTokenBucket({ ratePerSecond: 100, burst: 3 });
  const takes = (now: number, count: number) =>
    Array.from({ length: count }, () => bucket.take(instant(now)));
  expect(takes(0, 4)).toEqual([true, true, true, false]);
  expect(takes(9, 1)).toEqual([false]);
  expect(takes(10, 2)).toEqual([true, false]);
  expect(takes(60_000, 4)).toEqual([true, true, true, false]);
});
