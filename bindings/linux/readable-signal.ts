/**
 * Waiting for descriptors that no runtime knows, such as netlink sockets: the kernel sends SIGIO when there
 * is something to read. It costs no thread and no polling; libuv hands the signal to the main thread.
 */
import { F_SETFL, F_SETOWN, O_ASYNC, O_NONBLOCK } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";

/** Who is told; all of them for each signal, as signals merge and do not name their descriptor. */
const listeners = new Set<() => void>();
let isInstalled = false;

/**
 * Calls `listener` when one of the descriptors, which are non-blocking, may be readable; now and then
 * without need. Returns how to end that; close the descriptors first. Who has descriptors from the start looks
 * at them without a signal, too, since the kernel may refuse it.
 */
export function watchReadable(kernel: Kernel, fds: readonly number[], listener: () => void): () => void {
  // The handler stays for good: by default SIGIO ends the process, and one may be on its way.
  if (!isInstalled) process.on("SIGIO", tellAll);
  isInstalled = true;
  listeners.add(listener);
  for (const fd of fds) askForSignal(kernel, fd);
  return () => void listeners.delete(listener);
}

/** One more descriptor for a listener that watches already. Returns 0, or the error number. */
export function askForSignal({ sys }: Kernel, fd: number): number {
  const isAsked =
    sys.fcntl(fd, F_SETOWN, process.pid) === 0 && sys.fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) === 0;
  return isAsked ? 0 : sys.errno();
}

function tellAll(): void {
  for (const tell of [...listeners]) tell();
}
