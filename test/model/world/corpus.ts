/** Cases that failed once: kept as files, and run again before all others (TS-19). */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Outcome } from "./run-case.ts";
import type { Step } from "./transition.ts";

export interface KeptCase {
  readonly seed: number;
  readonly steps: readonly Step[];
  /** What was wrong when it was kept. */
  readonly failure: string;
  readonly lines: readonly string[];
}

/** @returns the file's path */
export function keep(folder: string, { seed, steps, failure = "", lines }: Outcome): string {
  const text = `${JSON.stringify({ seed, failure: failure.split("\n")[0], lines, steps }, undefined, 1)}\n`;
  const name = createHash("sha256")
    .update(JSON.stringify([seed, steps]))
    .digest("hex")
    .slice(0, 12);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  writeFileSync(path, text);
  return path;
}

export function keptCases(folder: string): readonly (KeptCase & { readonly name: string })[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => ({ name, ...(JSON.parse(readFileSync(join(folder, name), "utf8")) as KeptCase) }));
}
