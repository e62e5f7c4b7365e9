export {
  createTunnelClient,
  type ResourceStatus,
  type TunnelClient,
  type TunnelClientCounter,
  type TunnelClientEvent,
  type TunnelClientOptions,
  type TunnelCommand,
  type TunnelInterface,
} from "./client.ts";
export {
  createTunnelGateway,
  type TunnelGateway,
  type TunnelGatewayCounter,
  type TunnelGatewayEvent,
  type TunnelGatewayOptions,
} from "./gateway.ts";
