export { STREAM_CLIENTS } from "./constants.ts";
export { createTurnServer } from "./server.ts";
export type {
  ClientDatagram,
  RelayDrop,
  RelayLimits,
  RelayStats,
  RelayTransmit,
  TurnServer,
  TurnServerOptions,
} from "./server-face.ts";
