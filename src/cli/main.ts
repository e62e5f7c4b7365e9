#!/usr/bin/env -S node --
/**
 * The executable `postern`. It is started as `node -- main.js`: without the two dashes Node takes an
 * `--env-file` that stands behind the program's name for its own (seen with 20.20 and 24.21).
 *
 * Node opens all modules of a program at once, and ends in a stack where it may not open so many. So this
 * file imports next to nothing before it knows better (PG-161).
 */
import { limitHeapGrowth } from "../program/heap.ts";
import { FILES_NEEDED, openFilesLimit } from "../program/open-files.ts";

/** Of the host (PG-14); the table of codes has modules of its own. */
const EXIT_HOST = 8;

const files = openFilesLimit();
if (files < FILES_NEEDED) {
  const remedy = "raise it (ulimit -n, LimitNOFILE=)";
  console.error(
    `postern: at least ${FILES_NEEDED} open files are needed, the hard limit is ${files}; ${remedy}`,
  );
  process.exit(EXIT_HOST);
}

limitHeapGrowth();
const { runCommandLine } = await import("./command-line.ts");
const code = await runCommandLine(process.argv.slice(2));
// Handles that a program forgot to close must not keep the process: its promise is its end. stdout
// may be a pipe that still has bytes, hence the empty writes.
process.stdout.write("", () => process.stderr.write("", () => process.exit(code)));
