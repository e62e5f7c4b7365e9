import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { nextTurn } from "../../lib/bounds.ts";
import fc from "../../lib/property.ts";
import {
  candidates,
  connecting,
  createDriver,
  type Driver,
  joined,
  LOGIN,
  REFUSED,
} from "./connection-driver.ts";

/** How long after the portal's return a peer tries again, in ms. */
function timeToReturn(seed: number, absenceMs: number): number {
  const driver = joined({ seed });
  const returnsAt = driver.now + absenceMs;
  driver.run((now) => driver.machine.handleClose(now, 1, 1006));
  for (let turns = 0; ; turns = nextTurn(turns, "attempts")) {
    driver.pass(driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0);
    if (driver.now >= returnsAt) return driver.now - returnsAt;
    driver.fail(REFUSED);
  }
}

describe("back-off", () => {
  it("PT §3: before the first join it tries every second and gives up 15 s after the first error", () => {
    const driver = connecting();
    for (let i = 0; i < 15; i++) {
      driver.fail(REFUSED);
      expect(driver.eventsOf("hiccup").at(-1)).toMatchObject({ pauseMs: 1000, maxElapsedMs: 15_000 });
      driver.pass(1000);
    }
    expect(driver.eventsOf("fatal")).toEqual([]);
    driver.fail(REFUSED);
    expect(driver.eventsOf("fatal")).toEqual([
      { kind: "fatal", error: { kind: "max-retries", lastError: REFUSED } },
    ]);
  });

  it("PT-27: sockets that open but never join do not reset the give-up time", () => {
    const driver = connecting();
    for (let i = 0; i < 4; i++) {
      driver.open();
      driver.pass(6_000);
    }
    // Join time-outs at 5, 11, 17 and 23 s; the last is 18 s after the first.
    expect(driver.eventsOf("fatal")).toMatchObject([{ error: { kind: "max-retries" } }]);
  });

  it("PT §3: after a join the pauses begin at 500 ms and grow by half, ± 50 %, to 8 s", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const driver = joined({ seed });
        driver.run((now) => driver.machine.handleClose(now, 1, 1006));
        for (let i = 0; i < 14; i++) {
          const pauseMs = driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0;
          const mean = Math.min(8_000, 500 * 1.5 ** i);
          expect(pauseMs).toBeGreaterThanOrEqual(Math.floor(mean * 0.5));
          expect(pauseMs).toBeLessThanOrEqual(Math.ceil(mean * 1.5));
          driver.pass(pauseMs);
          driver.fail(REFUSED);
        }
        expect(driver.eventsOf("fatal")).toEqual([]);
      }),
      { numRuns: 50 },
    );
  });

  it("PT-27: 1,000 peers are back within 15 s after a long absence of the portal, and not all at once", () => {
    // The portal was away for these many ms; then it answers whoever tries.
    for (const absenceMs of [20_000, 59_000, 600_000]) {
      const perSecond = new Map<number, number>();
      let lastMs = 0;
      for (let seed = 0; seed < 1000; seed++) {
        const backMs = timeToReturn(seed, absenceMs);
        lastMs = Math.max(lastMs, backMs);
        const second = Math.floor(backMs / 1000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      }
      expect(lastMs).toBeLessThanOrEqual(12_000);
      expect(Math.max(...perSecond.values())).toBeLessThan(250);
    }
  });

  it("PT-27: a join resets the pauses", () => {
    const driver = joined();
    driver.run((now) => driver.machine.handleClose(now, 1, 1006));
    for (let i = 0; i < 8; i++) {
      driver.pass(driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0);
      driver.fail(REFUSED);
    }
    const grownMs = driver.eventsOf("hiccup").at(-1)?.pauseMs ?? 0;
    expect(grownMs).toBeGreaterThan(750);
    driver.pass(grownMs);
    driver.join();
    driver.run((now) => driver.machine.handleClose(now, driver.attempt, 1006));
    expect(driver.eventsOf("hiccup").at(-1)?.pauseMs).toBeLessThanOrEqual(750);
  });

  it("PT §3: a client never gives up after its first join, a gateway does after 24 h", () => {
    const day = 24 * 3_600_000;
    for (const [maxPartitionMs, ends] of [
      [undefined, false],
      [day, true],
    ] as const) {
      const driver = joined(maxPartitionMs === undefined ? {} : { maxPartitionMs });
      driver.run((now) => driver.machine.handleClose(now, 1, 1006));
      driver.now = instant(driver.now + day - 1);
      driver.run((now) => driver.machine.handleTimeout(now));
      driver.fail(REFUSED);
      expect(driver.eventsOf("fatal")).toEqual([]);
      driver.pass(90_001);
      driver.fail(REFUSED);
      expect(driver.eventsOf("fatal")).toHaveLength(ends ? 1 : 0);
    }
  });

  it("PT-20: connect() resets the give-up time", () => {
    const driver = connecting();
    driver.fail(REFUSED);
    driver.pass(900);
    driver.now = instant(driver.now + 14_100);
    driver.run((now) => driver.machine.connect(now, LOGIN));
    driver.fail(REFUSED);
    expect(driver.eventsOf("fatal")).toEqual([]);
  });

  it.each([
    ["7", 7000],
    ["0", 0],
    ["86400", 3_600_000],
    ["Tue, 27 Jan 2026 12:00:30 GMT", 30_000],
    ["Tue, 27 Jan 2026 11:00:00 GMT", 0],
    ["-1", 1000],
    ["1.5", 1000],
    ["", 1000],
    ["soon", 1000],
    ["Tue, 27 Foo 2026 12:00:30 GMT", 1000],
  ])("PT-30: Retry-After %j makes the pause %i ms", (retryAfter, pauseMs) => {
    const driver = connecting();
    driver.fail({ kind: "refused-upgrade", status: 503, retryAfter, body: "" });
    expect(driver.eventsOf("hiccup")).toMatchObject([{ pauseMs, error: { kind: "http", status: 503 } }]);
  });
});

describe("the poll law", () => {
  /** Any input, chosen by a number, at any time. */
  const step = fc.tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 0, max: 20_000 }));

  it("style §7: after a tick the next wake lies ahead, and an early tick changes nothing", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const driver = createDriver({ maxPartitionMs: 60_000 });
        for (const [input, ms] of steps) {
          driver.now = instant(driver.now + ms);
          driver.run((now) => driver.machine.handleTimeout(now));
          const wake = driver.machine.pollTimeout();
          if (wake !== undefined) expect(wake).toBeGreaterThan(driver.now);
          const before = [driver.transmits.length, driver.events.length, driver.machine.state];
          driver.run((now) => driver.machine.handleTimeout(now));
          expect([driver.transmits.length, driver.events.length, driver.machine.state]).toEqual(before);
          expect(driver.machine.pollTimeout()).toBe(wake);
          INPUTS[input]?.(driver);
        }
      }),
      { numRuns: 400 },
    );
  });

  const INPUTS: readonly ((driver: Driver) => void)[] = [
    (driver) => driver.run((now) => driver.machine.connect(now, LOGIN)),
    (driver) => driver.run((now) => driver.machine.reconnect(now)),
    (driver) => driver.open(),
    (driver) => driver.open(),
    (driver) => driver.reply("phx_join"),
    (driver) => driver.reply("heartbeat"),
    (driver) => driver.fail(REFUSED),
    (driver) => driver.run((now) => driver.machine.handleClose(now, driver.attempt, 1006)),
    (driver) => driver.run((now) => driver.machine.send(now, candidates(driver.now))),
    (driver) => driver.run((now) => driver.machine.handleWritable(now, driver.attempt, driver.now % 2 === 0)),
    (driver) => driver.run((now) => driver.machine.close(now)),
    (driver) => {
      const last = driver.transmits.at(-1);
      if (last !== undefined) driver.run((now) => driver.machine.handleRejected(now, last));
    },
  ];

  it("style §7: while joined, one late tick says what many on time say", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 39_999 }), (ms) => {
        const [late, often] = [joined(), joined()];
        late.jump(ms);
        often.pass(ms);
        expect(late.transmits).toEqual(often.transmits);
        expect(late.machine.pollTimeout()).toBe(often.machine.pollTimeout());
      }),
      { numRuns: 100 },
    );
  });
});
