import { hostError } from "./errno.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";

/**
 * Wakes a worker that waits in `poll` (D-13). The waiting side may read it to clear it; the one that means
 * "stop" is never read, so that every later `poll` returns at once (PF-23).
 */
export interface EventFd {
  readonly fd: number;
  /** Makes the descriptor readable. Signals add up until somebody reads. */
  signal(): void;
  close(): void;
}

export function openEventFd(kernel: Kernel): EventFd {
  const { sys, scratch } = kernel;
  const fd = sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw hostError("cannot open an eventfd", "eventfd", sys.errno());
  return {
    fd,
    signal() {
      scratch.frame((room) => {
        const one = room.take(8);
        room.view.setBigUint64(one, 1n, true);
        // Refused only when the counter is full: then it is readable already.
        sys.write(fd, one, 8);
      });
    },
    close() {
      sys.close(fd);
    },
  };
}
