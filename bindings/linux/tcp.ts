/** TCP connections as bare descriptors, marked before they are connected (PG-43). */
import type { SocketAddress } from "../../src/base/index.ts";
import { errnoNumber, hostError } from "./errno.ts";
import { POLLOUT } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr } from "./sockaddr.ts";
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
  TCP_NODELAY,
} from "./socket-constants.ts";
import { getSocketOption, pollOne, setSocketOption } from "./socket-option.ts";
import { type SocketWay, setWay } from "./socket-way.ts";

export interface TcpAttempt {
  readonly fd: number;
  /** 0 once connected, an error number when refused, EINPROGRESS meanwhile. Never waits. */
  result(): number;
  close(): void;
}

/**
 * Begins to connect a non-blocking socket.
 *
 * @throws PosternError `privilege` for a refused mark, `host` when there is no socket or device
 */
export function startTcp(kernel: Kernel, to: SocketAddress, way: SocketWay): TcpAttempt {
  const { sys } = kernel;
  const family = to.address.length === 4 ? AF_INET : AF_INET6;
  const fd = sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw hostError("cannot open a TCP socket", "socket", sys.errno());
  try {
    setWay(kernel, fd, way);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  setSocketOption(kernel, fd, IPPROTO_TCP, TCP_NODELAY, 1);
  const pending = errnoNumber("EINPROGRESS");
  let result = connect(kernel, fd, to);
  return {
    fd,
    result() {
      if (result === pending && pollOne(kernel, fd, POLLOUT, 0) !== 0) {
        result = getSocketOption(kernel, fd, SOL_SOCKET, SO_ERROR) ?? errnoNumber("EBADF");
      }
      return result;
    },
    close: () => void sys.close(fd),
  };
}

function connect(kernel: Kernel, fd: number, to: SocketAddress): number {
  return kernel.scratch.frame((room) => {
    const at = room.take(SOCKADDR_IN6_BYTES);
    const bytes = encodeSockaddr(to, room.bytes(at, SOCKADDR_IN6_BYTES));
    return kernel.sys.connect(fd, at, bytes) < 0 ? kernel.sys.errno() : 0;
  });
}
