/**
 * One process at a time for a file that several rewrite (DN-104). What is locked is the folder: there is no file
 * to be left behind, and a holder that dies lets go.
 */
import { closeSync, openSync } from "node:fs";
import { errnoNumber, type Kernel, LOCK_EX, LOCK_NB } from "../../bindings/linux/index.ts";
import type { Log } from "../base/index.ts";

/** Who holds it writes a file or two; one that stands still must not keep others from starting or ending. */
const ATTEMPTS_MAX = 400;
const RETRY_MS = 5;

/** All that a lock needs of the kernel. */
type Locker = { readonly sys: Pick<Kernel["sys"], "flock" | "errno"> };

export type Locked = <T>(use: () => T) => T;

/** Without a kernel nothing is locked: there is nobody but this process, as in tests. */
export function createFolderLock(kernel: Locker | undefined, folder: string, log: Log): Locked {
  if (kernel === undefined) return (use) => use();
  return (use) => {
    const fd = openFolder(folder);
    if (fd === undefined) return use();
    try {
      const outcome = takeLock(kernel, fd);
      if (outcome === "held") {
        log.warn?.("another process holds the folder's lock for too long: going on without it", { folder });
      } else if (outcome === "impossible") {
        log.debug?.("the folder cannot be locked", { folder });
      }
      return use();
    } finally {
      closeSync(fd);
    }
  };
}

/** `impossible`: there are file systems without locks, and waiting does not change them. */
function takeLock({ sys }: Locker, fd: number): "taken" | "held" | "impossible" {
  const idle = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (sys.flock(fd, LOCK_EX | LOCK_NB) === 0) return "taken";
    const errno = sys.errno();
    if (errno !== errnoNumber("EAGAIN") && errno !== errnoNumber("EINTR")) return "impossible";
    Atomics.wait(idle, 0, 0, RETRY_MS);
  }
  return "held";
}

function openFolder(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch {
    // A folder that cannot be opened cannot be written either: what follows says so.
    return undefined;
  }
}
