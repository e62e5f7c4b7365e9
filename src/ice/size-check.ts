/**
 * Checks of a size (SN-151): on the selected pair, padded to a length. Answered, they prove that the path
 * carries a datagram as long; unanswered, they say nothing about the pair, which has checks of its own.
 */
import { copyOf, randomBytes, toHex } from "../base/index.ts";
import {
  type BindingMessage,
  encodeBindingRequest,
  TRANSACTION_ID_BYTES,
  verifyIntegrity,
} from "../stun/index.ts";
import type { AnswerVerdict, IceAgentOptions, IceEvent, IceTransmit } from "./agent-face.ts";
import { checkPriority } from "./candidate.ts";
import type { Pair } from "./pair.ts";

/** One that may still be answered. */
export interface SizeCheck {
  readonly transaction: string;
  /** Of the whole datagram. */
  readonly bytes: number;
}

/** What of the agent they work on. All of `sizeChecks` are of the pair that was selected last. */
export interface SizeChecking {
  readonly options: IceAgentOptions;
  readonly username: string;
  readonly tieBreaker: bigint;
  readonly remoteKey: Uint8Array;
  readonly sizeChecks: SizeCheck[];
  readonly transmits: IceTransmit[];
  readonly events: IceEvent[];
  readonly selected: Pair | undefined;
}

/** Answers are awaited for so many, a search's and more; then the oldest is forgotten (SN-150). */
const SIZE_CHECKS_MAX = 64;

/** Nothing where no pair is selected, or where a check without padding is longer. */
export function sendSizeCheck(agent: SizeChecking, bytes: number): void {
  const { options, username, tieBreaker, remoteKey, selected } = agent;
  if (selected === undefined) return;
  const transactionId = randomBytes(options.random, TRANSACTION_ID_BYTES);
  const { candidate } = selected.local;
  const request = {
    transactionId,
    username,
    claim: { role: options.role, tieBreaker },
    priority: checkPriority(candidate),
    isNominated: false,
    lengthBytes: bytes,
  };
  const into = new Uint8Array(bytes);
  if (encodeBindingRequest(into, request, remoteKey) !== bytes) return;
  remember(agent, { transaction: toHex(transactionId), bytes });
  const to = selected.remote.candidate.address;
  const destination = { ...to, address: copyOf(to.address) };
  agent.transmits.push({ source: candidate.base, destination, bytes: into, isWhole: true });
}

/** What became of an answer; `undefined`: it is to none of these checks. */
export function answerSizeCheck(
  agent: SizeChecking,
  transaction: string,
  answer: Extract<BindingMessage, { kind: "success" | "error" }>,
): AnswerVerdict | undefined {
  const { sizeChecks, options, events } = agent;
  const at = sizeChecks.findIndex((check) => check.transaction === transaction);
  const check = sizeChecks[at];
  if (check === undefined) return undefined;
  if (!verifyIntegrity(answer.frame, agent.remoteKey)) return "bad-integrity";
  sizeChecks.splice(at, 1);
  options.transactions.remove(transaction);
  if (answer.kind === "success") events.push({ kind: "size-answered", bytes: check.bytes });
  return "accepted";
}

/** Another pair is selected, or none any more: answers prove nothing about it. */
export function forgetSizeChecks({ sizeChecks, options }: SizeChecking): void {
  for (const { transaction } of sizeChecks.splice(0)) options.transactions.remove(transaction);
}

function remember({ sizeChecks, options }: SizeChecking, check: SizeCheck): void {
  sizeChecks.push(check);
  options.transactions.add(check.transaction);
  if (sizeChecks.length <= SIZE_CHECKS_MAX) return;
  const oldest = sizeChecks.shift();
  if (oldest !== undefined) options.transactions.remove(oldest.transaction);
}
