/**
 * The flows that are under way, and what is remembered of those that are done (PT-85).
 */
import {
  after,
  createDeadlineQueue,
  type DeadlineQueue,
  type Instant,
  instant,
  type QueueEntry,
} from "../../base/index.ts";
import type { GatewayRequest } from "../protocol/index.ts";
import type { AuthorizationRecord } from "./authorizations.ts";
import type { Core } from "./core.ts";

export type GatewayCandidates = Exclude<GatewayRequest, { readonly ref: string }>;

/**
 * `asked`: the gateway has said nothing. `waiting`: it lets the client wait for its turn. `answered`: waits for the disk.
 * `done`: remembers its ref.
 */
export type FlowStage = "asked" | "waiting" | "answered" | "done";

/** Due: where it is late, or to be forgotten. */
export interface Flow extends QueueEntry {
  readonly ref: string;
  readonly record: AuthorizationRecord;
  /** The revision of the store that holds the record. */
  readonly revision: number;
  /** Gateways that have failed this request already. */
  readonly excluded: readonly string[];
  /** When the client asked. */
  readonly since: Instant;
  /** Gateways that the client knows, best first. */
  known: readonly string[];
  stage: FlowStage;
  /** When its gateway was asked this first. */
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
  /** Whether the client may have known the gateway before: else it knows it by this answer alone. */
  readonly wasKnown: boolean;
  /** Ids of the sockets by which client and gateway heard of it. */
  readonly sockets: readonly (number | undefined)[];
}

export interface FlowTable {
  readonly core: Core;
  readonly byRef: Map<string, Flow>;
  /** By client and resource. */
  readonly pending: Map<string, Flow>;
  /** Those that wait for the disk: few, however many wait for their gateway. */
  readonly answered: Set<Flow>;
  /** By client and gateway. */
  readonly pendingOfPair: Map<string, Set<Flow>>;
  /** By client and resource. */
  readonly given: Map<string, GivenGateway>;
  /** When each gateway answered last. */
  readonly answers: Map<string, Instant>;
  /** All flows that are known, so that waiting for many costs nothing until one is due. */
  readonly deadlines: DeadlineQueue<Flow>;
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
    answered: new Set(),
    pendingOfPair: new Map(),
    given: new Map(),
    answers: new Map(),
    deadlines: createDeadlineQueue(),
  };
}

/** A flow that nobody has been asked about yet. */
export function createFlow(
  now: Instant,
  of: Pick<Flow, "ref" | "record" | "revision" | "excluded" | "since" | "known" | "clientKey" | "gatewayKey">,
): Flow {
  return {
    ...of,
    stage: "asked",
    askedAt: now,
    answerBy: after(now, ANSWER_WITHIN_MS),
    lastAskedAt: now,
    held: [],
    heldCount: 0,
    dueAt: undefined,
    place: -1,
  };
}

export function addFlow(table: FlowTable, flow: Flow): void {
  const { cid, gid, rid } = flow.record;
  table.byRef.set(flow.ref, flow);
  table.pending.set(`${cid}|${rid}`, flow);
  const flows = table.pendingOfPair.get(`${cid}|${gid}`);
  if (flows === undefined) table.pendingOfPair.set(`${cid}|${gid}`, new Set([flow]));
  else flows.add(flow);
  table.deadlines.set(flow, flow.answerBy);
}

/** Its gateway is asked something else: it has the time of a new question. */
export function askAnew(now: Instant, flow: Flow): void {
  flow.askedAt = now;
  flow.answerBy = after(now, ANSWER_WITHIN_MS);
}

/** It is looked at again then. */
export function awaitAnswer(table: FlowTable, flow: Flow, by: Instant): void {
  flow.answerBy = by;
  table.deadlines.set(flow, by);
}

/** Its gateway will answer when it is the client's turn. */
export function noteWaiting(table: FlowTable, now: Instant, flow: Flow): void {
  table.answers.set(flow.record.gid, now);
  flow.stage = "waiting";
}

/** It waits for the disk, for as long as that takes. */
export function noteAnswered(table: FlowTable, now: Instant, flow: Flow): void {
  table.answers.set(flow.record.gid, now);
  flow.stage = "answered";
  table.answered.add(flow);
  table.deadlines.set(flow, undefined);
}

/**
 * Until when the flow's gateway counts as busy: so long behind its last answer, where it has answered anything since it
 * was asked this. It need not have been asked that before: who needs no new connection waits for nobody (TN-122).
 */
export function busyUntil({ answers }: FlowTable, { record, askedAt }: Flow): Instant | undefined {
  const last = answers.get(record.gid);
  return last === undefined || last < askedAt ? undefined : after(last, ANSWER_WITHIN_MS);
}

/** No longer pending; its reference is remembered for repeated answers. */
export function endFlow(table: FlowTable, now: Instant, flow: Flow): void {
  takePending(table, flow);
  flow.stage = "done";
  table.deadlines.set(flow, onGrid(after(now, FORGET_AFTER_MS)));
}

function takePending(table: FlowTable, flow: Flow): void {
  table.answered.delete(flow);
  const { cid, gid, rid } = flow.record;
  if (table.pending.get(`${cid}|${rid}`) === flow) table.pending.delete(`${cid}|${rid}`);
  const flows = table.pendingOfPair.get(`${cid}|${gid}`);
  flows?.delete(flow);
  if (flows?.size === 0) table.pendingOfPair.delete(`${cid}|${gid}`);
}

/** Neither pending nor remembered: a late answer gets `invalid_ref`. */
export function forgetFlow(table: FlowTable, now: Instant, flow: Flow): void {
  const { cid, rid } = flow.record;
  takePending(table, flow);
  table.deadlines.set(flow, undefined);
  table.byRef.delete(flow.ref);
  const given = table.given.get(`${cid}|${rid}`);
  if (given !== undefined && now - given.at >= SUSPECT_FOR_MS) table.given.delete(`${cid}|${rid}`);
}

function onGrid(at: Instant): Instant {
  return instant(Math.ceil(at / FORGET_GRID_MS) * FORGET_GRID_MS);
}
