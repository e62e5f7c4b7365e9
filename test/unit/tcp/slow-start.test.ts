/** HyStart++ (RFC 9406). */
import { expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { createCongestion, grow } from "../../../src/tcp/congestion.ts";

const MSS = 1_228;
const ACKS = 10;

/** Rounds of ten acknowledgements of a tenth of the window each; returns the growth of each round. */
function rounds(roundTrips: readonly number[]): { growth: number[]; threshold: number } {
  const congestion = createCongestion(MSS);
  const growth: number[] = [];
  let [una, nxt] = [0, congestion.windowBytes];
  let now = 0;
  for (const rttMs of roundTrips) {
    const before = congestion.windowBytes;
    const delivered = Math.floor(before / ACKS);
    now += rttMs;
    for (let i = 0; i < ACKS; i++) {
      una += delivered;
      const flight = nxt - una;
      const progress = { una, nxt, rttMs, delivered, flight, flightBefore: before, smoothedMs: rttMs };
      grow(congestion, { ...progress, now: instant(now), mostBytes: 1e12 });
    }
    una = nxt;
    nxt += congestion.windowBytes;
    growth.push(congestion.windowBytes / before);
  }
  return { growth, threshold: congestion.thresholdBytes };
}

it("PG-127: doubles while round trips stay as they are", () => {
  const { growth, threshold } = rounds([50, 50, 51, 50, 52, 50]);
  for (const one of growth) expect(one).toBeCloseTo(2, 1);
  expect(threshold).toBe(Number.POSITIVE_INFINITY);
});

it("PG-127: slows down when they get longer by an eighth, not before, and ends after five rounds", () => {
  const { growth, threshold } = rounds([48, 48, 53, 53, 60, 60, 60, 60, 60, 60, 60, 60]);
  // 53 is not yet 6 ms more than 48, 60 is that more than 53.
  for (const one of growth.slice(0, 4)) expect(one).toBeCloseTo(2, 1);
  for (const one of growth.slice(6, 9)) expect(one).toBeCloseTo(1.25, 1);
  expect(Number.isFinite(threshold)).toBe(true);
});

it("PG-127: goes on doubling where it was jitter", () => {
  const { growth, threshold } = rounds([48, 48, 60, 48, 48, 48]);
  expect(growth[2]).toBeLessThan(1.8);
  expect(growth[4]).toBeCloseTo(2, 1);
  expect(threshold).toBe(Number.POSITIVE_INFINITY);
});

it("PG-127: of short paths 4 ms count, of long ones 16", () => {
  expect(rounds([1, 1, 4, 4, 4]).growth[3]).toBeCloseTo(2, 1);
  expect(rounds([1, 1, 5, 5, 5]).growth[3]).toBeLessThan(1.5);
  expect(rounds([400, 400, 415, 415]).growth[3]).toBeCloseTo(2, 1);
  expect(rounds([400, 400, 416, 416]).growth[3]).toBeLessThan(1.5);
});
