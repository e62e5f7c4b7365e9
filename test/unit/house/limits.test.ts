/** Whoever waits for another program without a limit hangs with it (TS-82). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { filesBelow, ROOT } from "./sources.ts";

/** They hold the whole process, and no limit of a test ends them. */
const WAITING = /\b(?:spawnSync|execFileSync|execSync)\(/g;
const FOLDERS = ["bench", "test", "scripts", "src"];

/** The arguments of a call, up to its closing bracket; they begin at `at`. */
function argumentsAt(text: string, at: number): string {
  let depth = 1;
  let quote = "";
  let end = at;
  for (; depth > 0 && end < text.length; end++) {
    const sign = text[end] ?? "";
    if (quote !== "") {
      if (sign === "\\") end++;
      else if (sign === quote) quote = "";
    } else if ("\"'`".includes(sign)) quote = sign;
    else if ("([{".includes(sign)) depth++;
    else if (")]}".includes(sign)) depth--;
  }
  return text.slice(at, end);
}

function callsWithoutLimit(text: string): readonly string[] {
  return [...text.matchAll(WAITING)]
    .map(({ 0: name, index }) => `${name}${argumentsAt(text, index + name.length)}`)
    .filter((call) => !/\btimeout\b|\.\.\.LIMITS\b|\b(?:ASKED|WORKED|MEASURED)\b/.test(call));
}

it("TS-82: every call that waits for a program has a limit", () => {
  const found = FOLDERS.flatMap((folder) => filesBelow(folder))
    .filter((path) => /\.m?[jt]s$/.test(path) && !path.endsWith("house/limits.test.ts"))
    .flatMap((path) =>
      callsWithoutLimit(readFileSync(join(ROOT, path), "utf8")).map((call) => `${path}: ${call}`),
    );
  expect(found).toEqual([]);
});

it.each([
  ["no options", 'spawnSync("true")', 1],
  ["options without it", 'execFileSync("a", ["(", b("c")], { stdio: "pipe" })', 1],
  ["a limit", 'spawnSync("a", [f(")")], { encoding: "utf8", timeout: 1 })', 0],
  ["one of each", 'execSync("a", { timeout }); execSync(c())', 1],
])("TS-82: what is found, with %s", (_, text, count) => {
  expect(callsWithoutLimit(text)).toHaveLength(count);
});
