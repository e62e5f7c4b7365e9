/** The JavaScript runtimes with which programs are tested (D-28). */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
// The runner is Node; where each runtime lies is told once, for launcher, tests and benchmarks.
import { PINNED, pinnedPath } from "../../scripts/runtimes.mjs";

export type PinnedName = keyof typeof PINNED;

/** What starts a file: the runtime's program, and the words before the file. */
export type StartWords = readonly [program: string, ...words: string[]];

/** `POSTERN_TEST_DENO` and `POSTERN_TEST_BUN` name programs elsewhere; else the pinned one, or one in the path. */
export function findRuntime(name: "deno" | "bun"): string | undefined {
  const named = process.env[`POSTERN_TEST_${name.toUpperCase()}`];
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const places = [pinnedPath(name), ...folders.map((folder) => join(folder, name))];
  return (named === undefined ? places : [named]).find(isExecutable);
}

/** How that runtime starts a file; with a program that is not there where it is missing. */
export function startWordsOf(name: "node" | "deno" | "bun"): StartWords {
  if (name === "node") return [process.execPath, "--"];
  return [findRuntime(name) ?? name, ...PINNED[name].words];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
