/**
 * The hash from a peer's tunnel address to the peer, written by control and read by the egress worker at any time
 * (TN-110). `assembly/table/host-table.ts` says how it is searched.
 *
 * An entry keeps its address as long as the table lives, so that a reader never sees one address with another's
 * target. What is removed stays as *gone*; a table that is half full is written anew, larger only if it has to be.
 * So a change costs the same however many addresses there are.
 */
import type { IpAddress } from "../../src/base/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import type { Quiescence } from "./quiescence.ts";

const { plane: PLANE, hostTable: TABLE, hostEntry: ENTRY } = OFFSETS;
const POINTER = (CONSTANTS.PLANE_ADDRESS + PLANE.hosts) >> 2;
const { TARGET_GONE, TARGET_PEER } = CONSTANTS;
const LEAST_ENTRIES = 64;

export interface HostTable {
  /** The address leads to the peer from now on, whosever it was. */
  set(address: IpAddress, slot: number): void;
  /** Nothing, if the address leads to another peer by now. */
  remove(address: IpAddress, slot: number): void;
}

interface Key {
  readonly family: 4 | 6;
  readonly upper: bigint;
  readonly lower: bigint;
  readonly hash: number;
}

interface State {
  readonly shared: SharedMemory;
  readonly quiescence: Quiescence;
  /** 0: there is none yet. */
  table: number;
  entries: number;
  /** Addresses that lead somewhere, and all entries that have a key. */
  live: number;
  keyed: number;
}

export function createHostTable(shared: SharedMemory, quiescence: Quiescence): HostTable {
  const state: State = { shared, quiescence, table: 0, entries: 0, live: 0, keyed: 0 };
  return {
    set(address, slot) {
      if (2 * (state.keyed + 1) > state.entries) writeAnew(state);
      put(state, keyOf(address), TARGET_PEER + slot);
    },
    remove(address, slot) {
      const at = state.table === 0 ? undefined : find(state, keyOf(address));
      if (at === undefined || targetAt(state, at) !== TARGET_PEER + slot) return;
      Atomics.store(state.shared.words, (at + ENTRY.target) >> 2, TARGET_GONE);
      state.live--;
    },
  };
}

function keyOf(address: IpAddress): Key {
  const view = new DataView(address.buffer, address.byteOffset, address.byteLength);
  if (address.length === 4) {
    const word = view.getUint32(0);
    return { family: 4, upper: 0n, lower: BigInt(word), hash: hashOf(word) };
  }
  let folded = 0;
  for (let i = 0; i < 16; i += 4) folded ^= view.getUint32(i);
  return { family: 6, upper: view.getBigUint64(0), lower: view.getBigUint64(8), hash: hashOf(folded) };
}

/** The portal gives tunnel addresses out: nobody chooses who shares a place. */
function hashOf(word: number): number {
  const mixed = Math.imul(word, CONSTANTS.HOST_HASH_MULTIPLIER);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function put(state: State, key: Key, target: number): void {
  const { words, longs } = state.shared;
  const known = find(state, key);
  const at = known ?? freePlace(state, key);
  if (known === undefined) {
    words[(at + ENTRY.family) >> 2] = key.family;
    longs[(at + ENTRY.upper) >> 3] = key.upper;
    longs[(at + ENTRY.lower) >> 3] = key.lower;
    state.keyed++;
  }
  const before = Atomics.exchange(words, (at + ENTRY.target) >> 2, target);
  if (before === 0 || before === TARGET_GONE) state.live++;
}

/** The entry with that address, gone or not. */
function find(state: State, key: Key): number | undefined {
  const { words, longs } = state.shared;
  for (const at of places(state, key.hash)) {
    if (targetAt(state, at) === 0) return undefined;
    const isIt =
      words[(at + ENTRY.family) >> 2] === key.family &&
      longs[(at + ENTRY.upper) >> 3] === key.upper &&
      longs[(at + ENTRY.lower) >> 3] === key.lower;
    if (isIt) return at;
  }
  return undefined;
}

/** At least half of the entries are free. */
function freePlace(state: State, key: Key): number {
  for (const at of places(state, key.hash)) if (targetAt(state, at) === 0) return at;
  throw new Error("a host table has a free entry");
}

function* places({ table, entries }: State, hash: number): Generator<number> {
  for (let i = 0; i < entries; i++) {
    yield table + BYTES.hostTable + ((hash + i) & (entries - 1)) * BYTES.hostEntry;
  }
}

function targetAt({ shared }: State, at: number): number {
  return Atomics.load(shared.words, (at + ENTRY.target) >> 2);
}

/** What leads somewhere goes to a table with four times as many entries at most, and twice as many at least. */
function writeAnew(state: State): void {
  const { shared, quiescence, table: old, entries: oldEntries } = state;
  const entries = Math.max(LEAST_ENTRIES, 2 ** Math.ceil(Math.log2(4 * (state.live + 1))));
  const table = shared.allocate(BYTES.hostTable + entries * BYTES.hostEntry);
  shared.words[(table + TABLE.mask) >> 2] = entries - 1;
  Object.assign(state, { table, entries, live: 0, keyed: 0 });
  for (let i = 0; i < oldEntries; i++) copyEntry(state, old + BYTES.hostTable + i * BYTES.hostEntry);
  Atomics.store(shared.words, POINTER, table);
  if (old !== 0) quiescence.after(() => shared.free(old));
}

function copyEntry(state: State, from: number): void {
  const { words, longs } = state.shared;
  const target = targetAt(state, from);
  if (target === 0 || target === TARGET_GONE) return;
  const family = words[(from + ENTRY.family) >> 2] === 4 ? 4 : 6;
  const upper = longs[(from + ENTRY.upper) >> 3] ?? 0n;
  const lower = longs[(from + ENTRY.lower) >> 3] ?? 0n;
  const folded = Number((upper >> 32n) ^ (upper & 0xffff_ffffn) ^ (lower >> 32n) ^ (lower & 0xffff_ffffn));
  put(state, { family, upper, lower, hash: hashOf(folded) }, target);
}
