/** A benchmark that starts something is ended by signals in order (TS-22). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesBelow, ROOT } from "./sources.ts";

const MAIN = /^bench\/([\w-]+)\/main\.mjs$/;

function startsSomething(part: string): boolean {
  return filesBelow(`bench/${part}`)
    .filter((path) => path.endsWith(".mjs"))
    .some((path) => /\b(?:createLab|spawn)\(/.test(readFileSync(join(ROOT, path), "utf8")));
}

it("TS-22: every benchmark with programs of its own listens for signals", () => {
  const parts = filesBelow("bench").flatMap((path) => MAIN.exec(path)?.[1] ?? []);
  const starting = parts.filter(startsSomething);
  expect(starting.length).toBeGreaterThan(5);
  const deaf = starting.filter(
    (part) => !/^\s*endOnSignals\(\);$/m.test(readFileSync(join(ROOT, "bench", part, "main.mjs"), "utf8")),
  );
  expect(deaf).toEqual([]);
});
