export { FRAME_BYTES_MAX, VNET_HEADER_BYTES } from "./encode.ts";
export type {
  Admission,
  CloseReason,
  ConnectError,
  ConnectOptions,
  TcpCounter,
  TcpCounters,
  TcpEvent,
  TcpHost,
  TcpHostOptions,
} from "./face.ts";
export { createTcpHost } from "./host.ts";
export { DNS_PROFILE, FULL_PROFILE, type TcpProfile } from "./profile.ts";
