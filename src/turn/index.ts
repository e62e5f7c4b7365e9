export type { TurnError, TurnFields } from "./attributes.ts";
export {
  type ChannelData,
  encodeChannelData,
  type MalformedChannelData,
  parseChannelData,
} from "./channel-data.ts";
export {
  CHANNEL_COOLING_MS,
  CHANNEL_FIRST,
  CHANNEL_HEADER_BYTES,
  CHANNEL_LAST,
  CHANNEL_LAST_ACCEPTED,
  CHANNEL_LIFE_MS,
  METHOD_ALLOCATE,
  METHOD_CHANNEL_BIND,
  METHOD_CREATE_PERMISSION,
  METHOD_DATA,
  METHOD_REFRESH,
  METHOD_SEND,
  TRANSPORT_UDP,
  TURN_MESSAGE_BYTES_MAX,
} from "./constants.ts";
export {
  type LongTermCredentials,
  longTermKey,
  type MalformedUsername,
  parseRelayUsername,
  printableAscii,
  type RelayUsername,
  relayCredentials,
  relayPassword,
  relaySalt,
} from "./credentials.ts";
export {
  encodeTurn,
  type MalformedTurn,
  parseTurn,
  type TurnContent,
  type TurnEncoding,
  type TurnMessage,
} from "./message.ts";
export { createRelayClient } from "./relay-client.ts";
export type {
  RelayAnswer,
  RelayCandidate,
  RelayClient,
  RelayClientEvent,
  RelayClientOptions,
  RelayCredentials,
  RelayDialect,
  RelayFreeReason,
  RelayServers,
  RelayState,
  RelayTransmit,
} from "./relay-client-face.ts";
export { areUsableCredentials } from "./relay-requests.ts";
export {
  createStreamQueue,
  createStreamReader,
  type StreamQueue,
  type StreamRead,
  toStream,
} from "./stream.ts";
