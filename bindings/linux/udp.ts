/**
 * The UDP sockets of the transport, one per family and pair of workers (PG-41 to PG-44, PG-176).
 *
 * They are unconnected and bound to the unspecified address. The first pair binds alone: SO_REUSEADDR is never set,
 * and SO_REUSEPORT only afterwards and only if there are other pairs, so that a port that another process has is
 * noticed.
 */
import type { PosternError, SocketAddress } from "../../src/base/index.ts";
import { hostError, isErrno } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr, parseSockaddr } from "./sockaddr.ts";
import * as S from "./socket-constants.ts";
import { getSocketOption, setSocketOption } from "./socket-option.ts";
import { type SocketWay, setWay } from "./socket-way.ts";

/** Which port the sockets shall have. */
export type PortChoice =
  /** This one, else a random one; each family for itself (PG-41). */
  | { readonly kind: "preferred"; readonly port: number }
  /** This one or an error: an administrator wrote it down (WG-57). */
  | { readonly kind: "fixed"; readonly port: number }
  /** One that the system chooses, the same for both families (WG-57). */
  | { readonly kind: "any" };

export interface UdpOptions extends SocketWay {
  readonly port: PortChoice;
  /** Whether to ask for GRO runs (flag `gro`, PG-118). */
  readonly gro: boolean;
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
  /** So many of each family, on the same ports; default 1. The kernel gives each sender to one of them. */
  readonly pairs?: number;
}

export interface UdpSocket {
  readonly fd: number;
  readonly family: 4 | 6;
  readonly port: number;
  /** Whether a receive may return a GRO run. */
  readonly gro: boolean;
  /** Granted, which may be less than asked for (PG-44). */
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
}

export interface UdpSockets {
  readonly v4?: UdpSocket;
  readonly v6?: UdpSocket;
  /** Those of the other pairs, on the same ports. */
  readonly others: readonly { readonly v4?: UdpSocket; readonly v6?: UdpSocket }[];
  /** Why a family is missing, for the log. */
  readonly missing: readonly { readonly family: 4 | 6; readonly errno: number }[];
  close(): void;
}

/**
 * Opens both sockets. A missing family is no error; two are.
 *
 * @throws PosternError `privilege` when the mark is refused; `host` when there is no socket at all, no such
 * device, or when a fixed port is taken. `errnoOf` gives the number.
 */
export function openUdpSockets(kernel: Kernel, options: UdpOptions): UdpSockets {
  const first = openFirst(kernel, options);
  const opened = [first.v4, first.v6].filter((one) => one !== undefined);
  const others: { v4?: UdpSocket; v6?: UdpSocket }[] = [];
  const close = (): void => closeAll(kernel, ...opened);
  try {
    for (let pair = 1; pair < (options.pairs ?? 1); pair++) {
      const v4 = first.v4 && openBeside(kernel, first.v4, options);
      if (v4 !== undefined) opened.push(v4);
      const v6 = first.v6 && openBeside(kernel, first.v6, options);
      if (v6 !== undefined) opened.push(v6);
      others.push({ ...(v4 && { v4 }), ...(v6 && { v6 }) });
    }
  } catch (error) {
    close();
    throw error;
  }
  return { ...first, others, close };
}

/** One more socket on the port of one that has bound it alone. */
function openBeside(kernel: Kernel, first: UdpSocket, options: UdpOptions): UdpSocket {
  const errno = setSocketOption(kernel, first.fd, S.SOL_SOCKET, S.SO_REUSEPORT, 1);
  if (errno !== 0) throw hostError("cannot share a UDP port between workers", "setsockopt", errno);
  const port: PortChoice = { kind: "fixed", port: first.port };
  const socket = openUdpSocket(kernel, first.family, { ...options, port }, true);
  if (isRefused(socket)) throw refused(port, socket);
  return socket;
}

function openFirst(kernel: Kernel, options: UdpOptions): Omit<UdpSockets, "others" | "close"> {
  for (let attempt = 1; ; attempt++) {
    const v4 = openUdpSocket(kernel, 4, options);
    // The second family follows the first to its random port; that may be taken there.
    const followed = options.port.kind === "any" && !isRefused(v4) ? v4.port : undefined;
    const v6 = openSecond(kernel, followed, options, v4);
    if (isRefused(v6) && followed !== undefined && isErrno(v6.errno, "EADDRINUSE")) {
      closeAll(kernel, v4);
      if (attempt < SAME_PORT_ATTEMPTS) continue;
      throw hostError("cannot find a port that is free for IPv4 and IPv6", v6.call, v6.errno);
    }
    return toSockets(kernel, options, v4, v6);
  }
}

/** @param first is closed where this one is no matter of a family */
function openSecond(
  kernel: Kernel,
  followed: number | undefined,
  options: UdpOptions,
  first: Opened,
): Opened {
  const port: PortChoice = followed === undefined ? options.port : { kind: "fixed", port: followed };
  try {
    return openUdpSocket(kernel, 6, { ...options, port });
  } catch (error) {
    closeAll(kernel, first);
    throw error;
  }
}

const SAME_PORT_ATTEMPTS = 8;

/** A socket, or why there is none. */
type Opened = UdpSocket | Refused;

interface Refused {
  readonly call: string;
  readonly errno: number;
}

function isRefused(opened: Opened): opened is Refused {
  return "errno" in opened;
}

function toSockets(
  kernel: Kernel,
  options: UdpOptions,
  v4: Opened,
  v6: Opened,
): Omit<UdpSockets, "others" | "close"> {
  const refusals = [v4, v6].filter(isRefused);
  const isFixed = options.port.kind === "fixed";
  // Of a fixed port what the host does not lack by its nature is told, of two refusals before the other.
  const untoward = isFixed ? refusals.find(({ errno }) => !isErrno(errno, ...NO_SUCH_FAMILY)) : undefined;
  const refusal = untoward ?? (refusals.length === 2 ? refusals[0] : undefined);
  if (refusal !== undefined) {
    closeAll(kernel, v4, v6);
    throw refused(options.port, refusal);
  }
  const missing = [
    ...(isRefused(v4) ? [{ family: 4, errno: v4.errno } as const] : []),
    ...(isRefused(v6) ? [{ family: 6, errno: v6.errno } as const] : []),
  ];
  return { ...(isRefused(v4) ? {} : { v4 }), ...(isRefused(v6) ? {} : { v6 }), missing };
}

/** What a kernel without IPv6, or with it switched off, answers. */
const NO_SUCH_FAMILY = ["EAFNOSUPPORT", "EPROTONOSUPPORT", "EADDRNOTAVAIL"] as const;

function refused(port: PortChoice, { call, errno }: Refused): PosternError {
  if (port.kind === "fixed" && isErrno(errno, "EADDRINUSE")) {
    const hint = "stop the program that holds it, or choose another ListenPort";
    return hostError(`cannot bind UDP port ${port.port}`, call, errno, hint);
  }
  const isShort = isErrno(errno, "EMFILE", "ENFILE");
  const hint = isShort ? "raise the limit of open files (ulimit -n, LimitNOFILE=)" : undefined;
  return hostError("no UDP sockets available", call, errno, hint);
}

function closeAll(kernel: Kernel, ...opened: readonly Opened[]): void {
  for (const one of opened) if (!isRefused(one)) kernel.sys.close(one.fd);
}

function openUdpSocket(kernel: Kernel, family: 4 | 6, options: UdpOptions, isShared = false): Opened {
  const { sys } = kernel;
  const domain = family === 4 ? S.AF_INET : S.AF_INET6;
  const fd = sys.socket(domain, S.SOCK_DGRAM | S.SOCK_NONBLOCK | S.SOCK_CLOEXEC, 0);
  if (fd < 0) return { call: "socket", errno: sys.errno() };
  try {
    setWay(kernel, fd, options);
    const bound = bindWithOptions(kernel, fd, family, options.port, isShared);
    if (typeof bound !== "number") {
      sys.close(fd);
      return bound;
    }
    setSocketOption(kernel, fd, S.SOL_SOCKET, S.SO_RXQ_OVFL, 1);
    const gro = options.gro && setSocketOption(kernel, fd, S.SOL_UDP, S.UDP_GRO, 1) === 0;
    return { fd, family, gro, port: bound, ...growBuffers(kernel, fd, options) };
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** The port, or what the kernel refused: a family without its options is as good as none (PG-41). */
function bindWithOptions(
  kernel: Kernel,
  fd: number,
  family: 4 | 6,
  choice: PortChoice,
  isShared: boolean,
): number | Refused {
  const options = [...FAMILY_OPTIONS[family], ...(isShared ? [SHARED] : [])];
  for (const [level, name, value] of options) {
    const errno = setSocketOption(kernel, fd, level, name, value);
    if (errno !== 0) return { call: `setsockopt ${level} ${name}`, errno };
  }
  const errno = bindTo(kernel, fd, family, choice);
  if (errno !== 0) return { call: "bind", errno };
  const port = boundPort(kernel, fd);
  return port === 0 ? { call: "getsockname", errno: kernel.sys.errno() } : port;
}

/** Whether one send can carry many segments (Linux 4.18). The socket is as before afterwards. */
export function supportsSegmentation(kernel: Kernel, fd: number): boolean {
  // 0 switches it off, which a kernel that does not know it refuses just the same.
  return setSocketOption(kernel, fd, S.SOL_UDP, S.UDP_SEGMENT, 0) === 0;
}

type Option = readonly [level: number, name: number, value: number];

const FAMILY_OPTIONS: Readonly<Record<4 | 6, readonly Option[]>> = {
  4: [
    [S.IPPROTO_IP, S.IP_PKTINFO, 1],
    [S.IPPROTO_IP, S.IP_RECVTOS, 1],
    [S.IPPROTO_IP, S.IP_MTU_DISCOVER, S.IP_PMTUDISC_WANT],
  ],
  6: [
    [S.IPPROTO_IPV6, S.IPV6_V6ONLY, 1],
    [S.IPPROTO_IPV6, S.IPV6_RECVPKTINFO, 1],
    [S.IPPROTO_IPV6, S.IPV6_RECVTCLASS, 1],
    [S.IPPROTO_IPV6, S.IPV6_MTU_DISCOVER, S.IPV6_PMTUDISC_WANT],
  ],
};

const SHARED: Option = [S.SOL_SOCKET, S.SO_REUSEPORT, 1];

/** Returns 0, or the error number of the last attempt. */
function bindTo(kernel: Kernel, fd: number, family: 4 | 6, choice: PortChoice): number {
  const ports = choice.kind === "any" ? [0] : choice.kind === "fixed" ? [choice.port] : [choice.port, 0];
  let errno = 0;
  for (const port of ports) {
    errno = bindAddress(kernel, fd, { address: new Uint8Array(family === 4 ? 4 : 16), port });
    if (errno === 0) return 0;
  }
  return errno;
}

/** Binds a socket. Returns 0, or the error number. */
export function bindAddress(kernel: Kernel, fd: number, to: SocketAddress): number {
  return kernel.scratch.frame((room) => {
    const at = room.take(S.SOCKADDR_IN6_BYTES);
    const bytes = encodeSockaddr(to, room.bytes(at, S.SOCKADDR_IN6_BYTES));
    return kernel.sys.bind(fd, at, bytes) < 0 ? kernel.sys.errno() : 0;
  });
}

/** The port a socket is bound to; 0 when it is not. */
export function boundPort(kernel: Kernel, fd: number): number {
  return kernel.scratch.frame((room) => {
    const at = room.take(S.SOCKADDR_IN6_BYTES);
    const length = room.take(4);
    room.view.setUint32(length, S.SOCKADDR_IN6_BYTES, true);
    if (kernel.sys.getsockname(fd, at, length) < 0) return 0;
    const name = parseSockaddr(room.bytes(at, room.view.getUint32(length, true)));
    return name.ok ? name.value.port : 0;
  });
}

/** Buffers of a socket, asked for and granted. */
export interface BufferBytes {
  readonly sendBufferBytes: number;
  readonly receiveBufferBytes: number;
}

/** Asks beyond the system's limits first, which needs CAP_NET_ADMIN; returns what was granted. */
export function growBuffers(kernel: Kernel, fd: number, wanted: BufferBytes): BufferBytes {
  return {
    sendBufferBytes: grow(kernel, fd, S.SO_SNDBUFFORCE, S.SO_SNDBUF, wanted.sendBufferBytes),
    receiveBufferBytes: grow(kernel, fd, S.SO_RCVBUFFORCE, S.SO_RCVBUF, wanted.receiveBufferBytes),
  };
}

function grow(kernel: Kernel, fd: number, force: number, plain: number, wantedBytes: number): number {
  if (setSocketOption(kernel, fd, S.SOL_SOCKET, force, wantedBytes) !== 0) {
    setSocketOption(kernel, fd, S.SOL_SOCKET, plain, wantedBytes);
  }
  // The kernel doubles the number for its own bookkeeping and reports it doubled.
  return (getSocketOption(kernel, fd, S.SOL_SOCKET, plain) ?? 0) / 2;
}
