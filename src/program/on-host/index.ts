export { type HostClient, openHostClient } from "./client.ts";
export { openHostGateway } from "./gateway.ts";
export type { HostPeer, HostSetting, HostStatus } from "./peer.ts";
