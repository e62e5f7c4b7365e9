import { describe, expect, it } from "vitest";
import type { TcpProfile } from "../../../src/tcp/index.ts";
import fc from "../../lib/property.ts";
import { type LinkResult, runLink } from "./link.ts";

function expectWhole({ a, b }: LinkResult): void {
  expect([a.closed, b.closed]).toEqual(["done", "done"]);
  expect([a.isRight, b.isRight]).toEqual([true, true]);
  expect([a.received, b.received]).toEqual([b.toSend, a.toSend]);
  // Less than a unit of the scale, where nobody reads (PG-127).
  expect(Math.max(a.shrunk, b.shrunk)).toBeLessThan(128);
}

const anyProfile: fc.Arbitrary<Partial<TcpProfile>> = fc
  .record({
    hasTimestamps: fc.boolean(),
    hasSack: fc.boolean(),
    isScaled: fc.boolean(),
    sendBufferBytes: fc.integer({ min: 3_000, max: 1 << 20 }),
    receiveBufferBytes: fc.integer({ min: 3_000, max: 1 << 20 }),
    delayedAckMs: fc.constantFrom(0, 40),
    outOfOrderMax: fc.constantFrom(4, 64, 4_096),
  })
  .map(
    ({ isScaled, ...given }) =>
      (isScaled ? given : { ...given, windowShift: undefined }) as Partial<TcpProfile>,
  );

/** `TCP_RUNS=4000 npx vitest run test/unit/tcp/link.test.ts`, by hand, looks at more cases. */
const RUNS = Number(process.env["TCP_RUNS"] ?? 40);

describe("two hosts over a bad network", () => {
  it("PG-127: all octets come once and in order, with 5 % lost, doubled, broken and out of order", () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          octets: fc.tuple(fc.nat(150_000), fc.nat(60_000)),
          loss: fc.constantFrom(0, 1, 5),
          duplicate: fc.constantFrom(0, 5),
          corrupt: fc.constantFrom(0, 1),
          delayMs: fc.integer({ min: 0, max: 100 }),
          jitterMs: fc.constantFrom(0, 0, 3, 30),
          lazyMs: fc.constantFrom(0, 0, 200),
          profiles: fc.tuple(anyProfile, anyProfile),
        }),
        (options) => expectWhole(runLink(options)),
      ),
      { numRuns: RUNS, interruptAfterTimeLimit: RUNS * 1_500 },
    );
  });

  it("PG-127: without loss nothing is sent twice, whatever the delay", () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 0, max: 300 }), (seed, delayMs) => {
        const result = runLink({ seed, octets: [200_000, 0], delayMs });
        expectWhole(result);
        expect(result.a.host.counters().retransmitted).toBe(0);
      }),
      { numRuns: 10 },
    );
  });

  it("PG-127: a corrupted packet is dropped by its checksum, and counted", () => {
    const result = runLink({ seed: 3, octets: [300_000, 0], corrupt: 10 });
    expectWhole(result);
    expect(result.b.host.counters().tcp_checksum).toBeGreaterThan(5);
  });

  it("PG-127: with one packet in 100 lost at 50 ms a MiB takes seconds, not minutes", () => {
    const result = runLink({ seed: 5, octets: [1 << 20, 0], loss: 1, delayMs: 25 });
    expectWhole(result);
    expect(result.tookMs).toBeLessThan(4_000);
    // Some of what is sent again has to be lost again, but not much more.
    expect(result.a.host.counters().retransmitted).toBeLessThan(30);
  });
});
