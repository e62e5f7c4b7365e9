/**
 * The ICE agent of one connection (SN §4): always trickling, without restart, without end of
 * candidates. It checks every pair for ever; the checks are what keeps NAT bindings alive.
 *
 * Every input advances the agent: what was due at `now` has happened when it returns.
 */
import {
  equalSocketAddress,
  type Instant,
  type Log,
  randomBytes,
  type SocketAddress,
  toHex,
} from "../base/index.ts";
import {
  type BindingMessage,
  encodeBindingError,
  encodeBindingRequest,
  encodeBindingSuccess,
  ROLE_CONFLICT,
  TRANSACTION_ID_BYTES,
  verifyIntegrity,
} from "../stun/index.ts";
import type {
  AnswerVerdict,
  IceAgent,
  IceAgentOptions,
  IceEvent,
  IceTransmit,
  RequestVerdict,
} from "./agent-face.ts";
import { checkPriority, type LocalAddress } from "./candidate.ts";
import { type CandidateText, formatCandidate } from "./candidate-text.ts";
import {
  canPair,
  endTrial,
  formPair,
  type GivenUp,
  noteGivenUp,
  rerankPairs,
  takePairs,
  tryAgain,
} from "./checklist.ts";
import { bestPair, type IceState, isIceConnected, nextIceState, prospectsOf } from "./connectivity.ts";
import {
  COMPONENT,
  DEFAULT_TIMINGS,
  type IceTimings,
  MAX_PAIRS,
  PROBE_TIMINGS,
  SUSPECT_AFTER,
} from "./constants.ts";
import { addLocalEntry, findByDestination, livingCandidates } from "./local-candidates.ts";
import {
  forgetOldAttempts,
  isDead,
  type LocalEntry,
  type Pair,
  type RemoteEntry,
  trigger,
  unansweredChecks,
} from "./pair.ts";
import { confirmRebinding, isReplaced, noteCheck, type PeerChecks } from "./rebinding.ts";
import {
  addOptimistic,
  addSignalled,
  addTemporary,
  createRemoteCandidates,
  findByAddress,
  findRemoval,
  forgetLearnt,
  hasLivingAddress,
  isWithdrawn,
  type RemoteCandidates,
  toldCandidates,
} from "./remote-candidates.ts";
import { type DueCheck, dueChecks, type ExtraChecks, nextDeadline } from "./schedule.ts";

/** Enough for any message sent here: a user name of 513 bytes, an IPv6 address, all attributes. */
const MESSAGE_BYTES_MAX = 768;

interface AgentState {
  readonly options: IceAgentOptions;
  readonly log: Log | undefined;
  readonly username: string;
  readonly tieBreaker: bigint;
  readonly localKey: Uint8Array;
  readonly remoteKey: Uint8Array;
  readonly locals: LocalEntry[];
  readonly remotes: RemoteCandidates;
  readonly pairs: Pair[];
  readonly pairOf: Map<string, Pair>;
  readonly givenUp: GivenUp;
  readonly extra: ExtraChecks;
  readonly peerChecks: PeerChecks;
  readonly transmits: IceTransmit[];
  readonly events: IceEvent[];
  timings: IceTimings;
  /** Those of the time after a probe. */
  restTimings: IceTimings;
  /** Set while the path is probed. */
  probedSince: Instant | undefined;
  state: IceState;
  selected: Pair | undefined;
  hasHadLocal: boolean;
  hasHadRemote: boolean;
  hasWarnedOfPairs: boolean;
}

export function createIceAgent(options: IceAgentOptions): IceAgent {
  const utf8 = new TextEncoder();
  const agent: AgentState = {
    options,
    log: options.log,
    username: `${options.remoteCredentials.username}:${options.localCredentials.username}`,
    tieBreaker: new DataView(randomBytes(options.random, 8).buffer).getBigUint64(0),
    localKey: utf8.encode(options.localCredentials.password),
    remoteKey: utf8.encode(options.remoteCredentials.password),
    locals: [],
    remotes: createRemoteCandidates(),
    pairs: [],
    pairOf: new Map(),
    givenUp: new Set(),
    extra: { hasAnswer: false, lastAt: undefined },
    peerChecks: { seen: [] },
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
  // From `new` to `checking` now, so that no later tick makes a difference.
  evaluate(agent, options.now);
  return {
    addLocal: (now, local) => addLocal(agent, now, local),
    invalidateLocal: (now, address) => invalidateLocal(agent, now, address),
    addRemote: (now, candidate) => addRemote(agent, now, candidate),
    removeRemote: (now, candidate) => removeRemote(agent, now, candidate),
    setTimings(now, timings) {
      agent.restTimings = timings;
      if (agent.probedSince === undefined) applyTimings(agent, now, timings);
    },
    probe(now) {
      if (agent.probedSince !== undefined) return;
      agent.probedSince = now;
      applyTimings(agent, now, PROBE_TIMINGS);
    },
    isProbing: () => agent.probedSince !== undefined,
    handleRequest: (now, request, way) => handleRequest(agent, now, { request, ...way }),
    handleAnswer: (now, answer, source) => handleAnswer(agent, now, answer, source),
    handleTimeout: (now) => advance(agent, now),
    pollTimeout: () => nextDeadline(agent.pairs, agent.timings, agent.extra),
    pollTransmit: () => agent.transmits.shift(),
    pollEvent: () => agent.events.shift(),
    close() {
      forgetPairs(
        agent,
        takePairs(agent.pairs, () => true),
      );
    },
    state: () => agent.state,
    isSuspect: () => isSuspect(agent),
    remoteCandidates: () => toldCandidates(agent.remotes),
    isRemoteAddress: (address) => hasLivingAddress(agent.remotes, address),
    hasHadLocal: () => agent.hasHadLocal,
    hasHadRemote: () => agent.hasHadRemote,
    localTexts: () => livingCandidates(agent.locals).map((candidate) => textOf(agent, candidate)),
    rttMs: () => agent.selected?.rttMs,
    pairCount: () => agent.pairs.length,
    remoteCount: () => agent.remotes.entries.length,
  };
}

function addLocal(agent: AgentState, now: Instant, local: LocalAddress): string | undefined {
  const entry = addLocalEntry(agent.locals, local);
  if (entry === undefined) return undefined;
  if (entry.candidate.kind !== "srflx") agent.hasHadLocal = true;
  for (const remote of agent.remotes.entries) pairUp(agent, now, entry, remote);
  advance(agent, now);
  return textOf(agent, entry.candidate);
}

function invalidateLocal(agent: AgentState, now: Instant, address: SocketAddress): string | undefined {
  const entry = findByDestination(agent.locals, address);
  // Only relayed candidates are ever invalidated by us (SN-17, SN-27).
  if (entry === undefined || entry.candidate.kind !== "relay") return undefined;
  entry.isDiscarded = true;
  dropPairs(agent, (pair) => pair.local === entry);
  advance(agent, now);
  return textOf(agent, entry.candidate);
}

function addRemote(agent: AgentState, now: Instant, text: CandidateText): ReturnType<IceAgent["addRemote"]> {
  const { component, usernameFragment, ...candidate } = text;
  if (component !== COMPONENT) return "wrong-component";
  if (usernameFragment !== undefined && usernameFragment !== agent.options.remoteCredentials.username) {
    return "wrong-fragment";
  }
  const addition = addSignalled(agent.remotes, candidate);
  if (addition.kind === "over-limit") return "over-limit";
  agent.hasHadRemote = true;
  if (addition.kind === "replaced") rerankPairs(agent.pairs, agent.options.role, addition.entry);
  for (const entry of [addition.entry, ...addOptimistic(agent.remotes)]) {
    for (const local of agent.locals) pairUp(agent, now, local, entry);
  }
  advance(agent, now);
  return "accepted";
}

function removeRemote(
  agent: AgentState,
  now: Instant,
  candidate: Parameters<IceAgent["removeRemote"]>[1],
): boolean {
  const entry = findRemoval(agent.remotes, candidate);
  if (entry === undefined) return false;
  entry.isDiscarded = true;
  const dropped = dropPairs(agent, (pair) => pair.remote === entry);
  // Another candidate at the same address carries on, as a new pair (SN-35).
  const other = findByAddress(agent.remotes, entry.candidate.address);
  if (other !== undefined) for (const pair of dropped) pairUp(agent, now, pair.local, other);
  advance(agent, now);
  return true;
}

interface IncomingRequest {
  readonly request: Extract<BindingMessage, { kind: "request" }>;
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}

/** SN-52, SN-53. Nothing changes before the message has proved that the peer sent it (SN-8). */
function handleRequest(agent: AgentState, now: Instant, incoming: IncomingRequest): RequestVerdict {
  const { request, source, destination } = incoming;
  const { role, localCredentials, remoteCredentials } = agent.options;
  if (!verifyIntegrity(request.frame, agent.localKey)) return "bad-integrity";
  if (request.receiver !== localCredentials.username || request.sender !== remoteCredentials.username) {
    return "unknown-username";
  }
  const local = findByDestination(agent.locals, destination);
  if (local === undefined) return "unknown-interface";
  if (request.claim?.role === role) {
    refuseRole(agent, local, incoming);
    return "role-conflict";
  }
  if (role === "controlling" && request.isNominated) return "nomination-refused";
  if (isWithdrawn(agent.remotes, source)) return "withdrawn-source";
  const remote = findByAddress(agent.remotes, source) ?? learnRemote(agent, source, request.priority);
  if (remote === undefined) return "over-limit";
  const pair = formPair(agent.pairs, { role, local, remote, now });
  enforcePairLimit(agent);
  tryAgain(agent.givenUp, pair);
  trigger(pair, now);
  const { transactionId } = request.frame;
  noteCheck(agent.peerChecks, agent.pairs, pair, {
    transaction: toHex(transactionId),
    priority: request.priority,
    now,
  });
  if (role === "controlled" && request.isNominated && pair.nomination.kind === "none") {
    pair.nomination = { kind: "pending", since: now };
  }
  evaluate(agent, now);
  send(agent, local, source, (into) =>
    encodeBindingSuccess(into, { transactionId, mappedAddress: source }, agent.localKey),
  );
  advance(agent, now);
  return "accepted";
}

function learnRemote(agent: AgentState, source: SocketAddress, priority: number): RemoteEntry | undefined {
  const addition = addTemporary(agent.remotes, copyOfAddress(source), priority);
  if (addition.kind === "over-limit") return undefined;
  agent.hasHadRemote = true;
  return addition.entry;
}

/** Two proper peers have different roles; the answer tells the other one what is wrong (SN-39). */
function refuseRole(agent: AgentState, local: LocalEntry, { request, source }: IncomingRequest): void {
  const { transactionId } = request.frame;
  const error = { transactionId, code: ROLE_CONFLICT, phrase: "Role Conflict" };
  send(agent, local, source, (into) => encodeBindingError(into, error, agent.localKey));
}

/** SN-55: the answer's source decides nothing but a rebinding. */
function handleAnswer(
  agent: AgentState,
  now: Instant,
  answer: Extract<BindingMessage, { kind: "success" | "error" }>,
  source: SocketAddress,
): AnswerVerdict {
  const transaction = toHex(answer.frame.transactionId);
  const pair = agent.pairOf.get(transaction);
  const attempt = pair?.attempts.find((candidate) => candidate.transaction === transaction);
  if (pair === undefined || attempt === undefined) return "unmatched";
  if (!verifyIntegrity(answer.frame, agent.remoteKey)) return "bad-integrity";
  if (answer.kind === "error") {
    agent.log?.debug?.("check refused", { pair: pair.key, code: answer.code });
    return "accepted";
  }
  if (attempt.answeredAt !== undefined) return "accepted";
  attempt.answeredAt = now;
  agent.extra.hasAnswer = true;
  pair.rttMs = now - attempt.sentAt;
  pair.state = "succeeded";
  endTrial(agent.givenUp, pair);
  if (equalSocketAddress(source, pair.remote.candidate.address)) confirmRebinding(pair, attempt.sentAt);
  endProbe(agent, pair, attempt.sentAt);
  if (pair.nomination.kind === "sent" && attempt.isNominated) pair.nomination = { kind: "done" };
  const isKnown = agent.locals.some(({ candidate }) => isAt(candidate.address, answer.mappedAddress));
  pair.mappedAddress = isKnown ? undefined : copyOfAddress(answer.mappedAddress);
  advance(agent, now);
  return "accepted";
}

function applyTimings(agent: AgentState, now: Instant, timings: IceTimings): void {
  agent.timings = timings;
  for (const pair of agent.pairs) trimAttempts(agent, pair);
  advance(agent, now);
}

/** The peer is there: a check that was sent during the probe has been answered on the path in use. */
function endProbe(agent: AgentState, pair: Pair, sentAt: Instant): void {
  if (agent.probedSince === undefined || pair !== agent.selected || sentAt < agent.probedSince) return;
  agent.probedSince = undefined;
  agent.timings = agent.restTimings;
}

/** Everything that time asks for, in the order of SN-58: pick, bury the dead, pick again, check. */
function advance(agent: AgentState, now: Instant): void {
  evaluate(agent, now);
  giveUp(agent, now);
  evaluate(agent, now);
  for (const due of dueChecks(agent.pairs, agent.timings, agent.extra, now)) sendCheck(agent, now, due);
}

function giveUp(agent: AgentState, now: Instant): void {
  const dead = dropPairs(agent, (pair) => isDead(pair, agent.timings, now));
  if (dead.length === 0) return;
  noteGivenUp(agent.givenUp, dead);
  forgetLearnt(agent.remotes, (entry) => agent.pairs.some(({ remote }) => remote === entry));
}

function evaluate(agent: AgentState, now: Instant): void {
  select(agent, now);
  const next = nextIceState(agent.state, prospectsOf(agent.pairs, agent, agent.timings, now));
  if (next === agent.state) return;
  agent.state = next;
  agent.events.push({ kind: "state-changed", state: next });
}

/** SN-56, SN-57: the first that works is taken at once, and every better one replaces it. */
function select(agent: AgentState, now: Instant): void {
  const best = bestPair(agent.options.role, agent.pairs);
  if (best === undefined || best === agent.selected) return;
  const { selected } = agent;
  if (selected !== undefined && !isReplaced(selected, agent.pairs) && selected.priority >= best.priority) {
    return;
  }
  agent.selected = best;
  if (best.nomination.kind === "none") best.nomination = { kind: "pending", since: now };
  agent.events.push({
    kind: "selected",
    source: best.local.candidate.base,
    destination: best.remote.candidate.address,
    localKind: best.local.candidate.kind,
    remoteKind: best.remote.candidate.kind,
  });
}

function sendCheck(agent: AgentState, now: Instant, { pair, isExtra }: DueCheck): void {
  const { options } = agent;
  const transactionId = randomBytes(options.random, TRANSACTION_ID_BYTES);
  const transaction = toHex(transactionId);
  const isNominated = pair.nomination.kind !== "none";
  const { candidate } = pair.local;
  const request = {
    transactionId,
    username: agent.username,
    claim: { role: options.role, tieBreaker: agent.tieBreaker },
    priority: checkPriority(candidate),
    isNominated: isNominated && options.role === "controlling",
  };
  pair.attempts.push({ transaction, sentAt: now, isNominated, isExtra, answeredAt: undefined });
  if (isExtra) agent.extra.lastAt = now;
  agent.pairOf.set(transaction, pair);
  options.transactions.add(transaction);
  trimAttempts(agent, pair);
  pair.triggeredAt = undefined;
  if (pair.state === "waiting") pair.state = "in-progress";
  if (pair.nomination.kind === "pending") pair.nomination = { kind: "sent" };
  send(agent, pair.local, pair.remote.candidate.address, (into) =>
    encodeBindingRequest(into, request, agent.remoteKey),
  );
}

function send(
  agent: AgentState,
  local: LocalEntry,
  destination: SocketAddress,
  encode: (into: Uint8Array) => number,
): void {
  const into = new Uint8Array(MESSAGE_BYTES_MAX);
  const bytes = into.subarray(0, encode(into));
  agent.transmits.push({ source: local.candidate.base, destination: copyOfAddress(destination), bytes });
}

function pairUp(agent: AgentState, now: Instant, local: LocalEntry, remote: RemoteEntry): void {
  if (!canPair(local, remote)) return;
  endTrial(agent.givenUp, formPair(agent.pairs, { role: agent.options.role, local, remote, now }));
  enforcePairLimit(agent);
}

function enforcePairLimit(agent: AgentState): void {
  if (agent.pairs.length <= MAX_PAIRS) return;
  const lowest = agent.pairs.slice(MAX_PAIRS);
  dropPairs(agent, (pair) => lowest.includes(pair));
  if (agent.hasWarnedOfPairs) return;
  agent.hasWarnedOfPairs = true;
  agent.log?.warn?.("too many candidate pairs", { kept: MAX_PAIRS });
}

function dropPairs(agent: AgentState, isGone: (pair: Pair) => boolean): readonly Pair[] {
  const dropped = takePairs(agent.pairs, isGone);
  forgetPairs(agent, dropped);
  if (agent.selected !== undefined && dropped.includes(agent.selected)) agent.selected = undefined;
  return dropped;
}

function forgetPairs(agent: AgentState, pairs: readonly Pair[]): void {
  for (const pair of pairs)
    for (const attempt of pair.attempts) forgetTransaction(agent, attempt.transaction);
}

function trimAttempts(agent: AgentState, pair: Pair): void {
  for (const attempt of forgetOldAttempts(pair, agent.timings)) forgetTransaction(agent, attempt.transaction);
}

function forgetTransaction(agent: AgentState, transaction: string): void {
  agent.pairOf.delete(transaction);
  agent.options.transactions.remove(transaction);
}

function isSuspect(agent: AgentState): boolean {
  if (agent.selected === undefined || !isIceConnected(agent.state)) return true;
  return unansweredChecks(agent.selected) >= SUSPECT_AFTER;
}

function textOf(agent: AgentState, candidate: LocalEntry["candidate"]): string {
  return formatCandidate(candidate, agent.options.localCredentials.username);
}

function isAt(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && toHex(a.address) === toHex(b.address);
}

/** Addresses of incoming datagrams may live in a buffer that is used again. */
function copyOfAddress({ address, port }: SocketAddress): SocketAddress {
  return { address: address.slice(), port };
}
