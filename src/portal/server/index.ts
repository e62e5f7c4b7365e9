export {
  REQUESTS_PER_ADDRESS,
  type Refusal,
  type RefusalCode,
  type UpgradeRequest,
} from "./admission.ts";
export type { ServerCounters } from "./core.ts";
export type { UpgradeVerdict } from "./entrance.ts";
export { type AccessAnswer, type AccessQuestion, explainAccess } from "./explain-access.ts";
export { namedId, randomId } from "./ids.ts";
export type { PortalModel, TokenRecord } from "./model.ts";
export type { PeerLimits } from "./peer-limits.ts";
export { createTokenBucket, type TokenBucket } from "./rate-limit.ts";
export { forwardedAddress, isTrusted, networkOf } from "./remote.ts";
export {
  createPortalServer,
  type PortalServer,
  type PortalServerOptions,
  type PresentPeer,
  type ServerStatus,
} from "./server.ts";
export type { ServerTransmit } from "./sockets.ts";
export { parseChanges, parseDocument, toChangesText } from "./state-text.ts";
export {
  createStateBuilder,
  EMPTY_STATE,
  type StateBuilder,
  type StateChange,
  type StoredState,
} from "./stored-state.ts";
