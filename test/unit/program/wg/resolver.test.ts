import { expect, it } from "vitest";
import { retryDelayMs } from "../../../../src/program/wg/resolver.ts";

it("WG-63: names are asked for again after 1, 2, 4 … 30 s", () => {
  expect([1, 2, 3, 4, 5, 6, 7, 100].map(retryDelayMs)).toEqual([
    1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
  ]);
});
