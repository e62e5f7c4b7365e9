export { ICE, type IceAgent } from "./agent.ts";
export type {
  AnswerVerdict,
  IceAgentOptions,
  IceCredentials,
  IceEvent,
  IceMachine,
  IceTransmit,
  RemoteVerdict,
  RequestVerdict,
  TransactionRegistry,
} from "./agent-face.ts";
export {
  type Candidate,
  type CandidateKind,
  compareCandidates,
  isSameCandidate,
  type LocalAddress,
} from "./candidate.ts";
export { type CandidateText, type MalformedCandidate, parseCandidate } from "./candidate-text.ts";
export { type IceState, isIceConnected } from "./connectivity.ts";
export {
  DEFAULT_TIMINGS,
  type IceTimings,
  IDLE_TIMINGS,
  MAX_OPTIMISTIC,
  MAX_PAIRS,
  MAX_REMOTE_CANDIDATES,
} from "./constants.ts";
export type { PairReport } from "./history.ts";
