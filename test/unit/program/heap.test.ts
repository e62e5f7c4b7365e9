import { expect, it } from "vitest";
import { RUNTIMES } from "../../../bindings/runtime/index.ts";
import { limitHeapGrowth } from "../../../src/program/heap.ts";

it("PG-162: limits the heap's growth where V8's settings are there", () => {
  const set: string[] = [];
  for (const runtime of RUNTIMES) limitHeapGrowth(runtime, (flags) => set.push(`${runtime} ${flags}`));
  expect(set).toEqual(["node --heap-growing-percent=50"]);
});

it("PG-162: the runtime knows the setting", () => {
  // V8 writes about unknown ones, and Node 20 ends at them when they come by the command line.
  expect(() => limitHeapGrowth()).not.toThrow();
});
