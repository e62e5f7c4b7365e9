import { describe, expect, it } from "vitest";
import { CLOCK_TOLERANCE_MS, createWallClock, instant, unixMs } from "../../../src/base/index.ts";

const UNIX = 1_700_000_000_000;

describe("the wall clock of a machine", () => {
  it("TN-53: turns dates into deadlines, and back", () => {
    const clock = createWallClock(instant(1_000), unixMs(UNIX));
    expect(clock.wallNow(instant(3_000))).toBe(UNIX + 2_000);
    expect(clock.instantOf(unixMs(UNIX + 2_000))).toBe(3_000);
  });

  it.each([
    ["forward", 1],
    ["back", -1],
  ])("TN-53: a step %s counts beyond what two readings of a busy machine differ by", (_, sign) => {
    const clock = createWallClock(instant(0), unixMs(UNIX));
    const at = instant(5_000);
    const told = (byMs: number): boolean => clock.follow(at, unixMs(UNIX + 5_000 + sign * byMs));
    expect(told(CLOCK_TOLERANCE_MS)).toBe(false);
    expect(clock.wallNow(at)).toBe(UNIX + 5_000);
    expect(told(CLOCK_TOLERANCE_MS + 1)).toBe(true);
    expect(clock.wallNow(at)).toBe(UNIX + 5_000 + sign * (CLOCK_TOLERANCE_MS + 1));
  });

  it("TN-53: small steps add up to one that counts", () => {
    const clock = createWallClock(instant(0), unixMs(UNIX));
    const steps = [1, 2, 3].map((n) => clock.follow(instant(n), unixMs(UNIX + n + n * 100)));
    expect(steps).toEqual([false, false, true]);
  });
});
