import { expect, it } from "vitest";
import { patient, slownessOf } from "../../../../src/program/lab/index.ts";

it.each([
  ["a quiet machine", "0.21 0.87 1.36 1/245 1234", 2, 1],
  ["as much to do as it has cores", "2.00 1.00 1.00 2/245 1234", 2, 1],
  ["ten times as much", "20.00 9.00 3.00 4/245 1234", 2, 10],
  ["what has just begun", "0.10 0.10 0.10 8/245 1234", 2, 4],
  ["a file of another kind", "", 2, 1],
] as const)("TS-3: %s", (_, loadavg, cores, times) => {
  expect(slownessOf(loadavg, cores)).toBe(times);
});

it("TS-3: a limit is never shorter than on a quiet machine", () => {
  expect(patient(1_000)).toBeGreaterThanOrEqual(1_000);
});

it("TS-3: a limit is a whole number of ms, which a child's time-out has to be", () => {
  expect(45_000 * 1.11).not.toBe(49_950);
  expect(patient(45_000, 1.11)).toBe(49_951);
});
