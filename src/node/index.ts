export type { IceCredentials } from "../ice/index.ts";
export type {
  ConnectionRequest,
  ConnectionState,
  ConnectionStats,
  Datagram,
  DatagramOutcome,
  FailReason,
  Node,
  NodeCounter,
  NodeEvent,
  NodeOptions,
  NodeRole,
  NodeStats,
  NodeTimeout,
  NodeTransmit,
  PathKind,
  RelayEntry,
  RelayUpdate,
  SendOutcome,
  UpsertOutcome,
} from "./face.ts";
export { createNode } from "./node.ts";
export { createPlaneTwin, type PlaneTwin, type PlaneTwinOptions } from "./plane-twin.ts";
export { createStandaloneNode, type StandaloneNode } from "./standalone.ts";
