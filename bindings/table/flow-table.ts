/**
 * Control's hand in the flow records (TN-74 to TN-82, TN-90): it fills rows, links and unlinks them, and reads what
 * the workers have stamped. A row is used again when no worker can stand on it any more.
 */
import { assert, type Instant, instant, type Random, randomBytes } from "../../src/base/index.ts";
import type {
  EndedFlow,
  FlowDirection,
  FlowEnding,
  FlowFarewell,
  FlowRecord,
  FlowStamps,
  FlowUsage,
  FlowVerdict,
  PlaneFlows,
} from "../../src/plane/index.ts";
import {
  BYTES,
  CONSTANTS,
  OFFSETS,
  type PlaneExports,
  reasonNumber,
  type SharedMemory,
} from "../memory/index.ts";
import type { Quiescence } from "./quiescence.ts";

const { plane: PLANE, flowTable: TABLE, flow: FLOW, flowSide: SIDE } = OFFSETS;
const { FLOW_LINKED, FLOW_V6, FLOW_HAS_SLOT, FLOW_FIN, FLOW_RST } = CONSTANTS;
const VERDICTS: Readonly<Record<FlowVerdict, number>> = {
  pass: CONSTANTS.VERDICT_PASS,
  nat: CONSTANTS.VERDICT_NAT,
  prohibited: CONSTANTS.VERDICT_PROHIBITED,
  unreachable: CONSTANTS.VERDICT_UNREACHABLE,
  drop: CONSTANTS.VERDICT_DROP,
  punt: CONSTANTS.VERDICT_PUNT,
};
const ENDINGS: Readonly<Record<number, FlowEnding>> = {
  [CONSTANTS.ENDING_IDLE]: "idle",
  [CONSTANTS.ENDING_CLOSED]: "closed",
  [CONSTANTS.ENDING_RESET]: "reset",
  [CONSTANTS.ENDING_STALE]: "stale",
};
/** Pairs of row and ending that one call of the plane lists. */
const SWEPT_AT_ONCE = 512;
/** How many rows are looked at for one that may go (TN-80), and how long it was idle then. */
const VICTIM_STEPS = 256;
const VICTIM_IDLE_S = 30;
const TCP = 6;
/** In the hold word of a new record: any value will do that no punt leaves behind, for those are odd. */
const HELD = 2;

/** Of a plane without records: a plain WireGuard peer's. */
export const NO_FLOWS: PlaneFlows = {
  link: () => undefined,
  unlink: () => undefined,
  usage: () => undefined,
  note: () => undefined,
  revoke: () => undefined,
  sweep: () => [],
};

export interface FlowTableOptions {
  readonly shared: SharedMemory;
  readonly exports: PlaneExports;
  readonly quiescence: Quiescence;
  /** Draws the secret of the hash. */
  readonly random: Random;
  readonly capacity: number;
  /** Most records of one peer; by default all. */
  readonly mostPerPeer?: number;
  readonly maxPeers: number;
  /** A record was linked, and its packets are held from now on: until `bindings/ring/flow-order.ts` lets them go. */
  readonly onLink: (row: number) => void;
}

interface TableState extends FlowTableOptions {
  readonly address: number;
  readonly first: number;
  /** The next row that was never used. */
  next: number;
  readonly end: number;
  readonly free: number[];
  /** Rows that are unlinked, and not free yet. */
  leaving: number;
  /** A worker did not let go of one when it was waited for. */
  isLate: boolean;
  readonly countBySlot: Map<number, number>;
  readonly list: number;
  /** Of the clock that chooses who is displaced. */
  hand: number;
  readonly displaced: EndedFlow[];
}

/** Makes the table and names it in the plane's record. */
export function createFlowTable(options: FlowTableOptions): PlaneFlows {
  const { shared, random, capacity, maxPeers } = options;
  const address = shared.allocate(BYTES.flowTable);
  const chains = 2 ** Math.ceil(Math.log2(Math.max(capacity, 2)));
  shared.bytes.set(randomBytes(random, 8), address + TABLE.seed);
  const set = (field: number, value: number): void => {
    shared.words[(address + field) >> 2] = value;
  };
  const outChains = shared.allocate(4 * chains);
  const inChains = shared.allocate(4 * chains);
  const generations = shared.allocate(4 * maxPeers);
  const list = shared.allocate(8 * SWEPT_AT_ONCE);
  const first = shared.allocate(capacity * BYTES.flow);
  set(TABLE.outChains, outChains);
  set(TABLE.inChains, inChains);
  set(TABLE.chainMask, chains - 1);
  set(TABLE.rows, first);
  set(TABLE.generations, generations);
  shared.words[(CONSTANTS.PLANE_ADDRESS + PLANE.flows) >> 2] = address;
  const table: TableState = {
    ...options,
    address,
    first,
    next: first,
    end: first + capacity * BYTES.flow,
    free: [],
    leaving: 0,
    isLate: false,
    countBySlot: new Map(),
    list,
    hand: first,
    displaced: [],
  };
  return {
    link: (now, flow) => link(table, now, flow),
    unlink: (id) => unlink(table, id),
    usage: (id) => usage(table, id),
    note: (id, direction, farewell) => note(table, id, direction, farewell),
    revoke: (slot) => revoke(table, slot),
    sweep: (now) => sweep(table, now),
  };
}

function link(table: TableState, now: Instant, flow: FlowRecord): number | undefined {
  const { shared, exports, countBySlot, onLink } = table;
  const row = takeRow(table, now, flow.slot);
  if (row === undefined) return undefined;
  fill(table, row, now, flow);
  if (flow.slot !== undefined) countBySlot.set(flow.slot, (countBySlot.get(flow.slot) ?? 0) + 1);
  Atomics.store(shared.words, (row + FLOW.out + SIDE.hold) >> 2, HELD);
  Atomics.store(shared.words, (row + FLOW.in + SIDE.hold) >> 2, HELD);
  exports.flowLink(row);
  onLink(row);
  return idOf(table, row);
}

function unlink(table: TableState, id: number): FlowUsage | undefined {
  const { shared, exports, quiescence, countBySlot } = table;
  const row = rowOf(table, id);
  if (row === undefined) return undefined;
  exports.flowUnlink(row);
  const flags = shared.bytes[row + FLOW.flags] ?? 0;
  shared.bytes[row + FLOW.flags] = flags & ~FLOW_LINKED;
  const slot = slotOf(table, row);
  if (slot !== undefined) countBySlot.set(slot, (countBySlot.get(slot) ?? 1) - 1);
  table.leaving++;
  quiescence.after(() => {
    table.free.push(row);
    table.leaving--;
    table.isLate = false;
  });
  return usageOf(table, row);
}

function usage(table: TableState, id: number): FlowUsage | undefined {
  const row = rowOf(table, id);
  return row === undefined ? undefined : usageOf(table, row);
}

/** Workers add to the same word. */
function note(
  table: TableState,
  id: number,
  direction: FlowDirection,
  { hasFin, hasRst }: FlowFarewell,
): void {
  const row = rowOf(table, id);
  const flags = (hasFin ? FLOW_FIN : 0) | (hasRst ? FLOW_RST : 0);
  if (row === undefined || flags === 0) return;
  Atomics.or(table.shared.words, (row + FLOW[direction] + SIDE.flags) >> 2, flags);
}

function revoke({ shared, address, maxPeers }: TableState, slot: number | undefined): void {
  const { words } = shared;
  if (slot === undefined) {
    Atomics.add(words, (address + TABLE.generation) >> 2, 1);
    return;
  }
  assert(slot >= 0 && slot < maxPeers, `slot ${slot} is below ${maxPeers}`);
  Atomics.add(words, ((words[(address + TABLE.generations) >> 2] ?? 0) >> 2) + slot, 1);
}

function sweep(table: TableState, now: Instant): readonly EndedFlow[] {
  const { shared, exports, list, first, next } = table;
  const ended = table.displaced.splice(0);
  for (let listed = SWEPT_AT_ONCE, at = first; listed === SWEPT_AT_ONCE && at < next; ) {
    listed = exports.flowSweep(toSeconds(now), at, next, list, SWEPT_AT_ONCE);
    for (let i = 0; i < listed; i++) {
      const row = shared.words[(list >> 2) + 2 * i] ?? 0;
      const ending = ENDINGS[shared.words[(list >> 2) + 2 * i + 1] ?? 0];
      const id = idOf(table, row);
      const stamps = unlink(table, id);
      assert(ending !== undefined && stamps !== undefined, "the plane lists linked records");
      ended.push({ id, ending, ...stamps });
      at = row + BYTES.flow;
    }
  }
  return ended;
}

/** A free row, or one that may be displaced (TN-80). */
function takeRow(table: TableState, now: Instant, slot: number | undefined): number | undefined {
  const { free, countBySlot, mostPerPeer } = table;
  const isFull = slot !== undefined && (countBySlot.get(slot) ?? 0) >= (mostPerPeer ?? Number.MAX_VALUE);
  if (isFull || !hasRow(table)) {
    // One that was given up before is free soon: nobody need go for it.
    const victim =
      isFull || table.leaving === 0 ? findVictim(table, now, isFull ? slot : undefined) : undefined;
    if (victim !== undefined) displace(table, victim);
    else if (isFull || table.leaving === 0) return undefined;
    if (!hasRow(table)) return undefined;
  }
  const row = free.pop() ?? table.next;
  if (row === table.next) table.next += BYTES.flow;
  return row;
}

/**
 * Whether there is a row that no worker can stand on. One that is about to be free is waited for, but not for a worker
 * that lets itself be waited for: the packet is settled without a record then (TN-80).
 */
function hasRow(table: TableState): boolean {
  const { quiescence, free } = table;
  const isThere = (): boolean => free.length > 0 || table.next < table.end;
  quiescence.reclaim();
  if (isThere() || table.leaving === 0 || table.isLate) return isThere();
  quiescence.settle();
  table.isLate = !isThere();
  return !table.isLate;
}

function displace(table: TableState, victim: number): void {
  const id = idOf(table, victim);
  const stamps = unlink(table, id);
  if (stamps !== undefined) table.displaced.push({ id, ending: "displaced", ...stamps });
}

/** @param slot only records of this peer; absent: any */
function findVictim(table: TableState, now: Instant, slot: number | undefined): number | undefined {
  const { first, next } = table;
  for (let steps = 0; steps < VICTIM_STEPS; steps++) {
    const row = table.hand >= next ? first : table.hand;
    table.hand = row + BYTES.flow;
    if (slot !== undefined && slotOf(table, row) !== slot) continue;
    if (isVictim(table, row, toSeconds(now))) return row;
  }
  return undefined;
}

function isVictim(table: TableState, row: number, nowS: number): boolean {
  const { bytes, words } = table.shared;
  const byte = (field: number): number => bytes[row + field] ?? 0;
  const last = (side: number): number => words[(row + side + SIDE.last) >> 2] ?? 0;
  if ((byte(FLOW.flags) & FLOW_LINKED) === 0) return false;
  if (words[(row + FLOW.generation) >> 2] !== generationOf(table, row)) return true;
  const verdicts = byte(FLOW.verdicts);
  const verdict = verdicts & 15 || verdicts >> 4;
  if (verdict >= CONSTANTS.VERDICT_PROHIBITED && verdict <= CONSTANTS.VERDICT_DROP) return true;
  const isIdle = nowS - Math.max(last(FLOW.out), last(FLOW.in)) > VICTIM_IDLE_S;
  return isIdle && (byte(FLOW.protocol) !== TCP || last(FLOW.in) === 0);
}

/** As `generationOf` of `assembly/table/flow.ts`. */
function generationOf(table: TableState, row: number): number {
  const { words } = table.shared;
  const slot = slotOf(table, row);
  const all = words[(table.address + TABLE.generation) >> 2] ?? 0;
  const generations = words[(table.address + TABLE.generations) >> 2] ?? 0;
  return (all + (slot === undefined ? 0 : (words[(generations >> 2) + slot] ?? 0))) >>> 0;
}

function fill({ shared }: TableState, row: number, now: Instant, flow: FlowRecord): void {
  const { protocol, client, remote, outside, slot, reason = "not-allowed" } = flow;
  const { bytes, words, longs } = shared;
  const reasonCode = reasonNumber(reason);
  assert(reasonCode !== 0 && reasonCode < 256, `a reason that is in the table, not ${reason}`);
  bytes.fill(0, row, row + BYTES.flow);
  const set16 = (field: number, value: number): void => {
    bytes[row + field] = value & 0xff;
    bytes[row + field + 1] = value >> 8;
  };
  bytes[row + FLOW.protocol] = protocol;
  bytes[row + FLOW.flags] =
    FLOW_LINKED | (client.address.length === 16 ? FLOW_V6 : 0) | (slot === undefined ? 0 : FLOW_HAS_SLOT);
  bytes[row + FLOW.verdicts] = codeOf(flow.out) | (codeOf(flow.in) << 4);
  bytes[row + FLOW.reason] = reasonCode;
  set16(FLOW.slot, slot ?? 0);
  set16(FLOW.clientPort, client.port);
  set16(FLOW.remotePort, remote.port);
  set16(FLOW.outsidePort, outside?.port ?? client.port);
  bytes.set(client.address, row + FLOW.client);
  bytes.set(remote.address, row + FLOW.remote);
  bytes.set(outside?.address ?? remote.address, row + FLOW.outside);
  // Whoever asked for the record has just sent; an answer is still to come.
  words[(row + FLOW.out + SIDE.last) >> 2] = toSeconds(now);
  if (flow.first === undefined) return;
  const side = row + FLOW[flow.first.direction];
  longs[(side + SIDE.packets) >> 3] = 1n;
  longs[(side + SIDE.payload) >> 3] = BigInt(flow.first.bytes);
}

function codeOf(verdict: FlowVerdict | undefined): number {
  return verdict === undefined ? 0 : VERDICTS[verdict];
}

function slotOf({ shared: { bytes } }: TableState, row: number): number | undefined {
  if (((bytes[row + FLOW.flags] ?? 0) & FLOW_HAS_SLOT) === 0) return undefined;
  return (bytes[row + FLOW.slot] ?? 0) | ((bytes[row + FLOW.slot + 1] ?? 0) << 8);
}

/** Ids are numbers of rows, from 1. */
function idOf({ first }: TableState, row: number): number {
  return (row - first) / BYTES.flow + 1;
}

/** `undefined` if the id is of no linked record. */
function rowOf({ shared, first, next }: TableState, id: number): number | undefined {
  const row = first + (id - 1) * BYTES.flow;
  const isLinked = row >= first && row < next && ((shared.bytes[row + FLOW.flags] ?? 0) & FLOW_LINKED) !== 0;
  return isLinked ? row : undefined;
}

function usageOf(table: TableState, row: number): FlowUsage {
  return { out: stampsOf(table, row + FLOW.out), in: stampsOf(table, row + FLOW.in) };
}

function stampsOf({ shared: { words, longs } }: TableState, side: number): FlowStamps {
  const flags = words[(side + SIDE.flags) >> 2] ?? 0;
  return {
    last: instant((words[(side + SIDE.last) >> 2] ?? 0) * 1000),
    packets: Number(longs[(side + SIDE.packets) >> 3] ?? 0n),
    bytes: Number(longs[(side + SIDE.payload) >> 3] ?? 0n),
    hasFin: (flags & FLOW_FIN) !== 0,
    hasRst: (flags & FLOW_RST) !== 0,
  };
}

function toSeconds(now: Instant): number {
  return Math.floor(now / 1000);
}
