export { type Backoff, nextPause, restarted } from "./backoff.ts";
export { MAX_CANDIDATES_SENT } from "./candidate-list.ts";
export type { Channel, ChannelEvent, ChannelParse, Topic } from "./channel.ts";
export {
  type ClientMessage,
  type ClientRequest,
  clientChannel,
  type FlowCreated,
  type FlowFailureReason,
} from "./client-channel.ts";
export { createPortalConnection, type PortalConnection, type PortalStateKind } from "./connection.ts";
export type {
  PortalConnectionOptions,
  PortalCounters,
  PortalEvent,
  PortalTransmit,
} from "./connection-core.ts";
export {
  CLOSE_NORMAL,
  CLOSE_REPLACED,
  MAX_PARTITION_MS,
  MAX_PEER_FRAME_BYTES,
  MAX_PORTAL_FRAME_BYTES,
  MAX_SOCKET_BUFFER_BYTES,
  TCP_TIMEOUT_MS,
} from "./constants.ts";
export {
  type ConnectFailure,
  codeOf,
  describeFatal,
  describeTransient,
  type FatalError,
  isCertificateCode,
  type TransientError,
} from "./failure.ts";
export { permitsService, type Service } from "./filter.ts";
export { type Frame, type MalformedFrame, parseFrame, type Ref, toFrameText } from "./frame.ts";
export {
  type Authorization,
  type AuthorizeFlow,
  type FlowClient,
  type FlowSubject,
  type GatewayMessage,
  type GatewayRequest,
  gatewayChannel,
} from "./gateway-channel.ts";
export type { ClientInterface, RelayEntry, TunnelAddresses } from "./interface.ts";
export {
  authorityOf,
  type ConnectParams,
  externalIdOf,
  type LoginParams,
  literalOf,
  type MalformedPortalUrl,
  type PortalUrl,
  parsePortalUrl,
  type RelayParams,
  socketUrlOf,
  toHeaderText,
  type UserAgentParts,
  userAgentOf,
} from "./login.ts";
export { type RelayMessage, type RelayRequest, relayChannel } from "./relay-channel.ts";
export { parseRelayJoin, type RelayJoin, type RelayStreams } from "./relay-join.ts";
export type { ClientResource, Filter, GatewayResource, IpStack, Site } from "./resource.ts";
export { type IceCredentials, NEVER_EXPIRES_S } from "./scalar.ts";
