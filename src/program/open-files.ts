/** How many files and sockets this process may have open (RLIMIT_NOFILE, getrlimit(2)). */
import { readFileSync } from "node:fs";

/** What any command needs to load its modules, with a reserve; the launcher asks for as many (PG-161). */
export const FILES_NEEDED = 256;

/** Where nothing can be learnt: what systems have had for a long time. */
const USUAL = 1024;

/**
 * The soft limit. The runtime has raised it to the hard one when it started (Node does, seen with
 * 20.20 and 24.21), so that it is all that can be had.
 */
export function openFilesLimit(): number {
  try {
    return parseOpenFilesLimit(readFileSync("/proc/self/limits", "utf8"));
  } catch {
    // Without /proc the usual number is a careful guess.
    return USUAL;
  }
}

export function parseOpenFilesLimit(limits: string): number {
  const soft = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === "unlimited") return Number.MAX_SAFE_INTEGER;
  return soft === undefined ? USUAL : Number(soft);
}
