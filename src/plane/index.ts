export type { HandshakeGuard, PathRecord, PlaneCommand, Publication, SessionKeys } from "./command.ts";
export type { DataPunt, PlaneEvent } from "./event.ts";
export type {
  EndedFlow,
  FlowDirection,
  FlowEnd,
  FlowEnding,
  FlowFarewell,
  FlowRecord,
  FlowStamps,
  FlowUsage,
  FlowVerdict,
  PlaneFlows,
} from "./flow.ts";
export { TUNNEL_PEERS_MAX } from "./limits.ts";
export type { PeerPermits, PeerPolicy, PermitsByFlow, PolicyTables, Route, RouteTarget } from "./policy.ts";
export { NO_ACTIVITY, type PeerActivity, type PlaneRecords } from "./records.ts";
export type {
  BindingUsage,
  IpFamily,
  PortResult,
  RelayBinding,
  RelayCommand,
  RelayFlow,
  RelayPlane,
  RelayUsage,
} from "./relay.ts";
