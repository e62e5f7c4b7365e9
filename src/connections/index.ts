export type { IceCredentials } from "../ice/index.ts";
export { createConnections } from "./connections.ts";
export type {
  ConnectionCommand,
  ConnectionCounter,
  ConnectionEvent,
  ConnectionRequest,
  ConnectionRole,
  ConnectionState,
  ConnectionStats,
  Connections,
  ConnectionsOptions,
  ConnectionsStats,
  ConnectionTimeout,
  ConnectionTransmit,
  Datagram,
  DatagramOutcome,
  FailReason,
  PathKind,
  RelayEntry,
  RelayUpdate,
  RouteOpening,
  SendOutcome,
  UpsertOutcome,
} from "./face.ts";
export { createPlaneTwin, type PlaneTwin, type PlaneTwinOptions } from "./plane-twin.ts";
export { createStandaloneNode, type StandaloneNode } from "./standalone.ts";
