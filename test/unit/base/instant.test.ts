import { describe, expect, it } from "vitest";
import { after as deadline, earliest, instant } from "../../../src/base/index.ts";

describe("instants", () => {
  it("D-14: a deadline is a whole millisecond, and never early", () => {
    expect(deadline(instant(1_000), 250)).toBe(1_250);
    expect(deadline(instant(1_000), 250.25)).toBe(1_251);
    expect(deadline(instant(1_000), 0)).toBe(1_000);
    expect(deadline(instant(1_000), Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });

  it("D-14: the earliest of several; what is not set does not count", () => {
    expect(earliest(undefined, instant(5), instant(3))).toBe(3);
    expect(earliest(undefined)).toBeUndefined();
  });
});
