/**
 * The flows that are under way, and what is remembered of those that are done (PT-85).
 */
import { after, earliest, type Instant, instant } from "../../base/index.ts";
import type { GatewayRequest } from "../protocol/index.ts";
import type { AuthorizationRecord } from "./authorizations.ts";
import type { Core } from "./core.ts";

export type GatewayCandidates = Exclude<GatewayRequest, { kind: "flow-authorized" }>;

/** `asked`: the gateway has not answered. `answered`: waits for the disk. `done`: remembers its ref. */
export type FlowStage = "asked" | "answered" | "done";

export interface Flow {
  readonly ref: string;
  readonly record: AuthorizationRecord;
  /** The revision of the store that holds the record. */
  readonly revision: number;
  readonly forgetAt: Instant;
  /** Gateways that have failed this request already. */
  readonly excluded: readonly string[];
  /** When the client asked. */
  readonly since: Instant;
  /** Gateways that the client knows, best first. */
  known: readonly string[];
  stage: FlowStage;
  /** Its place among all that gateways are asked, and when that was. */
  question: number;
  askedAt: Instant;
  answerBy: Instant;
  lastAskedAt: Instant;
  /** The public keys that the gateway was told. */
  clientKey: Uint8Array;
  gatewayKey: Uint8Array;
  /** Candidates of the gateway: they must not overtake `flow_created` (PT-87). */
  held: GatewayCandidates[];
  heldCount: number;
}

/** Through which gateway a client was given a resource last: for the suspects of PT-84, and what crosses it (PT-86). */
export interface GivenGateway {
  readonly gid: string;
  readonly at: Instant;
  readonly clientKey: Uint8Array;
  /** Ids of the sockets by which client and gateway heard of it. */
  readonly sockets: readonly (number | undefined)[];
}

/** A gateway's last answer. */
interface LastAnswer {
  readonly question: number;
  readonly at: Instant;
}

export interface FlowTable {
  readonly core: Core;
  readonly byRef: Map<string, Flow>;
  /** By client and resource. */
  readonly pending: Map<string, Flow>;
  /** By client and gateway. */
  readonly pendingOfPair: Map<string, Set<Flow>>;
  /** By client and resource. */
  readonly given: Map<string, GivenGateway>;
  /** By gateway. */
  readonly answers: Map<string, LastAnswer>;
  lastQuestion: number;
  nextAt: Instant | undefined;
}

export const ANSWER_WITHIN_MS = 5_000;
const FORGET_AFTER_MS = 60_000;
/** Flows are forgotten on whole seconds, so that many share one wake-up. */
const FORGET_GRID_MS = 1_000;
export const SUSPECT_FOR_MS = 60_000;

export function createFlowTable(core: Core): FlowTable {
  return {
    core,
    byRef: new Map(),
    pending: new Map(),
    pendingOfPair: new Map(),
    given: new Map(),
    answers: new Map(),
    lastQuestion: 0,
    nextAt: undefined,
  };
}

/** A flow that nobody has been asked about yet. */
export function createFlow(
  table: FlowTable,
  now: Instant,
  of: Pick<Flow, "ref" | "record" | "revision" | "excluded" | "since" | "known" | "clientKey" | "gatewayKey">,
): Flow {
  return {
    ...of,
    forgetAt: onGrid(after(now, FORGET_AFTER_MS)),
    stage: "asked",
    question: ++table.lastQuestion,
    askedAt: now,
    answerBy: after(now, ANSWER_WITHIN_MS),
    lastAskedAt: now,
    held: [],
    heldCount: 0,
  };
}

export function addFlow(table: FlowTable, flow: Flow): void {
  const { cid, gid, rid } = flow.record;
  table.byRef.set(flow.ref, flow);
  table.pending.set(`${cid}|${rid}`, flow);
  const flows = table.pendingOfPair.get(`${cid}|${gid}`);
  if (flows === undefined) table.pendingOfPair.set(`${cid}|${gid}`, new Set([flow]));
  else flows.add(flow);
  wakeAt(table, flow.answerBy);
}

/** Its gateway is asked something else: it has the time of a new question. */
export function askAnew(table: FlowTable, now: Instant, flow: Flow): void {
  flow.question = ++table.lastQuestion;
  flow.askedAt = now;
  flow.answerBy = after(now, ANSWER_WITHIN_MS);
}

/**
 * Until when the flow's gateway counts as busy with what it was asked before: so long behind its last answer. Gateways
 * answer in the order of the questions, so one that has answered a later question has passed over this one.
 */
export function busyUntil({ answers }: FlowTable, { record, question, askedAt }: Flow): Instant | undefined {
  const last = answers.get(record.gid);
  if (last === undefined || last.question > question || last.at < askedAt) return undefined;
  return after(last.at, ANSWER_WITHIN_MS);
}

/** No longer pending; its reference is remembered for repeated answers. */
export function endFlow(table: FlowTable, flow: Flow): void {
  const { cid, gid, rid } = flow.record;
  flow.stage = "done";
  if (table.pending.get(`${cid}|${rid}`) === flow) table.pending.delete(`${cid}|${rid}`);
  const flows = table.pendingOfPair.get(`${cid}|${gid}`);
  flows?.delete(flow);
  if (flows?.size === 0) table.pendingOfPair.delete(`${cid}|${gid}`);
}

/** Neither pending nor remembered: a late answer gets `invalid_ref`. */
export function forgetFlow(table: FlowTable, flow: Flow): void {
  endFlow(table, flow);
  table.byRef.delete(flow.ref);
}

export function wakeAt(table: FlowTable, at: Instant): void {
  table.nextAt = earliest(table.nextAt, at);
}

/** Forgets what is old and finds the next deadline. */
export function tidyFlows(table: FlowTable, now: Instant): void {
  for (const flow of [...table.byRef.values()]) if (now >= flow.forgetAt) forgetFlow(table, flow);
  for (const [key, { at }] of table.given) if (now - at >= SUSPECT_FOR_MS) table.given.delete(key);
  table.nextAt = undefined;
  for (const flow of table.byRef.values()) {
    wakeAt(table, flow.stage === "asked" ? earlierOf(flow.answerBy, flow.forgetAt) : flow.forgetAt);
  }
}

function earlierOf(a: Instant, b: Instant): Instant {
  return a < b ? a : b;
}

function onGrid(at: Instant): Instant {
  return instant(Math.ceil(at / FORGET_GRID_MS) * FORGET_GRID_MS);
}
