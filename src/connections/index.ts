export type { IceCredentials } from "../ice/index.ts";
export { CAUSES, type Cause, type CauseFacts } from "./causes.ts";
export { routeOf } from "./changes.ts";
export { createConnections } from "./connections.ts";
export type {
  ConnectionChange,
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
  Explanation,
  FailReason,
  PathKind,
  PathWay,
  RelayEntry,
  RelayStats,
  RelayUpdate,
  RouteOpening,
  SendOutcome,
  UpsertOutcome,
} from "./face.ts";
export type { NatSight } from "./nat-sight.ts";
