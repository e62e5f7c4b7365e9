/** One instance per name and host (PG-10). */
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { errnoNumber, hostError, type Kernel, LOCK_EX, LOCK_NB } from "../../bindings/linux/index.ts";
import { PosternError } from "../base/index.ts";

export interface InstanceLock {
  readonly path: string;
  /** Ends with the process too: the kernel drops the lock with the descriptor. */
  release(): void;
}

/** `/run/postern`, or the user's own run folder where that one is not writable. */
export function runFolders(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  const own = env["XDG_RUNTIME_DIR"];
  return ["/run/postern", ...(own === undefined || own === "" ? [] : [join(own, "postern")])];
}

/**
 * Takes the lock of an instance in the first folder that can be written.
 *
 * @throws PosternError `in-use` with the holder's process id; `host` when no folder can be written
 */
export function takeLock(kernel: Kernel, instance: string, folders: readonly string[]): InstanceLock {
  const { path, fd } = openLockFile(instance, folders);
  if (kernel.sys.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const errno = kernel.sys.errno();
    closeSync(fd);
    if (errno !== errnoNumber("EAGAIN")) throw hostError(`cannot lock ${path}`, "flock", errno);
    const holder = /^\d+/.exec(readFileSync(path, "utf8"))?.[0] ?? "unknown";
    throw new PosternError(
      "in-use",
      `another instance of ${instance} is running (process ${holder})`,
      "stop it, or give this one another name with --instance",
    );
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`, 0);
  return { path, release: () => closeSync(fd) };
}

function openLockFile(instance: string, folders: readonly string[]): { path: string; fd: number } {
  let cause: unknown;
  for (const folder of folders) {
    const path = join(folder, `${instance}.lock`);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o755 });
      return { path, fd: openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o644) };
    } catch (error) {
      cause = error;
    }
  }
  throw new PosternError("host", `cannot write a lock file in ${folders.join(" or ")}`, undefined, { cause });
}
