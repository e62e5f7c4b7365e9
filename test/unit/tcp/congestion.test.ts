import { describe, expect, it } from "vitest";
import { type Instant, instant } from "../../../src/base/index.ts";
import {
  type Congestion,
  createCongestion,
  enterLoss,
  enterRecovery,
  grow,
  leaveAt,
  noteOutput,
  roomIn,
} from "../../../src/tcp/congestion.ts";
import { OPEN, runScript } from "./script.ts";

const MSS = 1_000;
const at = (ms: number): Instant => instant(ms);

/** A window of `segments`, all of them under way. */
function withWindow(segments: number): Congestion {
  const congestion = createCongestion(MSS);
  congestion.windowBytes = segments * MSS;
  return congestion;
}

/** Everything that was under way is acknowledged, one round trip of 100 ms after the other. */
function passRounds(congestion: Congestion, from: number, rounds: number): number {
  let now = from;
  for (let i = 0; i < rounds; i++) {
    now += 100;
    for (let left = congestion.windowBytes; left > 0; left -= 2 * MSS) {
      const delivered = Math.min(2 * MSS, left);
      // What there is room for is sent at once.
      const flight = congestion.windowBytes;
      const seen = { una: 0, nxt: 0, rttMs: undefined, smoothedMs: 100 };
      const progress = { ...seen, now: at(now), delivered, flightBefore: flight, flight };
      grow(congestion, { ...progress, mostBytes: Number.MAX_SAFE_INTEGER });
    }
  }
  return now;
}

describe("CUBIC (RFC 9438)", () => {
  it("PG-127: a loss takes three tenths; K later the window is what it was, and then it grows beyond", () => {
    const congestion = withWindow(1_000);
    enterRecovery(congestion, 1_000 * MSS, 5);
    leaveAt(congestion, 5);
    expect(congestion.windowBytes).toBe(700 * MSS);
    // K = cbrt(300 / 0.4) = 9.09 s (equation 2).
    const before = passRounds(congestion, 0, 60);
    expect(congestion.windowBytes / MSS).toBeGreaterThan(950);
    expect(congestion.windowBytes / MSS).toBeLessThan(1_000);
    const there = passRounds(congestion, before, 32);
    expect(congestion.windowBytes / MSS).toBeCloseTo(1_000, -1);
    passRounds(congestion, there, 60);
    expect(congestion.windowBytes / MSS).toBeGreaterThan(1_050);
  });

  it("PG-127: a small window grows at least as Reno's would (§4.3)", () => {
    const congestion = withWindow(20);
    enterRecovery(congestion, 20 * MSS, 5);
    leaveAt(congestion, 5);
    expect(congestion.windowBytes).toBe(14 * MSS);
    // Reno with these constants: 0.53 segments a round trip until it is where it was.
    passRounds(congestion, 0, 10);
    expect(congestion.windowBytes / MSS).toBeGreaterThan(14 + 10 * 0.5);
  });

  it("PG-127: a second loss below the first gives way to others (fast convergence, §4.7)", () => {
    const congestion = withWindow(100);
    enterRecovery(congestion, 100 * MSS, 5);
    leaveAt(congestion, 5);
    enterRecovery(congestion, 70 * MSS, 9);
    expect(congestion.cubicMaxBytes).toBe((70 * MSS * 1.7) / 2);
  });
});

describe("reactions to loss (RFC 5681, RFC 6937)", () => {
  it("PG-127: one reduction for one window, whatever else is lost of it", () => {
    const congestion = withWindow(100);
    enterRecovery(congestion, 100 * MSS, 5);
    enterRecovery(congestion, 50 * MSS, 7);
    expect(congestion.thresholdBytes).toBe(70 * MSS);
    expect(leaveAt(congestion, 4)).toBe(false);
    expect(leaveAt(congestion, 5)).toBe(true);
  });

  it("PG-127: in recovery seven go out for ten that arrive", () => {
    const congestion = withWindow(100);
    enterRecovery(congestion, 100 * MSS, 1_000_000);
    let flight = 99 * MSS;
    let sent = 0;
    for (let i = 0; i < 30; i++) {
      flight -= MSS;
      const seen = { una: 0, nxt: 0, rttMs: undefined, smoothedMs: 100 };
      const progress = { ...seen, now: at(i), delivered: MSS, flightBefore: flight + MSS, flight };
      grow(congestion, { ...progress, mostBytes: Number.MAX_SAFE_INTEGER });
      while (roomIn(congestion, flight) >= MSS) {
        noteOutput(congestion, MSS);
        flight += MSS;
        sent++;
      }
    }
    expect(sent).toBeGreaterThanOrEqual(20);
    expect(sent).toBeLessThanOrEqual(22);
  });

  it("PG-127: a time-out leaves one segment, and a threshold that its repetitions do not lower", () => {
    const congestion = withWindow(100);
    enterLoss(congestion, { flightBytes: 100 * MSS, until: 5, isRepeated: false });
    expect([congestion.windowBytes, congestion.thresholdBytes]).toEqual([MSS, 70 * MSS]);
    enterLoss(congestion, { flightBytes: MSS, until: 5, isRepeated: true });
    expect([congestion.windowBytes, congestion.thresholdBytes]).toEqual([MSS, 70 * MSS]);
  });

  it("PG-127: seven of ten segments are what is left behind a recovery", () => {
    const segment = (i: number): string => `${1 + i * 1_228}:${1 + (i + 1) * 1_228}(1228)`;
    const sends = (many: number, first = 0): string =>
      Array.from({ length: many }, (_, i) => `+0 > . ${segment(first + i)} ack 1`).join("\n");
    runScript(`${OPEN}
      +0    send ${10 * 1_228}
      ${sends(10)}
      +10   < . 1:1(0) ack 1 win 512 <ts 1020 ecr 10,sack 1229:12281>
      +0    > . ${segment(0)} ack 1
      +10   < . 1:1(0) ack 12281 win 512 <ts 1030 ecr 20>
      +0    send ${20 * 1_228}
      ${sends(7, 10)}
    `);
  });
});
