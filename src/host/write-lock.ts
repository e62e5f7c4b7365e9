/**
 * One process at a time for a file that several rewrite (DN-104). What is locked is a file of its own, which only
 * whoever may write can open: a folder or a file that everybody may read can be locked by everybody, too, and who
 * waits for the lock does nothing else meanwhile. It is there only as long as somebody holds it.
 */
import { closeSync, constants, mkdirSync, openSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { errnoNumber, type Kernel, LOCK_EX, LOCK_NB } from "../../bindings/linux/index.ts";
import type { Log } from "../base/index.ts";
import { isStillThere } from "./lock.ts";

/** Who holds it writes a file or two; one that stands still must not keep others from starting or ending. */
const ATTEMPTS_MAX = 400;
const RETRY_MS = 5;
const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;

/** All that a lock needs of the kernel. */
type Locker = { readonly sys: Pick<Kernel["sys"], "flock" | "errno"> };

export type Locked = <T>(use: () => T) => T;

/** Without a kernel nothing is locked: there is nobody but this process, as in tests. */
export function createWriteLock(kernel: Locker | undefined, path: string, log: Log): Locked {
  if (kernel === undefined) return (use) => use();
  return (use) => {
    const taken = takeLock(kernel, path);
    if (taken === "held") {
      log.warn?.("another process holds the lock for too long: going on without it", { path });
    } else if (taken === "impossible") {
      log.debug?.("there can be no lock", { path });
    }
    try {
      return use();
    } finally {
      if (typeof taken === "number") letGo(path, taken);
    }
  };
}

/**
 * A descriptor, or why there is none. `impossible`: the folder cannot be written, or its file system has no locks;
 * waiting does not change that.
 */
function takeLock({ sys }: Locker, path: string): number | "held" | "impossible" {
  const idle = new Int32Array(new SharedArrayBuffer(4));
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const fd = openFile(path);
    if (fd === undefined) return "impossible";
    const isLocked = sys.flock(fd, LOCK_EX | LOCK_NB) === 0;
    const errno = isLocked ? 0 : sys.errno();
    // Between our opening and our locking it, its holder may have removed it: the next has made another.
    if (isLocked && isStillThere(path, fd)) return fd;
    closeSync(fd);
    if (!isLocked && errno !== errnoNumber("EAGAIN") && errno !== errnoNumber("EINTR")) return "impossible";
    if (!isLocked) Atomics.wait(idle, 0, 0, RETRY_MS);
  }
  return "held";
}

/** Removes it first, while nobody else can have locked it. */
function letGo(path: string, fd: number): void {
  try {
    if (isStillThere(path, fd)) unlinkSync(path);
  } catch {
    // What is left behind is as good a lock for the next.
  }
  closeSync(fd);
}

function openFile(path: string): number | undefined {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    return openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
  } catch {
    return undefined;
  }
}
