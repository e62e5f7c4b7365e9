import { isErrno } from "./errno.ts";
import { POLLFD_BYTES } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";

/** Sets an option that is an int. Returns 0, or the error number. */
export function setSocketOption(
  kernel: Kernel,
  fd: number,
  level: number,
  name: number,
  value: number,
): number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(4);
    // Marks use all 32 bits; the kernel reads the same four bytes either way.
    room.view.setUint32(at, value >>> 0, true);
    return sys.setsockopt(fd, level, name, at, 4) < 0 ? sys.errno() : 0;
  });
}

/** Reads an option that is an int; `undefined` when the kernel refuses. */
export function getSocketOption(kernel: Kernel, fd: number, level: number, name: number): number | undefined {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(4);
    const length = room.take(4);
    room.view.setUint32(length, 4, true);
    return sys.getsockopt(fd, level, name, at, length) < 0 ? undefined : room.view.getInt32(at, true);
  });
}

/**
 * Waits for one descriptor. Only for answers that the kernel gives at once (netlink) and with 0:
 * control must not stand still.
 *
 * @returns the events that are ready, 0 after `timeoutMs`
 */
export function pollOne(kernel: Kernel, fd: number, events: number, timeoutMs: number): number {
  const { sys, scratch } = kernel;
  return scratch.frame((room) => {
    const at = room.take(POLLFD_BYTES);
    room.view.setInt32(at, fd, true);
    room.view.setUint16(at + 4, events, true);
    while (sys.poll(at, 1, timeoutMs) < 0) {
      if (!isErrno(sys.errno(), "EINTR")) return 0;
    }
    return room.view.getUint16(at + 6, true);
  });
}
