/** The face of the ICE agent (SN-41). */
import type { Instant, Log, Random, SocketAddress } from "../base/index.ts";
import type { BindingMessage, IceRole } from "../stun/index.ts";
import type { Candidate, CandidateKind, LocalAddress } from "./candidate.ts";
import type { CandidateText } from "./candidate-text.ts";
import type { IceState } from "./connectivity.ts";
import type { IceTimings } from "./constants.ts";
import type { PairReport } from "./history.ts";
import type { DataSource } from "./sighting.ts";

/** Short-term credentials of one side (SN-13). */
export interface IceCredentials {
  readonly username: string;
  readonly password: string;
}

/** The node's map from transactions to connections (SN-55): told of each that begins and ends. */
export interface TransactionRegistry {
  add(transaction: string): void;
  remove(transaction: string): void;
}

export interface IceAgentOptions {
  readonly now: Instant;
  /** Client controlling, gateway controlled; never switched (SN-39). */
  readonly role: IceRole;
  readonly localCredentials: IceCredentials;
  readonly remoteCredentials: IceCredentials;
  readonly random: Random;
  readonly transactions: TransactionRegistry;
  readonly log?: Log;
}

export interface IceTransmit {
  /** The base of the local candidate: an own address, or a relayed one. */
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  readonly bytes: Uint8Array;
  /** It must arrive whole or not at all: a check of a size (SN-151). */
  readonly isWhole?: boolean;
}

export type IceEvent =
  | { readonly kind: "state-changed"; readonly state: IceState }
  | {
      readonly kind: "selected";
      readonly source: SocketAddress;
      readonly destination: SocketAddress;
      readonly localKind: CandidateKind;
      readonly remoteKind: CandidateKind;
    }
  /** A check of a size was answered on the pair that is still selected. */
  | { readonly kind: "size-answered"; readonly bytes: number };

/** What became of a check by the peer. All but `accepted` and `role-conflict` sent nothing. */
export type RequestVerdict =
  | "accepted"
  | "bad-integrity"
  | "unknown-username"
  | "unknown-interface"
  | "role-conflict"
  | "nomination-refused"
  | "withdrawn-source"
  | "over-limit";

export type AnswerVerdict = "accepted" | "bad-integrity" | "unmatched";

export type RemoteVerdict = "accepted" | "wrong-component" | "wrong-fragment" | "over-limit";

/**
 * What agents do: functions over the state of one, the same for all. With functions of its own each would be twice as
 * large, and a gateway has thousands of them.
 */
export interface IceMachine<Agent> {
  create(options: IceAgentOptions): Agent;
  /** The text to signal; `undefined` when there is nothing new in it (SN-25). */
  addLocal(agent: Agent, now: Instant, local: LocalAddress): string | undefined;
  /** Relayed candidates only; the text to withdraw (SN-27). */
  invalidateLocal(agent: Agent, now: Instant, address: SocketAddress): string | undefined;
  addRemote(agent: Agent, now: Instant, candidate: CandidateText): RemoteVerdict;
  /** Whether such a candidate was there (SN-35). */
  removeRemote(agent: Agent, now: Instant, candidate: Candidate): boolean;
  setTimings(agent: Agent, now: Instant, timings: IceTimings): void;
  /** Checks at once and fast until the selected pair has answered or everything is given up (SN-142). */
  probe(agent: Agent, now: Instant): void;
  isProbing(agent: Agent): boolean;
  /** Sends a check on the selected pair at once, whenever its next one is due (SN-153). */
  checkNow(agent: Agent, now: Instant): void;
  /** Sends a check of exactly so many bytes, a multiple of 4, on the selected pair, if there is one (SN-151). */
  checkSize(agent: Agent, bytes: number): void;
  /** `request` is only read during the call. */
  handleRequest(
    agent: Agent,
    now: Instant,
    request: Extract<BindingMessage, { kind: "request" }>,
    way: { readonly source: SocketAddress; readonly destination: SocketAddress },
  ): RequestVerdict;
  /** `source` is where the answer came from: only a rebinding asks for it (SN-141). */
  handleAnswer(
    agent: Agent,
    now: Instant,
    answer: Extract<BindingMessage, { kind: "success" | "error" }>,
    source: SocketAddress,
  ): AnswerVerdict;
  /** The plane has opened a message of the peer's that did not come from where the path leads (SN-145). */
  handleData(agent: Agent, now: Instant, data: DataSource): void;
  handleTimeout(agent: Agent, now: Instant): void;
  pollTimeout(agent: Agent): Instant | undefined;
  pollTransmit(agent: Agent): IceTransmit | undefined;
  pollEvent(agent: Agent): IceEvent | undefined;
  /** Withdraws all its transactions from the registry. */
  close(agent: Agent): void;

  state(agent: Agent): IceState;
  /** Whether the path may be dead: ICE decides then, not WireGuard's clock (SN-92). */
  isSuspect(agent: Agent): boolean;
  /** What the peer told of itself or showed, without what was withdrawn or guessed. */
  remoteCandidates(agent: Agent): readonly Candidate[];
  isRemoteAddress(agent: Agent, address: SocketAddress): boolean;
  hasHadLocal(agent: Agent): boolean;
  hasHadRemote(agent: Agent): boolean;
  /** All candidates that are signalled, best first (SN-72). */
  localTexts(agent: Agent): readonly string[];
  /** Round trip of the last answered check on the selected pair. */
  rttMs(agent: Agent): number | undefined;
  /** What became of each pair, for people (PG-190). */
  pairs(agent: Agent): readonly PairReport[];
  /** Why the peer's last check was refused, if one ever was. */
  refusal(agent: Agent): string | undefined;
  pairCount(agent: Agent): number;
  remoteCount(agent: Agent): number;
}
