/** Benchmarks and scripts are JavaScript that no compiler reads: what they import has to be there. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";
import { filesBelow, ROOT } from "./sources.ts";

const IMPORT = /^import\s*\{(?<names>[^}]*)\}\s*from\s*"(?<target>\.[^"]*\.mjs)"/gm;
const DECLARED = /^export\s+(?:async\s+)?(?:function\*?|const|let|class)\s+(?<name>\w+)/gm;
const LISTED = /^export\s*\{(?<names>[^}]*)\}/gm;

/** Names of a list in braces: on the left side of `as`, or on its right one. */
function namesOf(list: string, side: 0 | -1): readonly string[] {
  return list
    .split(",")
    .map(
      (one) =>
        one
          .trim()
          .split(/\s+as\s+/)
          .at(side) ?? "",
    )
    .filter((name) => name !== "");
}

function exportsOf(text: string): ReadonlySet<string> {
  const declared = [...text.matchAll(DECLARED)].map(({ groups }) => groups?.["name"] ?? "");
  const listed = [...text.matchAll(LISTED)].flatMap(({ groups }) => namesOf(groups?.["names"] ?? "", -1));
  return new Set([...declared, ...listed]);
}

/** What `path` imports by name, and is not there. */
function missingIn(path: string): readonly string[] {
  const text = readFileSync(join(ROOT, path), "utf8");
  return [...text.matchAll(IMPORT)].flatMap(({ groups }) => {
    const target = normalize(join(dirname(path), groups?.["target"] ?? ""));
    if (!existsSync(join(ROOT, target))) return [`${path}: no ${target}`];
    const found = exportsOf(readFileSync(join(ROOT, target), "utf8"));
    return namesOf(groups?.["names"] ?? "", 0)
      .filter((name) => !found.has(name))
      .map((name) => `${path}: no ${name} in ${target}`);
  });
}

it("style §13: benchmarks and scripts import what is exported", () => {
  const paths = ["bench", "scripts"].flatMap(filesBelow).filter((path) => path.endsWith(".mjs"));
  expect(paths.length).toBeGreaterThan(50);
  expect(paths.flatMap(missingIn)).toEqual([]);
});
