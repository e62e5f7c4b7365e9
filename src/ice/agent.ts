/**
 * The ICE agent of one connection (SN §4): always trickling, without restart, without end of
 * candidates. It checks every pair for ever; the checks are what keeps NAT bindings alive.
 *
 * Every input advances the agent: what was due at `now` has happened when it returns.
 */
import { earliest, type Instant, type SocketAddress } from "../base/index.ts";
import type { IceAgentOptions, IceMachine, RemoteVerdict } from "./agent-face.ts";
import { type AgentState, createAgentState } from "./agent-state.ts";
import type { Candidate, LocalAddress } from "./candidate.ts";
import { type CandidateText, formatCandidate } from "./candidate-text.ts";
import {
  advance,
  announceSelected,
  applyTimings,
  dropPairs,
  evaluate,
  forgetPairs,
  pairUp,
} from "./checking.ts";
import { rerankPairs, takePairs } from "./checklist.ts";
import { isIceConnected } from "./connectivity.ts";
import { COMPONENT, type IceTimings, PROBE_TIMINGS, SUSPECT_AFTER } from "./constants.ts";
import { noteVerdict, reportPairs } from "./history.ts";
import { addLocalEntry, findByDestination, livingCandidates } from "./local-candidates.ts";
import { type LocalEntry, unansweredChecks } from "./pair.ts";
import { forgetSighting, handleAnswer, handleData, handleRequest } from "./receiving.ts";
import {
  addOptimistic,
  addSignalled,
  findByAddress,
  findRemoval,
  hasLivingAddress,
  toldCandidates,
} from "./remote-candidates.ts";
import { nextDeadline } from "./schedule.ts";
import { seekAt } from "./seeking.ts";
import { forgetSizeChecks, sendSizeCheck } from "./size-check.ts";

/** Whose fields are the business of this room. */
export type IceAgent = AgentState;

export const ICE: IceMachine<IceAgent> = {
  create,
  addLocal,
  invalidateLocal,
  addRemote,
  removeRemote,
  setTimings,
  probe,
  isProbing: ({ probedSince }) => probedSince !== undefined,
  checkNow,
  checkSize: sendSizeCheck,
  handleRequest: (agent, now, request, way) =>
    noteVerdict(agent.history, handleRequest(agent, now, { request, ...way })),
  handleAnswer,
  handleData,
  handleTimeout: advance,
  pollTimeout: (agent) => earliest(nextDeadline(agent.pairs, agent.timings, agent.extra), seekAt(agent)),
  pollTransmit: ({ transmits }) => transmits.shift(),
  pollEvent: ({ events }) => events.shift(),
  close,
  state: ({ state }) => state,
  isSuspect,
  remoteCandidates: ({ remotes }) => toldCandidates(remotes),
  isRemoteAddress: ({ remotes }, address) => hasLivingAddress(remotes, address),
  hasHadLocal: ({ hasHadLocal }) => hasHadLocal,
  hasHadRemote: ({ hasHadRemote }) => hasHadRemote,
  localTexts: (agent) => livingCandidates(agent.locals).map((candidate) => textOf(agent, candidate)),
  rttMs: ({ selected }) => selected?.rttMs,
  pairs: ({ history, pairs, selected }) => reportPairs(history, pairs, selected),
  refusal: ({ history }) => history.refusal,
  pairCount: ({ pairs }) => pairs.length,
  remoteCount: ({ remotes }) => remotes.entries.length,
};

function create(options: IceAgentOptions): IceAgent {
  const agent = createAgentState(options);
  // From `new` to `checking` now, so that no later tick makes a difference.
  evaluate(agent, options.now);
  return agent;
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

function addRemote(agent: AgentState, now: Instant, text: CandidateText): RemoteVerdict {
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
  const before = agent.selected;
  advance(agent, now);
  const isSelected = before !== undefined && before === agent.selected && before.remote === addition.entry;
  if (addition.kind === "replaced" && isSelected && candidate.kind === "relay") {
    announceSelected(agent, before);
  }
  return "accepted";
}

function removeRemote(agent: AgentState, now: Instant, candidate: Candidate): boolean {
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

function setTimings(agent: AgentState, now: Instant, timings: IceTimings): void {
  agent.restTimings = timings;
  if (agent.probedSince === undefined) applyTimings(agent, now, timings);
}

function probe(agent: AgentState, now: Instant): void {
  if (agent.probedSince !== undefined) return;
  agent.probedSince = now;
  applyTimings(agent, now, PROBE_TIMINGS);
}

function checkNow(agent: AgentState, now: Instant): void {
  if (agent.selected !== undefined) agent.selected.triggeredAt = now;
  advance(agent, now);
}

function close(agent: AgentState): void {
  forgetPairs(
    agent,
    takePairs(agent.pairs, () => true),
  );
  forgetSighting(agent);
  forgetSizeChecks(agent);
}

function isSuspect(agent: AgentState): boolean {
  if (agent.selected === undefined || !isIceConnected(agent.state)) return true;
  return unansweredChecks(agent.selected) >= SUSPECT_AFTER;
}

function textOf(agent: AgentState, candidate: LocalEntry["candidate"]): string {
  return formatCandidate(candidate, agent.options.localCredentials.username);
}
