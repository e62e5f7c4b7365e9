/**
 * A benchmark that starts something is ended by signals in order (TS-22); what a comparison takes away from the tree can
 * be taken away.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
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

const PATCHES = filesBelow("bench").filter((path) => path.endsWith(".patch"));

it.each(PATCHES)("TS-50: %s still applies (else: the head of bench/compare/without.mjs)", (path) => {
  const { status, stderr } = spawnSync("git", ["apply", "--check", path], {
    timeout: 60_000,
    cwd: ROOT,
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

it("TS-50: the tree can be compared with one whose AEAD is a copy, and with one for each patch", async () => {
  const load = async (file: string) => await import(pathToFileURL(join(ROOT, "bench", "compare", file)).href);
  const { THINGS } = await load("without.mjs");
  const things = PATCHES.map((path) => path.replace(/^.*\/|\.patch$/g, ""));
  expect(Object.keys(THINGS).sort()).toEqual(["aead", ...things].sort());
  const { changedForAead } = await load("aead.mjs");
  for (const [path, text] of changedForAead(ROOT))
    expect(text).not.toBe(readFileSync(join(ROOT, path), "utf8"));
});
