import { describe, expect, it } from "vitest";
import { createPlainClock } from "../../../../src/program/userspace/plain-clock.ts";

/** A host's clocks, of which the uptime is told in whole seconds. */
function hostClocks() {
  const at = { monotonic: 1_700, wall: 1_700_000_000_000, sinceBoot: 90_900 };
  let reads = 0;
  return {
    sources: {
      monotonicMs: () => at.monotonic,
      wallMs: () => at.wall,
      uptimeMs() {
        reads++;
        return Math.floor(at.sinceBoot / 1_000) * 1_000;
      },
    },
    reads: () => reads,
    run(ms: number) {
      at.monotonic += ms;
      at.wall += ms;
      at.sinceBoot += ms;
    },
    suspend(ms: number) {
      at.wall += ms;
      at.sinceBoot += ms;
    },
    stepWallClock(ms: number) {
      at.wall += ms;
    },
  };
}

describe("the clock of grade `plain` (D-14)", () => {
  it("PG-74: counts the time in which the host was suspended", () => {
    const host = hostClocks();
    const now = createPlainClock(host.sources);
    const begun = now();
    host.suspend(60_000);
    host.run(250);
    expect(now() - begun).toBeGreaterThan(59_000);
    expect(now() - begun).toBeLessThan(61_251);
    const later = now();
    host.run(500);
    expect(now() - later).toBe(500);
  });

  it("PG-74: is no other when somebody sets the wall clock", () => {
    const host = hostClocks();
    const now = createPlainClock(host.sources);
    const begun = now();
    for (const step of [3_600_000, -7_200_000]) {
      host.stepWallClock(step);
      host.run(10);
      expect(now() - begun).toBeGreaterThan(0);
      expect(now() - begun).toBeLessThanOrEqual(20);
    }
  });

  it("PG-74: reads the uptime only when the wall clock has jumped", () => {
    const host = hostClocks();
    const now = createPlainClock(host.sources);
    for (let i = 0; i < 1_000; i++) {
      host.run(1_000);
      now();
    }
    expect(host.reads()).toBe(1);
  });
});
