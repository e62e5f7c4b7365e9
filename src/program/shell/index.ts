export { type Alarm, createAlarm } from "./alarm.ts";
export { readFeatures } from "./features.ts";
export { createHostKeeper, type HostKeeper } from "./host-keeper.ts";
export { FLOCK_MS, type HostWatch, watchHost } from "./host-watch.ts";
export { createOutbox, type Outbox, tellLost } from "./outbox.ts";
export {
  openPlaneHost,
  type PlaneFeatures,
  type PlaneHost,
  type PlaneHostOptions,
} from "./plane-host.ts";
export { createRebinding, type Rebinding } from "./rebinding.ts";
export {
  createShell,
  type Shell,
  type ShellCommand,
  type ShellMachine,
  type ShellOptions,
  type ShellPlane,
  type ShellTransmit,
  TURN_INPUTS,
} from "./shell.ts";
export {
  createSocketErrors,
  type SocketCounters,
  type SocketErrors,
  type SocketErrorsOptions,
} from "./socket-errors.ts";
export {
  allSockets,
  NO_SOCKETS,
  openTransportSockets,
  RECEIVE_BUFFER_BYTES,
  SEND_BUFFER_BYTES,
  sendControl,
  type TransportParts,
} from "./transport-sockets.ts";
export { createUndoStack, STOP_WITHIN_MS, type UndoStack } from "./undo.ts";
export { type PlaneWatch, watchPlane } from "./watch-plane.ts";
