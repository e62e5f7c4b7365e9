/** Which pair an agent uses, and the checks that it sends (SN §4.2, §4.3, §4.5). */

import { type Instant, randomBytes, type SocketAddress, toHex } from "../base/index.ts";
import { encodeBindingRequest, TRANSACTION_ID_BYTES } from "../stun/index.ts";
import { type AgentState, copyOfAddress } from "./agent-state.ts";
import { checkPriority } from "./candidate.ts";
import { canPair, endTrial, formPair, noteGivenUp, takePairs } from "./checklist.ts";
import { bestPair, nextIceState, prospectsOf } from "./connectivity.ts";
import { type IceTimings, MAX_PAIRS } from "./constants.ts";
import { noteGone } from "./history.ts";
import { forgetOldAttempts, isDead, type LocalEntry, type Pair, type RemoteEntry } from "./pair.ts";
import { forgetLearnt } from "./remote-candidates.ts";
import { type DueCheck, dueChecks } from "./schedule.ts";
import { seek } from "./seeking.ts";
import { forgetSizeChecks } from "./size-check.ts";

/** Enough for any message sent here: a user name of 513 bytes, an IPv6 address, all attributes. */
const MESSAGE_BYTES_MAX = 768;

export function applyTimings(agent: AgentState, now: Instant, timings: IceTimings): void {
  agent.timings = timings;
  for (const pair of agent.pairs) trimAttempts(agent, pair);
  advance(agent, now);
}

/** Everything that time asks for, in the order of SN-58: pick, bury the dead, pick again, seek, check. */
export function advance(agent: AgentState, now: Instant): void {
  evaluate(agent, now);
  giveUp(agent, now);
  evaluate(agent, now);
  seek(agent, now);
  enforcePairLimit(agent);
  for (const due of dueChecks(agent.pairs, agent.timings, agent.extra, now)) sendCheck(agent, now, due);
}

function giveUp(agent: AgentState, now: Instant): void {
  const dead = dropPairs(agent, (pair) => isDead(pair, agent.timings, now));
  if (dead.length === 0) return;
  noteGivenUp(agent.givenUp, dead);
  noteGone(agent.history, dead);
  forgetLearnt(agent.remotes, (entry) => agent.pairs.some(({ remote }) => remote === entry));
}

export function evaluate(agent: AgentState, now: Instant): void {
  select(agent, now);
  const next = nextIceState(agent.state, prospectsOf(agent.pairs, agent, agent.timings, now));
  if (next === agent.state) return;
  agent.state = next;
  agent.events.push({ kind: "state-changed", state: next });
}

/** SN-56, SN-57: the first that works is taken at once, and every better one replaces it. */
function select(agent: AgentState, now: Instant): void {
  const best = bestPair(agent.options.role, agent.pairs, agent.selected);
  if (best === undefined || best === agent.selected) return;
  agent.selected = best;
  forgetSizeChecks(agent);
  if (best.nomination.kind === "none") best.nomination = { kind: "pending", since: now };
  announceSelected(agent, best);
}

/** Also when it turns out that the pair goes through a relay (SN-33). */
export function announceSelected({ events }: AgentState, { local, remote }: Pair): void {
  events.push({
    kind: "selected",
    source: local.candidate.base,
    destination: remote.candidate.address,
    localKind: local.candidate.kind,
    remoteKind: remote.candidate.kind,
  });
}

function sendCheck(agent: AgentState, now: Instant, { pair, isExtra }: DueCheck): void {
  const isNominated = pair.nomination.kind !== "none";
  const transaction = sendRequest(agent, pair.local, pair.remote.candidate.address, isNominated);
  pair.attempts.push({ transaction, sentAt: now, isNominated, isExtra, answeredAt: undefined });
  if (isExtra) agent.extra.lastAt = now;
  trimAttempts(agent, pair);
  pair.triggeredAt = undefined;
  if (pair.state === "waiting") pair.state = "in-progress";
  if (pair.nomination.kind === "pending") pair.nomination = { kind: "sent" };
}

/** Sends a request in a transaction of its own (SN-48), which it returns. */
export function sendRequest(
  agent: AgentState,
  local: LocalEntry,
  destination: SocketAddress,
  isNominated: boolean,
): string {
  const { role, random, transactions } = agent.options;
  const transactionId = randomBytes(random, TRANSACTION_ID_BYTES);
  const request = {
    transactionId,
    username: agent.username,
    claim: { role, tieBreaker: agent.tieBreaker },
    priority: checkPriority(local.candidate),
    isNominated: isNominated && role === "controlling",
  };
  const transaction = toHex(transactionId);
  transactions.add(transaction);
  send(agent, local, destination, (into) => encodeBindingRequest(into, request, agent.remoteKey));
  return transaction;
}

export function send(
  agent: AgentState,
  local: LocalEntry,
  destination: SocketAddress,
  encode: (into: Uint8Array) => number,
): void {
  const into = new Uint8Array(MESSAGE_BYTES_MAX);
  const bytes = into.subarray(0, encode(into));
  agent.transmits.push({ source: local.candidate.base, destination: copyOfAddress(destination), bytes });
}

export function pairUp(agent: AgentState, now: Instant, local: LocalEntry, remote: RemoteEntry): void {
  if (!canPair(local, remote)) return;
  endTrial(agent.givenUp, formPair(agent.pairs, { role: agent.options.role, local, remote, now }));
  enforcePairLimit(agent);
}

export function enforcePairLimit(agent: AgentState): void {
  if (agent.pairs.length <= MAX_PAIRS) return;
  const lowest = agent.pairs.slice(MAX_PAIRS);
  dropPairs(agent, (pair) => lowest.includes(pair));
  if (agent.hasWarnedOfPairs) return;
  agent.hasWarnedOfPairs = true;
  agent.log?.warn?.("too many candidate pairs", { kept: MAX_PAIRS });
}

export function dropPairs(agent: AgentState, isGone: (pair: Pair) => boolean): readonly Pair[] {
  const dropped = takePairs(agent.pairs, isGone);
  forgetPairs(agent, dropped);
  if (agent.selected !== undefined && dropped.includes(agent.selected)) agent.selected = undefined;
  return dropped;
}

export function forgetPairs(agent: AgentState, pairs: readonly Pair[]): void {
  for (const pair of pairs)
    for (const { transaction } of pair.attempts) agent.options.transactions.remove(transaction);
}

function trimAttempts(agent: AgentState, pair: Pair): void {
  for (const { transaction } of forgetOldAttempts(pair, agent.timings))
    agent.options.transactions.remove(transaction);
}
