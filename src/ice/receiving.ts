/** What an agent makes of checks, answers and data of the peer (SN §4.4). */

import { equalSocketAddress, type Instant, type SocketAddress, toHex } from "../base/index.ts";
import {
  type BindingMessage,
  encodeBindingError,
  encodeBindingSuccess,
  ROLE_CONFLICT,
  verifyIntegrity,
} from "../stun/index.ts";
import type { AnswerVerdict, RequestVerdict } from "./agent-face.ts";
import { type AgentState, copyOfAddress } from "./agent-state.ts";
import { advance, enforcePairLimit, evaluate, send, sendRequest } from "./checking.ts";
import { canPair, endTrial, formPair, tryAgain } from "./checklist.ts";
import { noteError, noteHeard } from "./history.ts";
import { findByDestination } from "./local-candidates.ts";
import { type Attempt, type LocalEntry, type Pair, pairKey, type RemoteEntry, trigger } from "./pair.ts";
import { confirmRebinding, noteCheck } from "./rebinding.ts";
import { addTemporary, findByAddress, isWithdrawn } from "./remote-candidates.ts";
import {
  type DataSource,
  isConfirmedBy,
  isOnLocalOf,
  mayCheck,
  type Sighting,
  takePlace,
} from "./sighting.ts";
import { answerSizeCheck } from "./size-check.ts";

interface IncomingRequest {
  readonly request: Extract<BindingMessage, { kind: "request" }>;
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
}

/** SN-52, SN-53. Nothing changes before the message has proved that the peer sent it (SN-8). */
export function handleRequest(agent: AgentState, now: Instant, incoming: IncomingRequest): RequestVerdict {
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
  noteHeard(agent.history, pair, now);
  trigger(pair, now);
  const { transactionId } = request.frame;
  noteCheck(agent.peerChecks, agent.pairs, pair, {
    transactionId,
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
export function handleAnswer(
  agent: AgentState,
  now: Instant,
  answer: Extract<BindingMessage, { kind: "success" | "error" }>,
  source: SocketAddress,
): AnswerVerdict {
  const transaction = toHex(answer.frame.transactionId);
  const sized = answerSizeCheck(agent, transaction, answer);
  if (sized !== undefined) return sized;
  const { pair, attempt } = findCheck(agent.pairs, transaction) ?? {};
  const sighting = agent.sighting?.transaction === transaction ? agent.sighting : undefined;
  if (attempt === undefined && sighting === undefined) return "unmatched";
  if (!verifyIntegrity(answer.frame, agent.remoteKey)) return "bad-integrity";
  if (answer.kind === "error") {
    if (pair !== undefined) noteError(agent.history, pair, answer.code);
    agent.log?.debug?.("check refused", { pair: pair?.key, code: answer.code });
    return "accepted";
  }
  if (sighting !== undefined) confirmSighting(agent, now, sighting, source);
  if (pair === undefined || attempt === undefined || attempt.answeredAt !== undefined) return "accepted";
  noteAnswer(agent, now, pair, attempt);
  if (equalSocketAddress(source, pair.remote.candidate.address)) confirmRebinding(pair, attempt.sentAt);
  endProbe(agent, pair, attempt.sentAt);
  if (pair.nomination.kind === "sent" && attempt.isNominated) pair.nomination = { kind: "done" };
  const isKnown = agent.locals.some(({ candidate }) => isAt(candidate.address, answer.mappedAddress));
  pair.mappedAddress = isKnown ? undefined : copyOfAddress(answer.mappedAddress);
  advance(agent, now);
  return "accepted";
}

/** Looked for: a map for each agent would take more than all its checks. */
function findCheck(
  pairs: readonly Pair[],
  transaction: string,
): { readonly pair: Pair; readonly attempt: Attempt } | undefined {
  for (const pair of pairs) {
    const attempt = pair.attempts.find((one) => one.transaction === transaction);
    if (attempt !== undefined) return { pair, attempt };
  }
  return undefined;
}

function noteAnswer(agent: AgentState, now: Instant, pair: Pair, attempt: Attempt): void {
  attempt.answeredAt = now;
  agent.extra.hasAnswer = true;
  pair.rttMs = now - attempt.sentAt;
  pair.state = "succeeded";
  endTrial(agent.givenUp, pair);
}

/** SN-145: data from an address that is not the path's is a reason to check there. */
export function handleData(agent: AgentState, now: Instant, data: DataSource): void {
  const { selected, pairs, peerChecks } = agent;
  if (selected === undefined || !isOnLocalOf(selected, data) || isWithdrawn(agent.remotes, data.source))
    return;
  const { local } = selected;
  const known = pairs.find((pair) => pair.key === pairKey(local.candidate.base, data.source));
  if (known !== undefined) {
    trigger(known, now);
  } else if (!peerChecks.hasComeBack && mayCheck(agent.sighting, now)) {
    forgetSighting(agent);
    const source = copyOfAddress(data.source);
    const transaction = sendRequest(agent, local, source, false);
    agent.sighting = { before: selected, source, transaction, sentAt: now };
  }
  advance(agent, now);
}

/** The peer is at the new address: it becomes a candidate with a pair that has been answered already. */
function confirmSighting(agent: AgentState, now: Instant, sighting: Sighting, source: SocketAddress): void {
  forgetSighting(agent);
  const { before, transaction, sentAt } = sighting;
  if (before !== agent.selected || !isConfirmedBy(sighting, now, source)) return;
  const { local, remote, peerPriority } = before;
  const learnt =
    findByAddress(agent.remotes, source) ??
    learnRemote(agent, source, peerPriority ?? remote.candidate.priority);
  if (learnt === undefined || !canPair(local, learnt)) return;
  const pair = formPair(agent.pairs, { role: agent.options.role, local, remote: learnt, now });
  const attempt = { transaction, sentAt, isNominated: false, isExtra: false, answeredAt: now };
  if (pair.attempts.length === 0) pair.attempts.push(attempt);
  noteAnswer(agent, now, pair, attempt);
  takePlace(sighting, pair, now);
  enforcePairLimit(agent);
  advance(agent, now);
}

export function forgetSighting(agent: AgentState): void {
  if (agent.sighting !== undefined) agent.options.transactions.remove(agent.sighting.transaction);
  agent.sighting = undefined;
}

/** The peer is there: a check that was sent during the probe has been answered on the path in use. */
function endProbe(agent: AgentState, pair: Pair, sentAt: Instant): void {
  if (agent.probedSince === undefined || pair !== agent.selected || sentAt < agent.probedSince) return;
  agent.probedSince = undefined;
  agent.timings = agent.restTimings;
}

function isAt(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && toHex(a.address) === toHex(b.address);
}
