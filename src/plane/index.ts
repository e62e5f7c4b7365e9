export type { HandshakeGuard, PathRecord, PlaneCommand, Publication, SessionKeys } from "./command.ts";
export type { DataPunt, PlaneEvent } from "./event.ts";
export type { PeerPermits, PolicyTables, Route, RouteTarget } from "./policy.ts";
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
