/**
 * The relay's UDP sockets (RL-50): a listening one per family, and one per allocation and family. None is
 * connected, what does not fit on the way may go in fragments, and no other process can share their ports.
 */
import type { IpAddress } from "../../src/base/index.ts";
import type { Kernel } from "./kernel.ts";
import * as S from "./socket-constants.ts";
import { setSocketOption } from "./socket-option.ts";
import { type BufferBytes, bindAddress, growBuffers } from "./udp.ts";

export interface RelaySocketOptions extends BufferBytes {
  /** Where it is bound; its length is the family. */
  readonly address: IpAddress;
  readonly port: number;
  /** Whether each datagram says which of our addresses it came to. */
  readonly hasPacketInfo: boolean;
}

export interface RelaySocket extends BufferBytes {
  readonly fd: number;
}

/** Opens one socket; a number is that of the error for want of it. */
export function openRelaySocket(kernel: Kernel, options: RelaySocketOptions): RelaySocket | number {
  const { sys } = kernel;
  const { address, port } = options;
  const isV6 = address.length === 16;
  const fd = sys.socket(isV6 ? S.AF_INET6 : S.AF_INET, S.SOCK_DGRAM | S.SOCK_NONBLOCK | S.SOCK_CLOEXEC, 0);
  if (fd < 0) return sys.errno();
  const errno =
    setAll(kernel, fd, isV6 ? V6_OPTIONS : V4_OPTIONS) ||
    // Without it answers would leave by another address than the one that was asked.
    (options.hasPacketInfo ? setAll(kernel, fd, [isV6 ? V6_PACKET_INFO : V4_PACKET_INFO]) : 0) ||
    bindAddress(kernel, fd, { address, port });
  if (errno !== 0) {
    sys.close(fd);
    return errno;
  }
  if (options.hasPacketInfo) setAll(kernel, fd, [[S.SOL_SOCKET, S.SO_RXQ_OVFL, 1]]);
  // A kernel without GRO gives single datagrams: everything works, slower.
  setAll(kernel, fd, [[S.SOL_UDP, S.UDP_GRO, 1]]);
  return { fd, ...growBuffers(kernel, fd, options) };
}

type Option = readonly [level: number, name: number, value: number];

const V4_OPTIONS: readonly Option[] = [
  [S.IPPROTO_IP, S.IP_MTU_DISCOVER, S.IP_PMTUDISC_OMIT],
  [S.IPPROTO_IP, S.IP_RECVTOS, 1],
];

const V6_OPTIONS: readonly Option[] = [
  [S.IPPROTO_IPV6, S.IPV6_V6ONLY, 1],
  [S.IPPROTO_IPV6, S.IPV6_MTU_DISCOVER, S.IPV6_PMTUDISC_OMIT],
  [S.IPPROTO_IPV6, S.IPV6_RECVTCLASS, 1],
];

const V4_PACKET_INFO: Option = [S.IPPROTO_IP, S.IP_PKTINFO, 1];
const V6_PACKET_INFO: Option = [S.IPPROTO_IPV6, S.IPV6_RECVPKTINFO, 1];

/** Returns 0, or the error number of the first that the kernel refused. */
function setAll(kernel: Kernel, fd: number, options: readonly Option[]): number {
  for (const [level, name, value] of options) {
    const errno = setSocketOption(kernel, fd, level, name, value);
    if (errno !== 0) return errno;
  }
  return 0;
}
