/**
 * The poll law (style §7, WG-40): a machine that is driven only at its deadlines does the same, at the
 * same instants, as one that is looked at every 50 milliseconds.
 */

import { expect, it } from "vitest";
import { createDeadlineQueue, instant, type QueueEntry, toHex } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";
import { advance, eventKinds, pair, START, send, sleepUntil } from "./wire.ts";

type Step =
  | { readonly kind: "send"; readonly from: "a" | "b" }
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "initiate"; readonly from: "a" | "b" }
  | { readonly kind: "cut"; readonly isCut: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("send" as const), from: fc.constantFrom("a", "b") }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1_000, max: 60_000 })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("initiate" as const), from: fc.constantFrom("a", "b") }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cut" as const), isCut: fc.boolean() }) },
) as fc.Arbitrary<Step>;

function transcriptOf(
  policies: "plain" | "tunnel",
  steps: readonly Step[],
  options: { readonly seed: number; readonly tickMs?: number; readonly keepaliveMs: number },
): readonly string[] {
  const { world, a, b, ab, ba } = pair(policies, { seed: options.seed, keepaliveMs: options.keepaliveMs });
  const seen: string[] = [];
  let isCut = false;
  world.tickMs = options.tickMs;
  world.loses = (line, bytes) => {
    seen.push(`${line.at} ${line.from} ${toHex(bytes.subarray(0, 40))}`);
    return isCut;
  };
  for (const one of steps) {
    if (one.kind === "send") send(world, one.from === "a" ? a : b, one.from === "a" ? b : a, "data");
    else if (one.kind === "wait") advance(world, one.ms);
    else if (one.kind === "cut") isCut = one.isCut;
    else if (one.from === "a") a.device.initiate(world.now, ab);
    else b.device.initiate(world.now, ba);
  }
  advance(world, 1);
  return [...seen, ...eventKinds(a), ...eventKinds(b)];
}

it.each(["plain", "tunnel"] as const)(
  "WG-40, WG-43: %s, deadlines miss nothing",
  (policies) => {
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 3, maxLength: 14 }),
        fc.integer({ min: 1, max: 1_000 }),
        fc.constantFrom(0, 10_000, 25_000),
        (steps, seed, keepaliveMs) => {
          const lazy = transcriptOf(policies, steps, { seed, keepaliveMs });
          expect(transcriptOf(policies, steps, { seed, keepaliveMs, tickMs: 50 })).toEqual(lazy);
        },
      ),
      { numRuns: 8 },
    );
  },
  60_000,
);

it.each(["plain", "tunnel"] as const)("SN-122: %s, one late tick does each thing once", (policies) => {
  fc.assert(
    fc.property(fc.integer({ min: 1_000, max: 3_600_000 }), fc.integer({ min: 1, max: 99 }), (ms, seed) => {
      const { world, a, b } = pair(policies, { seed, keepaliveMs: 10_000 });
      send(world, a, b, "x");
      advance(world, 100);
      world.transcript.length = 0;
      sleepUntil(world, START + 100 + ms);
      // At most one keepalive or handshake message per end, however long the sleep was.
      for (const name of ["a", "b"]) {
        expect(world.transcript.filter((line) => line.from === name).length).toBeLessThanOrEqual(1);
      }
    }),
    { numRuns: 40 },
  );
});

it("D-2: the deadline queue is a queue, against a sorted list", () => {
  interface Entry extends QueueEntry {
    readonly id: number;
  }
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 15 }), fc.option(fc.nat({ max: 100 }))), { maxLength: 200 }),
      (changes) => {
        const queue = createDeadlineQueue<Entry>();
        const entries = Array.from({ length: 16 }, (_, id): Entry => ({ id, dueAt: undefined, place: -1 }));
        for (const [id, at] of changes) {
          const entry = entries[id];
          if (entry === undefined) continue;
          queue.set(entry, at === null ? undefined : instant(at));
          const due = entries.flatMap(({ dueAt }) => (dueAt === undefined ? [] : [dueAt]));
          expect(queue.first()?.dueAt).toBe(due.length === 0 ? undefined : Math.min(...due));
        }
      },
    ),
    { numRuns: 200 },
  );
});
