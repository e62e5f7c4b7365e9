import { describe, expect, it } from "vitest";
import { instant } from "../../../src/base/index.ts";
import { createTurnstile, TURN_MAX } from "../../../src/program/portal/turnstile.ts";
import { dueUntil, nextTurn } from "../../lib/bounds.ts";

/** What the portal's rule gives an address: at once, and a second (PT-72). */
const BURST = 1_000;
const PER_SECOND = 100;

function create() {
  const turnstile = createTurnstile<string>();
  return {
    ...turnstile,
    arriveMany(network: string, count: number, ms = 0): void {
      for (let n = 0; n < count; n++) turnstile.arrive(instant(ms), `${network}-${n}`, network);
    },
    /** All turns until somebody has to wait; each is one turn of the loop. */
    turnsAt(ms: number): readonly (readonly string[])[] {
      const turns: (readonly string[])[] = [];
      for (;;) {
        const at = dueUntil(turnstile, ms);
        if (at === undefined) return turns;
        nextTurn(turns.length, "turns of the loop");
        turns.push(turnstile.handleTimeout(instant(ms)));
      }
    },
  };
}

describe("the turnstile", () => {
  it("PT-72: lets a bounded number in per turn of the loop, whoever they are", () => {
    const { arriveMany, turnsAt } = create();
    for (const network of ["a", "b", "c"]) arriveMany(network, 50);
    const turns = turnsAt(0);
    expect(turns.flat()).toHaveLength(150);
    expect(Math.max(...turns.map(({ length }) => length))).toBe(TURN_MAX);
  });

  it("PT-72: of an address that floods as many as its share, and no more", () => {
    const { arriveMany, turnsAt, pollTimeout } = create();
    arriveMany("flood", 10 * BURST);
    let served = turnsAt(0).flat().length;
    expect(served).toBe(BURST);
    for (let ms = 10; ms <= 5_000; ms += 10) served += turnsAt(ms).flat().length;
    expect(served).toBe(BURST + 5 * PER_SECOND);
    expect(pollTimeout()).toBeGreaterThan(5_000);
  });

  it("PT-72: a flood makes nobody else wait: the next turn is for whoever comes", () => {
    const { arriveMany, handleTimeout, turnsAt, arrive } = create();
    arriveMany("flood", 10 * BURST);
    handleTimeout(instant(0));
    arrive(instant(0), "other", "other");
    expect(handleTimeout(instant(0))).toContain("other");
    turnsAt(0);
    arrive(instant(3), "late", "other");
    expect(handleTimeout(instant(3))).toEqual(["late"]);
  });

  it("PT-72: within a network the oldest goes first, and who has left is not called", () => {
    const { arrive, leave, handleTimeout, pollTimeout } = create();
    for (const name of ["a", "b", "c"]) arrive(instant(0), name, "net");
    leave("b");
    expect(handleTimeout(instant(0))).toEqual(["a", "c"]);
    expect(pollTimeout()).toBeUndefined();
    arrive(instant(1), "d", "net");
    leave("d");
    expect(pollTimeout()).toBeUndefined();
    expect(handleTimeout(instant(1))).toEqual([]);
  });
});
