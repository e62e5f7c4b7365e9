/** UDP sockets for one question to one server, marked before they are connected (PG-63, PG-64). */
import { copyOf, type SocketAddress } from "../../src/base/index.ts";
import { hostError, isErrno } from "./errno.ts";
import { POLLIN } from "./file-constants.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr } from "./sockaddr.ts";
import {
  AF_INET,
  AF_INET6,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCKADDR_IN6_BYTES,
} from "./socket-constants.ts";
import { pollOne } from "./socket-option.ts";
import { type SocketWay, setWay } from "./socket-way.ts";

export interface ConnectedUdp {
  readonly fd: number;
  /** 0, or the error number. */
  send(bytes: Uint8Array): number;
  /**
   * One datagram as a copy; `undefined` while there is none; an error number when the network said that
   * none will come (ECONNREFUSED). Never waits.
   */
  receive(): Uint8Array<ArrayBuffer> | number | undefined;
  close(): void;
}

const RECEIVE_BYTES = 4096;

/**
 * Opens a socket on a random port that only `to` can answer.
 *
 * @throws PosternError `privilege` for a refused mark; `host` when there is no socket, or no way to `to`
 */
export function connectUdp(kernel: Kernel, to: SocketAddress, way: SocketWay): ConnectedUdp {
  const { sys, scratch } = kernel;
  const family = to.address.length === 4 ? AF_INET : AF_INET6;
  const fd = sys.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw hostError("cannot open a UDP socket", "socket", sys.errno());
  try {
    setWay(kernel, fd, way);
    const errno = scratch.frame((room) => {
      const at = room.take(SOCKADDR_IN6_BYTES);
      const bytes = encodeSockaddr(to, room.bytes(at, SOCKADDR_IN6_BYTES));
      return sys.connect(fd, at, bytes) < 0 ? sys.errno() : 0;
    });
    if (errno !== 0) throw hostError("cannot connect a UDP socket", "connect", errno);
  } catch (error) {
    sys.close(fd);
    throw error;
  }
  return {
    fd,
    send: (bytes) =>
      scratch.frame((room) => (sys.write(fd, room.put(bytes), bytes.length) < 0 ? sys.errno() : 0)),
    receive() {
      if (pollOne(kernel, fd, POLLIN, 0) === 0) return undefined;
      return scratch.frame((room) => {
        const at = room.take(RECEIVE_BYTES);
        const length = sys.read(fd, at, RECEIVE_BYTES);
        if (length >= 0) return copyOf(room.bytes(at, length));
        const errno = sys.errno();
        return isErrno(errno, "EAGAIN") ? undefined : errno;
      });
    },
    close: () => void sys.close(fd),
  };
}
