import { expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { backOff, createRoundTrip, learn } from "../../../src/tcp/round-trip.ts";

const LIMITS = { rtoMinMs: 200, rtoMaxMs: 60_000 };

it("PG-127: before anything is timed the RTO is 1 s; the first sample R gives R + 4 × R/2 (RFC 6298 §2.1, §2.2)", () => {
  const rtt = createRoundTrip();
  expect(rtt.rtoMs).toBe(1_000);
  learn(rtt, instant(0), 100, LIMITS);
  expect(rtt).toMatchObject({ smoothedMs: 100, varianceMs: 50, rtoMs: 300 });
});

it("PG-127: each further one moves the variance by a quarter, then the mean by an eighth (§2.3)", () => {
  const rtt = createRoundTrip();
  learn(rtt, instant(0), 100, LIMITS);
  learn(rtt, instant(1), 180, LIMITS);
  expect(rtt).toMatchObject({ varianceMs: 57.5, smoothedMs: 110, rtoMs: 340 });
});

it("PG-127: between 200 ms and 60 s, twice as long with each time-out (§2.4, §2.5, §5.5)", () => {
  const rtt = createRoundTrip();
  for (let i = 0; i < 50; i++) learn(rtt, instant(i), 1, LIMITS);
  expect(rtt.rtoMs).toBe(200);
  const seen = Array.from({ length: 10 }, () => {
    backOff(rtt, LIMITS.rtoMaxMs);
    return rtt.rtoMs;
  });
  expect(seen).toEqual([400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000]);
  learn(rtt, instant(60), 90_000, LIMITS);
  expect(rtt.rtoMs).toBe(60_000);
});

it("PG-127: the least round trip is of the last five minutes (RFC 8985 §6.2)", () => {
  const rtt = createRoundTrip();
  learn(rtt, instant(0), 10, LIMITS);
  learn(rtt, instant(1_000), 50, LIMITS);
  expect(rtt.leastMs).toBe(10);
  learn(rtt, instant(301_000), 40, LIMITS);
  expect(rtt.leastMs).toBe(40);
});
