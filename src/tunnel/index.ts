export {
  createTunnelClient,
  type ResourceStatus,
  type TunnelClient,
  type TunnelClientCounter,
  type TunnelClientEvent,
  type TunnelClientOptions,
} from "./client.ts";
export { RESERVED_RANGES } from "./constants.ts";
export type { PeerChange, TunnelCommand, TunnelEnd, TunnelInterface } from "./endpoint.ts";
export type { FlowReport } from "./flow-log.ts";
export {
  createTunnelGateway,
  type RunningFlow,
  type TunnelGateway,
  type TunnelGatewayCounter,
  type TunnelGatewayEvent,
  type TunnelGatewayOptions,
} from "./gateway.ts";
