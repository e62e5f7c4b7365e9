/** 10,000 networks; `SEEDS=4000 COUNT=1000` takes a slice of them. */
import { expect, it } from "vitest";
import { liveThrough } from "./live-through.ts";

const FIRST = Number(process.env["SEEDS"] ?? 0);
const COUNT = Number(process.env["COUNT"] ?? 10_000);

it("TS-16, TS-17: 10,000 networks drawn at random connect where a path exists, and leak nothing", {
  timeout: 7_200_000,
}, () => {
  const failures: string[] = [];
  for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
    try {
      liveThrough(seed);
    } catch (error) {
      failures.push(
        `${(error as Error).message.split("\n")[0]}: ${((error as Error).cause as Error).message}`,
      );
    }
  }
  expect(failures).toEqual([]);
});
