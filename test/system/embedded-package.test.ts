/** The package as programs import it: by its exports, and without any effect of the import (PG-120, PG-133). */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { describeWith } from "../lib/requirements.ts";

const ENTRIES = Object.keys(JSON.parse(readFileSync("package.json", "utf8")).exports).filter(
  (name) => !name.endsWith(".json"),
);

/** What importing leaves behind: handles, threads, native modules. */
const PROBE = `
const before = process.eventNames().length;
const names = Object.keys(await import(process.argv[1]));
const natives = process.report.getReport().sharedObjects.filter((path) => path.endsWith(".node"));
// What reading the modules has opened is closed in a moment.
await new Promise((resolve) => setTimeout(resolve, 50));
const handles = process.getActiveResourcesInfo().filter((name) => !/^(TTY|Pipe)Wrap$/.test(name));
console.log(JSON.stringify({ names, natives, handles, listeners: process.eventNames().slice(before) }));
`;

describeWith(["build"], "the package's entries", () => {
  it.each(ENTRIES)("PG-120, PG-133: importing %s has no side effect", (entry) => {
    const name = entry.replace(/^\./, "postern");
    const args = ["--input-type=module", "--eval", PROBE, name];
    const { stdout, stderr, status } = spawnSync(process.execPath, args, {
      encoding: "utf8",
      timeout: 120_000,
    });
    expect([status, stderr]).toEqual([0, ""]);
    const { names, ...left } = JSON.parse(stdout);
    expect(names.length).toBeGreaterThan(1);
    expect(left).toEqual({ natives: [], handles: [], listeners: [] });
  });
});
