export { MAX_CANDIDATES_SENT } from "./candidate-list.ts";
export type { Channel, ChannelEvent, ChannelParse, Topic } from "./channel.ts";
export {
  type ClientMessage,
  type ClientRequest,
  clientChannel,
  type FlowCreated,
  type FlowFailureReason,
} from "./client-channel.ts";
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
export type { ClientResource, Filter, GatewayResource, IpStack, Site } from "./resource.ts";
export { type IceCredentials, NEVER_EXPIRES_S } from "./scalar.ts";
