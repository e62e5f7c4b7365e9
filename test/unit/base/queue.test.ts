import { describe, expect, it } from "vitest";
import { createQueue } from "../../../src/base/index.ts";
import fc from "../../lib/property.ts";

describe("createQueue", () => {
  it("does what an array does", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("push" as const), items: fc.array(fc.integer(), { maxLength: 200 }) }),
      fc.record({ kind: fc.constant("shift" as const), times: fc.nat(150) }),
      fc.record({ kind: fc.constant("clear" as const) }),
    );
    const steps = fc.array(step, { maxLength: 30 });
    fc.assert(
      fc.property(steps, (sequence) => {
        const queue = createQueue<number>();
        const array: number[] = [];
        for (const one of sequence) {
          if (one.kind === "push") {
            queue.push(...one.items);
            array.push(...one.items);
          } else if (one.kind === "shift") {
            for (let i = 0; i < one.times; i++) expect(queue.shift()).toBe(array.shift());
          } else {
            queue.clear();
            array.length = 0;
          }
          expect([queue.length, queue.first()]).toEqual([array.length, array[0]]);
        }
      }),
    );
  });
});
