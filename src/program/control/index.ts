export { type CommonParts, commonMethods } from "./common-methods.ts";
export { type ControlClient, findInstances, openControlClient } from "./control-client.ts";
export {
  type ControlServer,
  type ControlServerOptions,
  groupNumber,
  openControlServer,
} from "./control-server.ts";
export {
  type ConnectionChangeEvent,
  type ControlEvent,
  createEventBus,
  createEventQueue,
  EVENT_NAMES,
  type EventBus,
  type QueuedEvent,
} from "./events.ts";
export { type ControlMethod, type ControlMethods, method } from "./methods.ts";
export { type EventCommands, type OnEventOptions, runOnEvents } from "./on-event.ts";
export { ControlRefusal, createLineReader, LINE_BYTES_MAX, readRequest } from "./protocol.ts";
export type {
  AnyStatus,
  AuthorizationView,
  ConnectionView,
  Counts,
  DnsStatus,
  EgressStatus,
  HistogramView,
  LookupView,
  NatView,
  PairView,
  PeerStatus,
  PlaneStatus,
  PortalLinkStatus,
  PortalServerStatus,
  PresentView,
  ProgramStatus,
  RelayServerStatus,
  RelayStatus,
  ResourceView,
  RunningFlowView,
  SocketsStatus,
  TunStatus,
  WhyView,
} from "./status.ts";
