/** Building a policy aside in shared memory, for publication by one pointer swap (WG-58). */
import { assert, type Prefix, toPrefix, unreachable } from "../../src/base/index.ts";
import type { PeerPermits, PolicyTables, RouteTarget } from "../../src/plane/index.ts";
import { BYTES, CONSTANTS, OFFSETS, reasonNumber, roundUp, type SharedMemory } from "../memory/index.ts";
import { flatten, type ValuedPrefix } from "./range-set.ts";

const { policy: POLICY, permit: PERMIT, rangeSet: RANGE_SET } = OFFSETS;
const { PERMIT_MEMBER, PERMIT_BY_FLOW } = CONSTANTS;

interface Piece {
  readonly bytes: number;
  /** Writes the piece at its address; other pieces' addresses are known by then. */
  write(address: number): void;
}

/**
 * Writes `tables` into one piece of fresh memory.
 * @returns its address: a policy record, which no worker sees yet
 */
export function writePolicy(shared: SharedMemory, tables: PolicyTables): number {
  const pieces: Piece[] = [];
  const own = tables.ownAddresses?.map((address) => toPrefix(address, address.length * 8));
  const routes = tables.routes.map(({ prefix, target }) => ({ prefix, value: targetNumber(target) }));
  const permitCount = 1 + tables.permits.reduce((most, { slot }) => Math.max(most, slot), -1);
  let permitsAt = 0;
  pieces.push({
    bytes: BYTES.policy,
    write(at) {
      const { words } = shared;
      words[(at + POLICY.hasOwn) >> 2] = own === undefined ? 0 : 1;
      words[(at + POLICY.permits) >> 2] = permitsAt;
      words[(at + POLICY.permitCount) >> 2] = permitCount;
    },
  });
  const base = () => blob;
  addRangeSet(shared, pieces, routes, () => base() + POLICY.routes);
  addRangeSet(shared, pieces, members(own ?? []), () => base() + POLICY.own);
  const permitsPiece = { bytes: permitCount * BYTES.permit, write: () => undefined };
  const permitsOffset = pieces.reduce((sum, { bytes }) => sum + roundUp(bytes, 64), 0);
  pieces.push(permitsPiece);
  for (const permits of tables.permits) addPermits(shared, pieces, permits, () => permitsAt);
  const blob = shared.allocate(pieces.reduce((sum, { bytes }) => sum + roundUp(bytes, 64), 0));
  permitsAt = blob + permitsOffset;
  let at = blob;
  for (const piece of pieces) {
    piece.write(at);
    at += roundUp(piece.bytes, 64);
  }
  return blob;
}

/**
 * Writes what one peer may into a piece of its own.
 * @returns the address of its permit row, which no worker sees yet
 */
export function writePermit(shared: SharedMemory, slot: number, permits: Omit<PeerPermits, "slot">): number {
  const pieces: Piece[] = [];
  let row = 0;
  // A table of one row, in which the peer has its own place.
  addPermits(shared, pieces, { ...permits, slot }, () => row - slot * BYTES.permit);
  row = shared.allocate(BYTES.permit + pieces.reduce((sum, { bytes }) => sum + roundUp(bytes, 64), 0));
  let at = row + BYTES.permit;
  for (const piece of pieces) {
    piece.write(at);
    at += roundUp(piece.bytes, 64);
  }
  return row;
}

function targetNumber(target: RouteTarget): number {
  switch (target.kind) {
    case "peer":
      return CONSTANTS.TARGET_PEER + target.slot;
    case "punt":
      return CONSTANTS.TARGET_PUNT;
    case "flow":
      return CONSTANTS.TARGET_FLOW;
    case "refuse":
      return CONSTANTS.TARGET_REFUSE;
    case "drop": {
      const reason = reasonNumber(target.reason);
      assert(reason !== 0, `a route drops for a reason that is in the table, not ${target.reason}`);
      return CONSTANTS.TARGET_DROP + reason;
    }
    default:
      return unreachable(target);
  }
}

/** Of two equal prefixes the later counts (TN-110). */
function members(prefixes: readonly Prefix[] = [], byFlow: readonly Prefix[] = []): readonly ValuedPrefix[] {
  return [
    ...prefixes.map((prefix) => ({ prefix, value: PERMIT_MEMBER })),
    ...byFlow.map((prefix) => ({ prefix, value: PERMIT_BY_FLOW })),
  ];
}

/** A permit row and its range sets; `rows` gives the address of the first row. */
function addPermits(shared: SharedMemory, pieces: Piece[], permits: PeerPermits, rows: () => number): void {
  const { byFlow } = permits;
  const row = () => rows() + permits.slot * BYTES.permit;
  pieces.push({
    bytes: 0,
    write() {
      const { words } = shared;
      words[(row() + PERMIT.isPresent) >> 2] = 1;
      words[(row() + PERMIT.refusesDestination) >> 2] = permits.refuseDestination ? 1 : 0;
      words[(row() + PERMIT.hasDestinations) >> 2] = permits.destinations === undefined ? 0 : 1;
      words[(row() + PERMIT.hasEgressSources) >> 2] = permits.egressSources === undefined ? 0 : 1;
      words[(row() + PERMIT.isTranslated) >> 2] = byFlow?.isTranslated === true ? 1 : 0;
    },
  });
  addRangeSet(shared, pieces, members(permits.sources), () => row() + PERMIT.sources);
  const destinations = members(permits.destinations, byFlow?.destinations);
  addRangeSet(shared, pieces, destinations, () => row() + PERMIT.destinations);
  const egressSources = members(permits.egressSources, byFlow?.egressSources);
  addRangeSet(shared, pieces, egressSources, () => row() + PERMIT.egressSources);
}

/** The ranges of a set as one piece, and the set's record at the address that `record` gives. */
function addRangeSet(
  shared: SharedMemory,
  pieces: Piece[],
  prefixes: readonly ValuedPrefix[],
  record: () => number,
): void {
  const v4 = flatten(prefixes, 4);
  const v6 = flatten(prefixes, 16);
  const starts6Bytes = v6.starts.length * 16;
  const starts4Bytes = v4.starts.length * 4;
  pieces.push({
    bytes: starts6Bytes + v6.starts.length * 4 + starts4Bytes * 2,
    write(at) {
      const { words, longs } = shared;
      const values6At = at + starts6Bytes;
      const starts4At = values6At + v6.starts.length * 4;
      const values4At = starts4At + starts4Bytes;
      for (const [i, start] of v6.starts.entries()) {
        longs[(at >> 3) + i * 2] = start >> 64n;
        longs[(at >> 3) + i * 2 + 1] = start & 0xffff_ffff_ffff_ffffn;
      }
      for (const [i, value] of v6.values.entries()) words[(values6At >> 2) + i] = value;
      for (const [i, start] of v4.starts.entries()) words[(starts4At >> 2) + i] = Number(start);
      for (const [i, value] of v4.values.entries()) words[(values4At >> 2) + i] = value;
      const set = record();
      words[(set + RANGE_SET.count4) >> 2] = v4.starts.length;
      words[(set + RANGE_SET.starts4) >> 2] = starts4At;
      words[(set + RANGE_SET.values4) >> 2] = values4At;
      words[(set + RANGE_SET.count6) >> 2] = v6.starts.length;
      words[(set + RANGE_SET.starts6) >> 2] = at;
      words[(set + RANGE_SET.values6) >> 2] = values6At;
    },
  });
}
