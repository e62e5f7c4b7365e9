/** By which way the program's own packets leave: past its tunnel (PG-31), and by one interface (PG-62). */
import { PosternError } from "../../src/base/index.ts";
import { errnoName, hostError, SystemCallError } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { SO_BINDTOIFINDEX, SO_MARK, SOL_SOCKET } from "./socket-constants.ts";
import { setSocketOption } from "./socket-option.ts";
import { findInterface } from "./tun.ts";

export interface SocketWay {
  /** SO_MARK of everything sent; absent: none. */
  readonly mark?: number | undefined;
  /** Name of the interface by which everything leaves and comes; absent: whatever the routes say. */
  readonly device?: string | undefined;
}

/** @throws PosternError `privilege` for a refused mark, `host` when there is no such interface, or no answer */
export function setWay(kernel: Kernel, fd: number, { mark, device }: SocketWay): void {
  if (mark !== undefined) setMark(kernel, fd, mark);
  if (device !== undefined) bindToDevice(kernel, fd, device);
}

/**
 * Marks a socket, so that policy rules keep its packets out of the tunnel (PG-31).
 *
 * @throws PosternError `privilege`
 */
export function setMark(kernel: Kernel, fd: number, mark: number): void {
  const errno = setSocketOption(kernel, fd, SOL_SOCKET, SO_MARK, mark);
  if (errno === 0) return;
  throw new PosternError(
    "privilege",
    `cannot mark a socket: ${errnoName(errno)}`,
    "run as root or grant CAP_NET_ADMIN",
    { cause: new SystemCallError("setsockopt SO_MARK", errno) },
  );
}

function bindToDevice(kernel: Kernel, fd: number, device: string): void {
  const index = findInterface(kernel, device);
  if (index === undefined) {
    throw new PosternError(
      "host",
      `there is no interface ${device}`,
      "--egress-interface names one that exists",
    );
  }
  const errno = setSocketOption(kernel, fd, SOL_SOCKET, SO_BINDTOIFINDEX, index);
  if (errno !== 0) throw hostError(`cannot bind a socket to ${device}`, "setsockopt SO_BINDTOIFINDEX", errno);
}
