/**
 * Our own programs as tests start them. `npm run test:runtimes` runs the same tests with the programs in another
 * runtime, which `POSTERN_TEST_RUNTIME` names: `deno`, `bun`, `node24`, `node26`; the runner is the Node that it is.
 */
import { join } from "node:path";
import { PINNED, pinnedPath } from "../../scripts/runtimes.mjs";
import { type PinnedName, type StartWords, startWordsOf } from "./runtimes.ts";

export const MAIN = join(import.meta.dirname, "../../build/program/main.js");

/** The words of a command line of ours. */
export function postern(...args: readonly string[]): StartWords {
  return posternOf(MAIN, args);
}

/** The same of a build that is not the usual one. */
export function posternOf(main: string, args: readonly string[]): StartWords {
  return [...startWords(), main, ...args];
}

/** The same as `spawn` and `Namespace.start` take it. */
export function posternCommand(args: readonly string[]): {
  readonly command: string;
  readonly args: string[];
} {
  const [command, ...rest] = postern(...args);
  return { command, args: rest };
}

function startWords(): StartWords {
  const name = process.env["POSTERN_TEST_RUNTIME"] ?? "node";
  if (name === "node" || name === "deno" || name === "bun") return startWordsOf(name);
  if (!isPinned(name))
    throw new Error(`POSTERN_TEST_RUNTIME=${name}; known: ${Object.keys(PINNED).join(", ")}`);
  return [pinnedPath(name), ...PINNED[name].words];
}

function isPinned(name: string): name is PinnedName {
  return name in PINNED;
}
