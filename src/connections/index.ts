export type { IceCredentials } from "../ice/index.ts";
export { CAUSES, type Cause, type CauseFacts } from "./causes.ts";
export { createConnections } from "./connections.ts";
export { RELAY_PORT } from "./constants.ts";
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
  PathRoute,
  PathWay,
  RelayChange,
  RelayEntry,
  RelayStats,
  RelayUpdate,
  RouteOpening,
  SendOutcome,
  StreamNews,
  StreamPlace,
  StreamRequest,
  UpsertOutcome,
  WriteTun,
} from "./face.ts";
export type { NatSight } from "./nat-sight.ts";
