/** Ceilings of unreached blocks are of files that are there (TS-37). */
import { existsSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

it("TS-37: a file that is gone or renamed leaves no ceiling behind", () => {
  const ceilings = JSON.parse(readFileSync("test/covered/ceilings.json", "utf8"));
  const gone = Object.keys(ceilings).filter((path) => !existsSync(path));
  expect(gone, "test/covered/ceilings.json: rename or take out the lines of these files").toEqual([]);
});
