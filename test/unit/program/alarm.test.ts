import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createAlarm } from "../../../src/program/shell/index.ts";

describe("the alarm of a control loop (PG-52)", () => {
  let rings: number[];
  const alarm = () => createAlarm(() => void rings.push(performance.now() - startedAt));
  let startedAt = 0;
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setImmediate", "clearImmediate", "performance"],
    });
    rings = [];
    startedAt = performance.now();
  });
  afterEach(() => void vi.useRealTimers());

  it("PG-52: rings once, and no later than it was last told to", () => {
    const { ringIn } = alarm();
    ringIn(50);
    ringIn(20);
    vi.advanceTimersByTime(1_000);
    expect(rings).toEqual([20]);
  });

  it("PG-52: one set for later leaves an earlier timer as it is, which asks for the rest when it rings", () => {
    const { ringIn } = alarm();
    ringIn(20);
    vi.advanceTimersByTime(10);
    ringIn(20);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(10);
    expect(rings).toEqual([20]);
    ringIn(10);
    vi.advanceTimersByTime(1_000);
    expect(rings).toEqual([20, 30]);
  });

  it("PG-52: nothing rings when nothing is to come, or after the end", () => {
    const { ringIn, ringSoon, stop } = alarm();
    ringIn(20);
    ringIn(undefined);
    vi.advanceTimersByTime(1_000);
    ringIn(20);
    ringSoon();
    stop();
    ringIn(20);
    vi.advanceTimersByTime(1_000);
    expect([rings, vi.getTimerCount()]).toEqual([[], 0]);
  });
});
