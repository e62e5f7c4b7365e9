/**
 * One process at a time for a file that several rewrite (DN-104). What is locked is the folder: there is no file
 * to be left behind, and a holder that dies lets go.
 */
import { closeSync, openSync } from "node:fs";
import { type Kernel, LOCK_EX, LOCK_NB } from "../../bindings/linux/index.ts";
import type { Log } from "../base/index.ts";

/** Who holds it writes a file or two; one that stands still must not keep others from starting or ending. */
const ATTEMPTS_MAX = 400;
const RETRY_MS = 5;

export type Locked = <T>(use: () => T) => T;

/** Without a kernel nothing is locked: there is nobody but this process, as in tests. */
export function createFolderLock(
  kernel: { readonly sys: Pick<Kernel["sys"], "flock"> } | undefined,
  folder: string,
  log: Log,
): Locked {
  if (kernel === undefined) return (use) => use();
  return (use) => {
    const fd = openFolder(folder);
    if (fd === undefined) return use();
    try {
      if (!isTaken(kernel, fd)) {
        log.warn?.("another process holds the folder's lock for too long: going on without it", { folder });
      }
      return use();
    } finally {
      closeSync(fd);
    }
  };
}

function isTaken({ sys }: { readonly sys: Pick<Kernel["sys"], "flock"> }, fd: number): boolean {
  const idle = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (sys.flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    Atomics.wait(idle, 0, 0, RETRY_MS);
  }
  return false;
}

function openFolder(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch {
    // A folder that cannot be opened cannot be written either: what follows says so.
    return undefined;
  }
}
