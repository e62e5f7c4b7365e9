/** When the simulated world wakes programs, and what it keeps of what has happened. */
import { describe, expect, it } from "vitest";
import { type Instant, instant } from "../../src/base/index.ts";
import { createTrace } from "./trace.ts";
import { createWorld, type Program, type World } from "./world.ts";

/** Wakes every millisecond, or when it is told. */
function clock(onWake: (now: Instant) => void, due: () => Instant | undefined): Program {
  return {
    handleDatagram: () => {},
    handleTimeout: onWake,
    pollTimeout: due,
    pollTransmit: () => undefined,
    drain: () => {},
  };
}

/** One that ticks, and whenever it does, the other's wake-up is changed. */
function twoClocks(change: (world: World, other: () => void) => void) {
  const world = createWorld(1);
  let next = instant(world.now() + 1);
  const woken: Instant[] = [];
  let wake: Instant | undefined = instant(world.now() + 10_000);
  const ticking = world.addHost("ticking", { addresses: ["192.0.2.1"] });
  const other = world.addHost("other", { addresses: ["192.0.2.2"] });
  other.program = clock(
    (now) => {
      woken.push(now);
      wake = undefined;
    },
    () => wake,
  );
  ticking.program = clock(
    (now) => {
      next = instant(now + 1);
      if (now === 1_005)
        change(world, () => {
          wake = instant(1_100);
        });
    },
    () => next,
  );
  return { world, woken, flush: () => world.flush(other) };
}

describe("wake-ups", () => {
  it("TS-13: a program is woken when it says so anew after it has been flushed", () => {
    const clocks = twoClocks((_, earlier) => {
      earlier();
      clocks.flush();
    });
    clocks.world.run(1_000);
    expect(clocks.woken).toEqual([1_100]);
  });

  it("TS-13: what happens later may change whom it likes", () => {
    const clocks = twoClocks((world, earlier) => world.at(3, earlier));
    clocks.world.run(1_000);
    expect(clocks.woken).toEqual([1_100]);
  });

  it("TS-13: a program that changes without being flushed fails the case", () => {
    const clocks = twoClocks((_, earlier) => earlier());
    expect(() => clocks.world.run(1_000)).toThrow("other changed");
  });
});

describe("the trace", () => {
  const hashOf = (...bytes: readonly Uint8Array[]): string => {
    const trace = createTrace();
    for (const [i, one] of bytes.entries()) trace.note(i, "sent", one);
    return trace.hash();
  };

  it("TS-7: its hash tells datagrams apart by every octet, also beyond one block", () => {
    const long = Array.from({ length: 100 }, (_, i) => new Uint8Array(1_400).fill(i));
    const changed = long.with(3, new Uint8Array(1_400).fill(3).fill(4, 1_399));
    expect(hashOf(...long)).toBe(hashOf(...long));
    expect(hashOf(...changed)).not.toBe(hashOf(...long));
    expect(hashOf(...long.slice(1))).not.toBe(hashOf(...long));
  });

  it("TS-7: asked in between, it is the hash of all so far", () => {
    const trace = createTrace();
    trace.note(0, "sent", Uint8Array.of(1));
    expect(trace.hash()).toBe(hashOf(Uint8Array.of(1)));
    trace.note(1, "sent", Uint8Array.of(2));
    expect(trace.hash()).toBe(hashOf(Uint8Array.of(1), Uint8Array.of(2)));
  });

  it("shows the last lines, the oldest first", () => {
    const trace = createTrace();
    for (let i = 0; i < 100; i++) trace.note(i, `line ${i}`);
    trace.note(100, "sent", Uint8Array.of(0x61, 0x62, 0x63));
    const lines = trace.recent().split("\n");
    expect(lines).toHaveLength(60);
    expect(lines[0]).toBe("41 line 41");
    // The beginning of SHA-256("abc"), FIPS 180-4.
    expect(lines.at(-1)).toBe("100 sent ba7816bf8f01");
  });
});
