/** TCP connections as bare descriptors, marked before they are connected (PG-43). */
import { formatSocketAddress, PosternError, type SocketAddress } from "../../src/base/index.ts";
import { errnoNumber, hostError, SystemCallError } from "./errno.ts";
import { POLLOUT } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr } from "./sockaddr.ts";
import {
  AF_INET,
  AF_INET6,
  IPPROTO_TCP,
  SO_ERROR,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  SOL_SOCKET,
  TCP_NODELAY,
  TCP_NOTSENT_LOWAT,
} from "./socket-constants.ts";
import { getSocketOption, pollOne, setSocketOption } from "./socket-option.ts";
import { type SocketWay, setWay } from "./socket-way.ts";

/**
 * How much the kernel holds that it has not sent yet: more waits with us, where it can still be dropped, or be
 * overtaken (RL-204). Without a limit a slow network fills a send buffer of megabytes, seconds of it.
 */
const NOT_SENT_BYTES_MAX = 128 << 10;

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
  const fd = openSocket(kernel, to);
  try {
    setWay(kernel, fd, way);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  const pending = errnoNumber("EINPROGRESS");
  let result = at(kernel, to, (address, bytes) => sys.connect(fd, address, bytes));
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

/**
 * A descriptor that is bound and waits for `listen`; connections inherit its options.
 *
 * @throws PosternError `address-in-use`; `host` when there is no socket, or no such address
 */
export function bindTcp(kernel: Kernel, address: SocketAddress): number {
  const { sys } = kernel;
  const fd = openSocket(kernel, address);
  setSocketOption(kernel, fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const error = at(kernel, address, (name, bytes) => sys.bind(fd, name, bytes));
  if (error === 0) return fd;
  sys.close(fd);
  const what = `cannot listen on ${formatSocketAddress(address)}`;
  if (error !== errnoNumber("EADDRINUSE")) throw hostError(what, "bind", error);
  const cause = new SystemCallError("bind", error);
  throw new PosternError("address-in-use", `${what}: another program does`, "choose another port", { cause });
}

function openSocket(kernel: Kernel, { address }: SocketAddress): number {
  const { sys } = kernel;
  const family = address.length === 4 ? AF_INET : AF_INET6;
  const fd = sys.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw hostError("cannot open a TCP socket", "socket", sys.errno());
  setSocketOption(kernel, fd, IPPROTO_TCP, TCP_NODELAY, 1);
  setSocketOption(kernel, fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOT_SENT_BYTES_MAX);
  return fd;
}

/** Makes a call with a socket's name. @returns 0, or the error number */
function at(kernel: Kernel, to: SocketAddress, call: (name: number, bytes: number) => number): number {
  return kernel.scratch.frame((room) => {
    const name = room.take(SOCKADDR_IN6_BYTES);
    const bytes = encodeSockaddr(to, room.bytes(name, SOCKADDR_IN6_BYTES));
    return call(name, bytes) < 0 ? kernel.sys.errno() : 0;
  });
}
