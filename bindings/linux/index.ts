export { dropCapabilities } from "./capabilities.ts";
export { type ConnectedUdp, connectUdp } from "./connected-udp.ts";
export {
  CONTROL_BYTES_MAX,
  encodeControl,
  type MalformedControl,
  parseControl,
  type ReceivedControl,
  type SendControl,
} from "./control-message.ts";
export {
  type Datagram,
  type DropReason,
  type ReceivedDatagram,
  receiveDatagram,
  type SendOutcome,
  sendDatagram,
} from "./datagram.ts";
export {
  describeErrno,
  type ErrnoName,
  errnoName,
  errnoNumber,
  errnoOf,
  hostError,
  isErrno,
  isShortage,
  SHORTAGES,
  SystemCallError,
} from "./errno.ts";
export { type EventFd, openEventFd } from "./eventfd.ts";
export {
  CLOCK_BOOTTIME,
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLIN,
  LOCK_EX,
  LOCK_NB,
  POLLIN,
  TIMESPEC_BYTES,
} from "./file-constants.ts";
export { KERNEL_SCRATCH_BYTES, type Kernel, openKernel } from "./kernel.ts";
export type { Refusal } from "./netlink.ts";
export {
  RT_SCOPE_LINK,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTN_UNICAST,
  RTPROT_KERNEL,
  RTPROT_RA,
  RTPROT_STATIC,
} from "./netlink-constants.ts";
export { type NetlinkEvents, type NetworkEvent, openNetlinkEvents } from "./netlink-events.ts";
export {
  type Attribute,
  type MalformedNetlink,
  type NetlinkMessage,
  type NetlinkRequest,
  parseAcknowledgement,
  parseAttributes,
  parseMessages,
  toMessageBytes,
} from "./netlink-message.ts";
export { type Nftables, openNftables } from "./nftables.ts";
export {
  addIntervals,
  compare,
  countBy,
  deleteIntervals,
  deleteTable,
  isIn,
  loadDestinationType,
  loadMeta,
  loadPayload,
  type NftChange,
  type NftExpression,
  type NftInterval,
  type NftSet,
  newChain,
  newCounter,
  newRule,
  newSet,
  newTable,
  parseGeneration,
  transaction,
  verdict,
} from "./nftables-codec.ts";
export { type MtuQuestion, readPathMtu, sendWhole } from "./path-mtu.ts";
export {
  openQuerySockets,
  type QueryOutcome,
  type QuerySockets,
  type QuerySocketsOptions,
} from "./query-sockets.ts";
export { watchReadable } from "./readable-signal.ts";
export { openRelaySocket, type RelaySocket, type RelaySocketOptions } from "./relay-udp.ts";
export { type BestRoute, openRtnetlink, type Rtnetlink } from "./rtnetlink.ts";
export type {
  DeviceRoute,
  Family,
  InterfaceAddress,
  KernelRoute,
  Link,
  LinkChange,
  Rule,
} from "./rtnetlink-codec.ts";
export {
  addressRequest,
  bestRouteRequest,
  dumpRequest,
  linkRequest,
  parseAddress,
  parseLink,
  parseRoute,
  parseRule,
  routeRequest,
  ruleRequest,
} from "./rtnetlink-codec.ts";
export { encodeSockaddr, type MalformedSockaddr, parseSockaddr } from "./sockaddr.ts";
export {
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
} from "./socket-constants.ts";
export { getSocketOption, pollOne, setSocketOption } from "./socket-option.ts";
export { type SocketWay, setMark } from "./socket-way.ts";
export { bindTcp, startTcp, type TcpAttempt } from "./tcp.ts";
export {
  interfaceIndex,
  OFFLOADS_ALL,
  OFFLOADS_TCP,
  openTun,
  TUN_PATH,
  type Tun,
  type TunOptions,
} from "./tun.ts";
export { VNET_HEADER_BYTES } from "./tun-constants.ts";
export {
  boundPort,
  openUdpSockets,
  type PortChoice,
  supportsSegmentation,
  type UdpOptions,
  type UdpSocket,
  type UdpSockets,
} from "./udp.ts";
export { encodeUnixName, sendUnixDatagram } from "./unix-datagram.ts";
