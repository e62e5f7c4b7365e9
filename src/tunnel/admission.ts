/**
 * Which clients a gateway begins with, and which wait for their turn (TN-122).
 *
 * A set-up costs the gateway more the longer it takes: both ends repeat their checks and handshakes. Where all begin that
 * come, each takes as long as all of them together, time runs out for most, and they come again. So many are begun as
 * finish soon; the others wait where they cost nothing, at the portal, which has no answer to give them yet.
 */
import {
  after,
  createDeadlineQueue,
  type DeadlineQueue,
  type Instant,
  type QueueEntry,
} from "../base/index.ts";
import type { AuthorizeFlow, GatewayResource } from "../portal/protocol/index.ts";
import { FLOWS_WAITING_OF_CLIENT, SET_UP_FIRST_MS, SET_UP_LAST_MS, SET_UP_TIMES } from "./constants.ts";

/** A client whose connection has been made, and has no session yet. Due: when it counts no more. */
interface SetUp extends QueueEntry {
  readonly cid: string;
  readonly since: Instant;
}

export interface Admission {
  readonly atOnce: number;
  readonly clientsMax: number;
  /** By client, also those that count no more. */
  readonly setUps: Map<string, SetUp>;
  /** Those that count. */
  readonly counting: DeadlineQueue<SetUp>;
  underWay: number;
  /** How long set-ups take that come to something, smoothed as a round trip is (RFC 6298 §2); 0: nobody knows yet. */
  usualMs: number;
  /** By client, in the order in which they came: what the portal asked for it. */
  readonly waiting: Map<string, AuthorizeFlow[]>;
  /** Since when there are some that wait, and how many have. */
  crowd: { readonly since: Instant; clients: number } | undefined;
}

/** @param atOnce set-ups under way; @param clientsMax that may wait */
export function createAdmission(atOnce: number, clientsMax: number): Admission {
  return {
    atOnce,
    clientsMax,
    setUps: new Map(),
    counting: createDeadlineQueue(),
    underWay: 0,
    usualMs: 0,
    waiting: new Map(),
    crowd: undefined,
  };
}

/** Whether a client that needs a new connection has to wait. As long as others wait, that is so behind every input. */
export function isFull({ underWay, atOnce }: Admission): boolean {
  return underWay >= atOnce;
}

/**
 * The question waits; in place of an earlier one for the same resource. A client with another key waits anew: for the
 * portal that is another question, behind all others (PT-86).
 *
 * @returns whether there was room
 */
export function putOff(admission: Admission, now: Instant, flow: AuthorizeFlow): boolean {
  const { waiting, clientsMax } = admission;
  const { cid, publicKey } = flow.client;
  const before = waiting.get(cid) ?? [];
  const hasNewKey = before.some(({ client }) => !isEqual(client.publicKey, publicKey));
  if (hasNewKey) waiting.delete(cid);
  const others = before.filter(({ resource }) => resource.rid !== flow.resource.rid);
  if (others.length >= FLOWS_WAITING_OF_CLIENT) return false;
  if (before.length === 0 && waiting.size >= clientsMax) return false;
  waiting.set(cid, [...others, flow]);
  admission.crowd ??= { since: now, clients: 0 };
  if (before.length === 0) admission.crowd.clients++;
  return true;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

/** The questions for the client whose turn it is. */
export function takeNext({ underWay, waiting, atOnce }: Admission): readonly AuthorizeFlow[] | undefined {
  if (underWay >= atOnce) return undefined;
  for (const [cid, flows] of waiting) {
    waiting.delete(cid);
    return flows;
  }
  return undefined;
}

/** The portal has taken it back. */
export function withdraw({ waiting }: Admission, cid: string, rid: string): void {
  const left = waiting.get(cid)?.filter(({ resource }) => resource.rid !== rid);
  if (left === undefined) return;
  if (left.length === 0) waiting.delete(cid);
  else waiting.set(cid, left);
}

/** What waits is granted as it is by then, not as it was when it was asked. */
export function changeWaiting(
  { waiting }: Admission,
  change: (flow: AuthorizeFlow) => AuthorizeFlow,
  cids: Iterable<string> = waiting.keys(),
): void {
  for (const cid of [...cids]) {
    const flows = waiting.get(cid);
    if (flows !== undefined) waiting.set(cid, flows.map(change));
  }
}

export function withResources(resources: readonly GatewayResource[]): (flow: AuthorizeFlow) => AuthorizeFlow {
  const byId = new Map(resources.map((resource) => [resource.rid, resource]));
  return (flow) => ({ ...flow, resource: byId.get(flow.resource.rid) ?? flow.resource });
}

/** The client's connection has been made. */
export function begin(admission: Admission, now: Instant, cid: string): void {
  end(admission, cid);
  const setUp: SetUp = { cid, since: now, dueAt: undefined, place: -1 };
  admission.setUps.set(cid, setUp);
  count(admission, setUp, after(now, patienceMs(admission)));
}

/** It has a session. */
export function succeed(admission: Admission, now: Instant, cid: string): void {
  const setUp = admission.setUps.get(cid);
  if (setUp === undefined) return;
  const tookMs = now - setUp.since;
  const { usualMs } = admission;
  admission.usualMs = usualMs === 0 ? tookMs : usualMs + (tookMs - usualMs) / 8;
  end(admission, cid);
}

/** It is gone. */
export function end(admission: Admission, cid: string): void {
  const setUp = admission.setUps.get(cid);
  if (setUp === undefined) return;
  admission.setUps.delete(cid);
  count(admission, setUp, undefined);
}

function count(admission: Admission, setUp: SetUp, until: Instant | undefined): void {
  admission.underWay += Number(until !== undefined) - Number(setUp.dueAt !== undefined);
  admission.counting.set(setUp, until);
}

/**
 * How long one counts of which nothing has arrived yet: where set-ups are slow because there is too much to do, to begin
 * more would make them slower.
 */
function patienceMs({ usualMs }: Admission): number {
  return Math.min(SET_UP_LAST_MS, Math.max(SET_UP_FIRST_MS, SET_UP_TIMES * usualMs));
}

/**
 * Who takes too long counts no more, so that clients without a way to us do not keep away the others: soon where nothing
 * of them has arrived, later where there is a path.
 */
export function handleAdmissionTimeout(
  admission: Admission,
  now: Instant,
  hasPath: (cid: string) => boolean,
): void {
  const { counting } = admission;
  for (let first = counting.first(); isDue(first, now); first = counting.first()) {
    const last = after(first.since, SET_UP_LAST_MS);
    count(admission, first, last > now && hasPath(first.cid) ? last : undefined);
  }
}

function isDue(setUp: SetUp | undefined, now: Instant): setUp is SetUp {
  return setUp?.dueAt !== undefined && setUp.dueAt <= now;
}

/** The connections are gone, or the portal asks anew. */
export function forgetWaiting({ waiting }: Admission): void {
  waiting.clear();
}

/** How many have waited, and how long there was a crowd, once it is over. */
export function crowdOver(
  admission: Admission,
  now: Instant,
): { readonly clients: number; readonly ms: number } | undefined {
  const { crowd, waiting } = admission;
  if (crowd === undefined || waiting.size > 0) return undefined;
  admission.crowd = undefined;
  return { clients: crowd.clients, ms: now - crowd.since };
}
