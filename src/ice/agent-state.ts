/** The state of one ICE agent, as its parts share it. */
import { type Instant, type Log, randomBytes, type SocketAddress } from "../base/index.ts";
import type { IceAgentOptions, IceEvent, IceTransmit } from "./agent-face.ts";
import type { GivenUp } from "./checklist.ts";
import type { IceState } from "./connectivity.ts";
import { DEFAULT_TIMINGS, type IceTimings } from "./constants.ts";
import { createPairHistory, type PairHistory } from "./history.ts";
import type { LocalEntry, Pair } from "./pair.ts";
import { createPeerChecks, type PeerChecks } from "./rebinding.ts";
import { createRemoteCandidates, type RemoteCandidates } from "./remote-candidates.ts";
import type { ExtraChecks } from "./schedule.ts";
import type { Sighting } from "./sighting.ts";
import type { SizeCheck } from "./size-check.ts";

export interface AgentState {
  readonly options: IceAgentOptions;
  readonly log: Log | undefined;
  readonly username: string;
  readonly tieBreaker: bigint;
  readonly localKey: Uint8Array;
  readonly remoteKey: Uint8Array;
  readonly locals: LocalEntry[];
  readonly remotes: RemoteCandidates;
  readonly pairs: Pair[];
  readonly givenUp: GivenUp;
  readonly extra: ExtraChecks;
  readonly peerChecks: PeerChecks;
  /** When direct pairs were last formed again (SN-146). */
  readonly seek: { lastAt: Instant | undefined };
  readonly history: PairHistory;
  readonly sizeChecks: SizeCheck[];
  readonly transmits: IceTransmit[];
  readonly events: IceEvent[];
  timings: IceTimings;
  /** Those of the time after a probe. */
  restTimings: IceTimings;
  /** Set while the path is probed. */
  probedSince: Instant | undefined;
  sighting: Sighting | undefined;
  state: IceState;
  selected: Pair | undefined;
  hasHadLocal: boolean;
  hasHadRemote: boolean;
  hasWarnedOfPairs: boolean;
}

export function createAgentState(options: IceAgentOptions): AgentState {
  const utf8 = new TextEncoder();
  return {
    options,
    log: options.log,
    username: `${options.remoteCredentials.username}:${options.localCredentials.username}`,
    tieBreaker: new DataView(randomBytes(options.random, 8).buffer).getBigUint64(0),
    localKey: utf8.encode(options.localCredentials.password),
    remoteKey: utf8.encode(options.remoteCredentials.password),
    locals: [],
    remotes: createRemoteCandidates(),
    pairs: [],
    givenUp: new Set(),
    extra: { hasAnswer: false, lastAt: undefined },
    peerChecks: createPeerChecks(),
    seek: { lastAt: undefined },
    sizeChecks: [],
    sighting: undefined,
    history: createPairHistory(),
    transmits: [],
    events: [],
    timings: DEFAULT_TIMINGS,
    restTimings: DEFAULT_TIMINGS,
    probedSince: undefined,
    state: "new",
    selected: undefined,
    hasHadLocal: false,
    hasHadRemote: false,
    hasWarnedOfPairs: false,
  };
}

/** Addresses of incoming datagrams may live in a buffer that is used again. */
export function copyOfAddress({ address, port }: SocketAddress): SocketAddress {
  return { address: address.slice(), port };
}
