export type { SocketChoice, SocketGrade } from "./carrier.ts";
export {
  openUserspaceClient,
  type UserspaceClient,
  type UserspaceClientOptions,
} from "./client.ts";
export type { Addr, TcpSocket, UdpSocket } from "./face.ts";
export { openUserspaceGateway, type UserspaceGateway, type UserspaceGatewayOptions } from "./gateway.ts";
export type {
  DatagramFlow,
  FlowRefusal,
  HostTarget,
  InboundEcho,
  InboundFlow,
  InboundTcpFlow,
  InboundUdpFlow,
} from "./inbound.ts";
export { toAddress } from "./names.ts";
export type { UserspacePeer } from "./peer.ts";
export { PORT_MAX } from "./port.ts";
export type { RawReader, RawTcp } from "./raw-tcp.ts";
export type { ClientReach, Waiting } from "./reach.ts";
export type { UserspaceStatus } from "./status.ts";
export { takeRaw } from "./tcp-socket.ts";
export { createUnread } from "./unread.ts";
