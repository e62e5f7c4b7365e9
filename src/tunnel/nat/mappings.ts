/**
 * One client's NAT at a gateway: which outside tuple stands for which inside one, and for how long (TN-65 to TN-69).
 *
 * A pure machine. The plane translates the packets of known flows and stamps them; a mapping lives as long as it has
 * flows, and then as long as their last packets say. Whatever can end by itself stands in one queue for all clients:
 * a hundred thousand mappings cost nothing until one of them is due.
 */
import {
  after,
  createDeadlineQueue,
  type DeadlineQueue,
  type Instant,
  type IpAddress,
  type QueueEntry,
} from "../../base/index.ts";
import { PROTOCOL } from "../../packet/index.ts";
import {
  EXPIRED_TTL_MS,
  EXPIRED_TUPLES,
  MAPPINGS_PER_CLIENT,
  NAT_FIN_LINGER_MS,
  NAT_TTL_ICMP_MS,
  NAT_TTL_TCP_MS,
  NAT_TTL_UDP_MS,
  NAT_TTL_UNANSWERED_MS,
} from "../constants.ts";
import { tupleKey } from "./keys.ts";

export interface InsideTuple {
  readonly protocol: number;
  /** The client's source port or echo identifier. */
  readonly port: number;
  readonly proxy: IpAddress;
}

export interface OutsideTuple {
  readonly protocol: number;
  /** The client's port or identifier, as the real address sees it. */
  readonly port: number;
  readonly real: IpAddress;
}

export interface Mapping {
  readonly inside: InsideTuple;
  readonly outside: OutsideTuple;
}

/** Of one flow, or of all packets that control itself settled. */
export interface NatStamps {
  readonly lastOut: Instant | undefined;
  readonly lastIn: Instant | undefined;
  /** FIN was seen in both directions. */
  readonly hasFin: boolean;
  readonly hasRst: boolean;
}

export interface Mappings {
  /** The mapping of an inside tuple, whatever its proxy address stands for by now (TN-66). */
  ofInside(inside: InsideTuple): Mapping | undefined;
  /** TN-67: `expired`: such packets are for nobody (TN-69). */
  ofOutside(outside: OutsideTuple): Mapping | "expired" | undefined;
  /**
   * Makes a mapping with the first free value, the client's own one first.
   * @param isUsed whether an untranslated flow of the client has the outside tuple already
   * @returns `undefined` if nothing is free
   */
  create(
    now: Instant,
    wanted: { readonly inside: InsideTuple; readonly real: IpAddress },
    isUsed: (outside: OutsideTuple) => boolean,
  ): Mapping | undefined;
  /** A flow of it begins: until that ends, the mapping does not. */
  addFlow(mapping: Mapping): void;
  endFlow(mapping: Mapping, stamps: NatStamps): void;
  /** A packet that control settled itself. */
  note(now: Instant, mapping: Mapping, direction: "out" | "in"): void;
  /** Nothing is left, nor in the queue: the client has gone, or its proxy addresses anew (TN-64). */
  clear(): void;
  size(): number;
}

/** Something that ends by itself: a mapping without flows, or the memory of one. */
export interface Ageing extends QueueEntry {
  end(now: Instant): void;
}

/** Ends what is due; returns how many. */
export function endAged(queue: DeadlineQueue<Ageing>, now: Instant): number {
  let ended = 0;
  for (let first = queue.first(); isDue(first, now); first = queue.first()) {
    queue.set(first, undefined);
    first.end(now);
    ended++;
  }
  return ended;
}

function isDue(entry: Ageing | undefined, now: Instant): entry is Ageing {
  return entry?.dueAt !== undefined && entry.dueAt <= now;
}

interface Row extends Mapping, Ageing {
  /** Flows that live in the plane. */
  flows: number;
  lastOut: Instant;
  lastIn: Instant | undefined;
  /** What the flows that ended left to it. */
  until: Instant;
}

interface State {
  readonly queue: DeadlineQueue<Ageing>;
  readonly inside: Map<string, Row>;
  readonly outside: Map<string, Row>;
  /** Outside tuples of mappings that are gone, oldest first. */
  readonly expired: Map<string, Ageing>;
}

/** @param queue where what can end is found when its time has come; the caller ends it, with `endAged` */
export function createMappings(queue: DeadlineQueue<Ageing> = createDeadlineQueue()): Mappings {
  const nat: State = { queue, inside: new Map(), outside: new Map(), expired: new Map() };
  return {
    ofInside: ({ protocol, port, proxy }) => nat.inside.get(tupleKey(protocol, port, proxy)),
    ofOutside({ protocol, port, real }) {
      const key = tupleKey(protocol, port, real);
      return nat.outside.get(key) ?? (nat.expired.has(key) ? "expired" : undefined);
    },
    create: (now, wanted, isUsed) => create(nat, now, wanted, isUsed),
    addFlow(mapping) {
      const row = rowOf(nat, mapping);
      if (row === undefined) return;
      row.flows++;
      queue.set(row, undefined);
    },
    endFlow: (mapping, stamps) => endFlow(nat, mapping, stamps),
    note(now, mapping, direction) {
      const row = rowOf(nat, mapping);
      if (row === undefined) return;
      if (direction === "out") row.lastOut = now;
      else row.lastIn = now;
      // While there are flows, these say when it is over: FIN and RST are seen by the plane.
      if (row.flows === 0)
        prolong(nat, row, endOf(row.inside.protocol, { ...row, hasFin: false, hasRst: false }));
    },
    clear() {
      for (const one of [...nat.outside.values(), ...nat.expired.values()]) queue.set(one, undefined);
      nat.inside.clear();
      nat.outside.clear();
      nat.expired.clear();
    },
    size: () => nat.outside.size,
  };
}

function rowOf(nat: State, { outside: { protocol, port, real } }: Mapping): Row | undefined {
  return nat.outside.get(tupleKey(protocol, port, real));
}

function create(
  nat: State,
  now: Instant,
  { inside, real }: { readonly inside: InsideTuple; readonly real: IpAddress },
  isUsed: (outside: OutsideTuple) => boolean,
): Mapping | undefined {
  if (nat.outside.size >= MAPPINGS_PER_CLIENT) return undefined;
  const { protocol } = inside;
  for (const port of candidates(inside.port)) {
    const outside = { protocol, port, real };
    const key = tupleKey(protocol, port, real);
    if (nat.outside.has(key) || isUsed(outside)) continue;
    const row: Row = {
      ...{ inside, outside, flows: 0, lastOut: now, lastIn: undefined, until: now },
      ...{ dueAt: undefined, place: -1, end: (at) => expire(nat, row, at) },
    };
    prolong(nat, row, endOf(protocol, { ...row, hasFin: false, hasRst: false }));
    nat.inside.set(tupleKey(protocol, inside.port, inside.proxy), row);
    nat.outside.set(key, row);
    forgetExpired(nat, key);
    return row;
  }
  return undefined;
}

/** The own port, then upwards and around, never 0. */
function* candidates(own: number): Generator<number> {
  yield own;
  for (let port = own + 1; port <= 0xffff; port++) yield port;
  for (let port = 1; port < own; port++) yield port;
}

/** A mapping with several flows ends with the last of them: one RST does not cut the others. */
function endFlow(nat: State, mapping: Mapping, stamps: NatStamps): void {
  const row = rowOf(nat, mapping);
  if (row === undefined) return;
  row.flows--;
  const lastIn = stamps.lastIn ?? row.lastIn;
  prolong(nat, row, endOf(row.inside.protocol, { ...stamps, lastIn }));
}

function prolong({ queue }: State, row: Row, until: Instant): void {
  if (until > row.until) row.until = until;
  if (row.flows === 0) queue.set(row, row.until);
}

/** When a flow with these stamps is over (TN-68). */
export function endOf(protocol: number, { lastOut, lastIn, hasFin, hasRst }: NatStamps): Instant {
  const last = Math.max(lastOut ?? 0, lastIn ?? 0) as Instant;
  if (hasRst) return last;
  if (hasFin) return after(last, NAT_FIN_LINGER_MS);
  if (protocol === PROTOCOL.udp) return after(last, NAT_TTL_UDP_MS);
  if (protocol !== PROTOCOL.tcp) return after(last, NAT_TTL_ICMP_MS);
  // Nothing came back: a SYN to a port that does not answer.
  return after(last, lastIn === undefined ? NAT_TTL_UNANSWERED_MS : NAT_TTL_TCP_MS);
}

/** The mapping is over, and what still comes for it is nobody's (TN-69). */
function expire(nat: State, row: Row, now: Instant): void {
  const { protocol, port, proxy } = row.inside;
  const key = tupleKey(protocol, row.outside.port, row.outside.real);
  nat.outside.delete(key);
  nat.inside.delete(tupleKey(protocol, port, proxy));
  const memory: Ageing = { dueAt: undefined, place: -1, end: () => nat.expired.delete(key) };
  nat.expired.set(key, memory);
  nat.queue.set(memory, after(now, EXPIRED_TTL_MS));
  if (nat.expired.size <= EXPIRED_TUPLES) return;
  const [oldest] = nat.expired.keys();
  if (oldest !== undefined) forgetExpired(nat, oldest);
}

function forgetExpired({ expired, queue }: State, key: string): void {
  const memory = expired.get(key);
  if (memory === undefined) return;
  expired.delete(key);
  queue.set(memory, undefined);
}
