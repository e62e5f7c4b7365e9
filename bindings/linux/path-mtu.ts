/** The path's MTU as the kernel knows it, and datagrams that go whole or not at all (PG-43, SN-150, SN-151). */
import type { IpAddress, SocketAddress } from "../../src/base/index.ts";
import { type Datagram, type SendOutcome, sendDatagram } from "./datagram.ts";
import type { Kernel } from "./kernel.ts";
import { encodeSockaddr } from "./sockaddr.ts";
import * as S from "./socket-constants.ts";
import { getSocketOption, setSocketOption } from "./socket-option.ts";
import { type SocketWay, setWay } from "./socket-way.ts";

export interface MtuQuestion extends SocketWay {
  /** Absent: the kernel chooses. */
  readonly source?: IpAddress;
  readonly destination: SocketAddress;
}

/** Options by the family of the destination. */
const OPTIONS = {
  v4: { domain: S.AF_INET, level: S.IPPROTO_IP, discover: S.IP_MTU_DISCOVER, mtu: S.IP_MTU },
  v6: { domain: S.AF_INET6, level: S.IPPROTO_IPV6, discover: S.IPV6_MTU_DISCOVER, mtu: S.IPV6_MTU },
} as const;

/**
 * The largest IP packet, in bytes, that the kernel would send whole: the least of device, route and what ICMP
 * told of the destination. `undefined` where it knows no way. Nothing is sent: only a connected socket has a
 * route to ask for (ip(7), IP_MTU).
 */
export function readPathMtu(
  kernel: Kernel,
  { source, destination, ...way }: MtuQuestion,
): number | undefined {
  const { sys } = kernel;
  const { domain, level, mtu } = optionsOf(destination);
  const fd = sys.socket(domain, S.SOCK_DGRAM | S.SOCK_CLOEXEC, 0);
  if (fd < 0) return undefined;
  try {
    if (!hasWay(kernel, fd, way)) return undefined;
    // A source that the host has lost is no reason not to ask.
    if (source !== undefined)
      callWith(kernel, { address: source, port: 0 }, (at, bytes) => sys.bind(fd, at, bytes));
    if (callWith(kernel, destination, (at, bytes) => sys.connect(fd, at, bytes)) < 0) return undefined;
    return getSocketOption(kernel, fd, level, mtu);
  } finally {
    sys.close(fd);
  }
}

/**
 * Sends one datagram with DF, or not at all where the kernel knows that it is too long: `dropped`, `too-long`.
 *
 * The option is the socket's: of what a worker sends in this moment, too long a datagram is lost. The others
 * have DF in any case. Afterwards it is as PG-43 has it, whatever a worker has set for a moment of its own.
 */
export function sendWhole(kernel: Kernel, fd: number, datagram: Datagram): SendOutcome {
  const { level, discover } = optionsOf(datagram.to);
  setSocketOption(kernel, fd, level, discover, S.IP_PMTUDISC_DO);
  try {
    return sendDatagram(kernel, fd, datagram);
  } finally {
    setSocketOption(kernel, fd, level, discover, S.IP_PMTUDISC_WANT);
  }
}

/** An interface that is away now is no error of who asks: there is no way by it. */
function hasWay(kernel: Kernel, fd: number, way: SocketWay): boolean {
  try {
    setWay(kernel, fd, way);
    return true;
  } catch {
    return false;
  }
}

function optionsOf({ address }: SocketAddress): (typeof OPTIONS)[keyof typeof OPTIONS] {
  return address.length === 4 ? OPTIONS.v4 : OPTIONS.v6;
}

function callWith(
  { scratch }: Kernel,
  address: SocketAddress,
  call: (at: number, bytes: number) => number,
): number {
  return scratch.frame((room) => {
    const at = room.take(S.SOCKADDR_IN6_BYTES);
    return call(at, encodeSockaddr(address, room.bytes(at, S.SOCKADDR_IN6_BYTES)));
  });
}
