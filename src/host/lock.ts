/** One instance per name and host (PG-10). */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { errnoNumber, hostError, type Kernel, LOCK_EX, LOCK_NB } from "../../bindings/linux/index.ts";
import { PosternError } from "../base/index.ts";

export interface InstanceLock {
  readonly path: string;
  /** Removes the file, too (PG-15). A process that dies keeps no lock either, but leaves the file. */
  release(): void;
}

/** Each attempt more means that another instance has just stopped. */
const ATTEMPTS_MAX = 8;

/**
 * Takes the lock of an instance in the first folder that can be written.
 *
 * @throws PosternError `in-use` with the holder's process id; `host` when no folder can be written
 */
export function takeLock(
  kernel: Kernel,
  instance: string,
  folders: readonly string[],
  remedy = "stop it, or give this one another name with --instance",
): InstanceLock {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const { path, fd } = openLockFile(instance, folders);
    lockOrFail(kernel, instance, { path, fd }, remedy);
    if (!isStillThere(path, fd)) {
      // Between our opening and our locking it, its holder stopped and removed it: the next may make another.
      closeSync(fd);
      continue;
    }
    sayHolder(path, fd);
    return { path, release: () => removeLock(path, fd) };
  }
  throw new PosternError("in-use", `other instances of ${instance} are being started and stopped`);
}

/** @throws PosternError `host` on a full file system, for one; the lock is let go then */
function sayHolder(path: string, fd: number): void {
  try {
    ftruncateSync(fd);
    // Once again what the kernel did not take at once.
    writeFileSync(fd, `${process.pid}\n`);
  } catch (cause) {
    removeLock(path, fd);
    throw new PosternError("host", `cannot write the lock file ${path}`, undefined, { cause });
  }
}

/** Removes the file first, while nobody else can have locked it, then lets go. */
function removeLock(path: string, fd: number): void {
  try {
    if (isStillThere(path, fd)) unlinkSync(path);
  } finally {
    closeSync(fd);
  }
}

function lockOrFail(
  kernel: Kernel,
  instance: string,
  { path, fd }: { path: string; fd: number },
  remedy: string,
): void {
  if (kernel.sys.flock(fd, LOCK_EX | LOCK_NB) === 0) return;
  const errno = kernel.sys.errno();
  closeSync(fd);
  if (errno !== errnoNumber("EAGAIN")) throw hostError(`cannot lock ${path}`, "flock", errno);
  throw new PosternError(
    "in-use",
    `another instance of ${instance} is running (process ${holderOf(path)})`,
    remedy,
  );
}

function holderOf(path: string): string {
  try {
    return /^\d+/.exec(readFileSync(path, "utf8"))?.[0] ?? "unknown";
  } catch {
    // It has stopped since.
    return "unknown";
  }
}

/** Whether the open file is the one that has the name now. */
export function isStillThere(path: string, fd: number): boolean {
  try {
    const named = statSync(path);
    const open = fstatSync(fd);
    return named.ino === open.ino && named.dev === open.dev;
  } catch {
    return false;
  }
}

function openLockFile(instance: string, folders: readonly string[]): { path: string; fd: number } {
  let cause: unknown;
  for (const folder of folders) {
    const path = join(folder, `${instance}.lock`);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      // Whoever can open it can lock it.
      return { path, fd: openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600) };
    } catch (error) {
      cause = error;
    }
  }
  throw new PosternError("host", `cannot write a lock file in ${folders.join(" or ")}`, undefined, { cause });
}
