import { uptime } from "node:os";
import { expect, it } from "vitest";
import { openKernel } from "../../../bindings/linux/index.ts";
import { readClock } from "../../../src/host/index.ts";

it("D-14: the clock counts milliseconds since boot and never runs backwards", () => {
  const kernel = openKernel();
  const before = readClock(kernel);
  // The runtime's own figure has the resolution of a hundredth of a second.
  expect(Math.abs(before - uptime() * 1000)).toBeLessThan(200);
  let last = before;
  for (let i = 0; i < 1000; i++) {
    const now = readClock(kernel);
    expect(Number.isInteger(now)).toBe(true);
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
});
