import { uptime } from "node:os";
import { expect, it } from "vitest";
import { openKernel } from "../../../bindings/linux/index.ts";
import { readClock } from "../../../src/host/index.ts";

it("D-14: the clock counts milliseconds since boot and never runs backwards", () => {
  const kernel = openKernel();
  // The runtime's own figure has the resolution of a hundredth of a second.
  const before = readClock(kernel);
  const sinceBootMs = uptime() * 1000;
  expect(sinceBootMs).toBeGreaterThan(before - 20);
  expect(sinceBootMs).toBeLessThan(readClock(kernel) + 20);
  let last = before;
  for (let i = 0; i < 1000; i++) {
    const now = readClock(kernel);
    expect(Number.isInteger(now)).toBe(true);
    expect(now).toBeGreaterThanOrEqual(last);
    last = now;
  }
});
