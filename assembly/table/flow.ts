/**
 * Flow records in two tables of chains, one per direction (TN-75).
 *
 * Control alone links and unlinks; workers read meanwhile. A record is written before it is linked, and one that was
 * unlinked keeps its own links, so that a worker that stands on it finds its way on. Its row is used again only after
 * both workers have passed a quiescent point (TN-81). A new record stands in front of an older one of the same flow.
 * The twin, `test/twin/plane/flows.ts`, searches a list.
 */
import { mix } from "../hash";
import { Ip4, Ip6 } from "../header";
import {
  ENDING_CLOSED,
  ENDING_IDLE,
  ENDING_RESET,
  ENDING_STALE,
  FLOW_FIN,
  FLOW_HAS_SLOT,
  FLOW_LINKED,
  FLOW_RST,
  FLOW_TTL,
  FLOW_TTL_FIN,
  FLOW_TTL_NEGATIVE,
  FLOW_TTL_TCP,
  FLOW_TTL_UNANSWERED,
  FLOW_V6,
  Flow,
  FlowSide,
  FlowTable,
  Packet,
  PLANE_ADDRESS,
  Plane,
  VERDICT_DROP,
  VERDICT_PROHIBITED,
} from "../layout";

const PROTOCOL_ICMP: u32 = 1;
const PROTOCOL_TCP: u32 = 6;
const PROTOCOL_ICMP6: u32 = 58;
/** Of `Flow.FLAGS`: what must be equal to the packet's. */
const FAMILY_MASK: u32 = FLOW_LINKED | FLOW_V6;

/**
 * The newest record of the flow of the validated packet at `packet`, or 0.
 * @param hint a record to look at first, or 0
 */
export function findFlow(packet: usize, found: usize, isIn: bool, hint: usize): usize {
  const table = load<usize>(PLANE_ADDRESS, Plane.FLOWS);
  if (table == 0) return 0;
  const isV6 = load<u32>(found, Packet.FAMILY) == 6;
  const protocol = load<u32>(found, Packet.PROTOCOL);
  // An echo identifier stands for both ports; the remote has none (TN-75).
  const isEcho = protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMP6;
  const sourcePort = isEcho && isIn ? 0 : load<u32>(found, Packet.SOURCE_PORT);
  const destinationPort = isEcho && !isIn ? 0 : load<u32>(found, Packet.DESTINATION_PORT);
  const source = isV6 ? v128.load(packet, Ip6.SOURCE) : v128.load32_zero(packet, Ip4.SOURCE);
  const destination = isV6 ? v128.load(packet, Ip6.DESTINATION) : v128.load32_zero(packet, Ip4.DESTINATION);
  const kind = protocol | ((isV6 ? FAMILY_MASK : <u32>FLOW_LINKED) << 8);
  return isIn
    ? findIn(table, kind, destination, source, destinationPort, sourcePort, hint)
    : findOut(table, kind, source, destination, sourcePort, destinationPort, hint);
}

/** Makes a record that is completely written visible. Control only. */
export function flowLink(row: usize): void {
  const table = load<usize>(PLANE_ADDRESS, Plane.FLOWS);
  const verdicts = <u32>load<u8>(row, Flow.VERDICTS);
  store<u32>(row, generationOf(row), Flow.GENERATION);
  if ((verdicts & 15) != 0) linkInto(chainOfRow(table, row, false), row, row + Flow.OUT);
  if (verdicts >> 4 != 0) linkInto(chainOfRow(table, row, true), row, row + Flow.IN);
}

/** Hides a record. Control only; the row stays as it is until no worker can stand on it. */
export function flowUnlink(row: usize): void {
  const table = load<usize>(PLANE_ADDRESS, Plane.FLOWS);
  const verdicts = <u32>load<u8>(row, Flow.VERDICTS);
  if ((verdicts & 15) != 0) unlinkFrom(chainOfRow(table, row, false), row, Flow.OUT);
  if (verdicts >> 4 != 0) unlinkFrom(chainOfRow(table, row, true), row, Flow.IN);
}

/** Whether no revocation has come since the record was linked (TN-82). */
export function isValidFlow(row: usize): bool {
  return load<u32>(row, Flow.GENERATION) == generationOf(row);
}

/** The sum of both generations: each only rises, so a sum that is the same says that none has changed. */
function generationOf(row: usize): u32 {
  const table = load<usize>(PLANE_ADDRESS, Plane.FLOWS);
  const all = atomic.load<u32>(table, FlowTable.GENERATION);
  if ((<u32>load<u8>(row, Flow.FLAGS) & FLOW_HAS_SLOT) == 0) return all;
  return generationOfSlot(<u32>load<u16>(row, Flow.SLOT));
}

/** Of records of that peer. */
export function generationOfSlot(slot: u32): u32 {
  const table = load<usize>(PLANE_ADDRESS, Plane.FLOWS);
  const own = load<usize>(table, FlowTable.GENERATIONS) + ((<usize>slot) << 2);
  return atomic.load<u32>(table, FlowTable.GENERATION) + atomic.load<u32>(own);
}

/**
 * Lists linked records that are over their time or not valid any more (TN-90). Control only.
 * @param at the row to begin with; `end` is behind the last one
 * @param list room for `most` pairs of u32: row, ENDING_...
 * @returns the number of pairs; fewer than `most`: the end was reached
 */
export function flowSweep(now: u32, at: usize, end: usize, list: usize, most: u32): u32 {
  let listed: u32 = 0;
  for (; at < end && listed < most; at += Flow.BYTES) {
    if ((<u32>load<u8>(at, Flow.FLAGS) & FLOW_LINKED) == 0) continue;
    const ending = endingOf(at, now);
    if (ending == 0) continue;
    store<u32>(list, <u32>at);
    store<u32>(list, ending, 4);
    list += 8;
    listed++;
  }
  return listed;
}

/** Why the record ends at `now`, in seconds; 0: it does not. */
function endingOf(row: usize, now: u32): u32 {
  if (!isValidFlow(row)) return ENDING_STALE;
  const lastOut = load<u32>(row + Flow.OUT, FlowSide.LAST);
  const lastIn = load<u32>(row + Flow.IN, FlowSide.LAST);
  const last = max<u32>(lastOut, lastIn);
  // A worker may have read the clock after control.
  const idle = now > last ? now - last : 0;
  const verdicts = <u32>load<u8>(row, Flow.VERDICTS);
  const out = verdicts & 15;
  if (isNegative(out) || (out == 0 && isNegative(verdicts >> 4))) {
    return idle >= FLOW_TTL_NEGATIVE ? ENDING_IDLE : 0;
  }
  const outFlags = load<u32>(row + Flow.OUT, FlowSide.FLAGS);
  const inFlags = load<u32>(row + Flow.IN, FlowSide.FLAGS);
  if (((outFlags | inFlags) & FLOW_RST) != 0) return ENDING_RESET;
  if ((outFlags & inFlags & FLOW_FIN) != 0) return idle >= FLOW_TTL_FIN ? ENDING_CLOSED : 0;
  // Where answers are not looked up, on the client, nobody sees whether there was one, or the other end's FIN.
  const isOneWay = verdicts >> 4 == 0;
  const isTcp = <u32>load<u8>(row, Flow.PROTOCOL) == PROTOCOL_TCP;
  if (!isTcp || isOneWay) return idle >= FLOW_TTL ? ENDING_IDLE : 0;
  return idle >= (lastIn == 0 ? FLOW_TTL_UNANSWERED : FLOW_TTL_TCP) ? ENDING_IDLE : 0;
}

function isNegative(verdict: u32): bool {
  return verdict >= VERDICT_PROHIBITED && verdict <= VERDICT_DROP;
}

/** By (protocol, A, B, a, b), outward as the client sends it. */
function findOut(
  table: usize,
  kind: u32,
  client: v128,
  remote: v128,
  clientPort: u32,
  remotePort: u32,
  hint: usize,
): usize {
  const ports = clientPort | (remotePort << 16);
  let row = hint;
  for (let isHint = true; row == 0 || !isOut(row, kind, client, remote, ports); isHint = false) {
    if (isHint) row = first(chainOf(table, FlowTable.OUT_CHAINS, client, remote, kind, ports));
    else if (row == 0) return 0;
    else row = next(row + Flow.OUT);
  }
  return row;
}

/** By (protocol, C, A, b, c), inward as the resource sends it. */
function findIn(
  table: usize,
  kind: u32,
  client: v128,
  outside: v128,
  outsidePort: u32,
  remotePort: u32,
  hint: usize,
): usize {
  const ports = remotePort | (outsidePort << 16);
  let row = hint;
  for (let isHint = true; row == 0 || !isIn(row, kind, client, outside, ports); isHint = false) {
    if (isHint) row = first(chainOf(table, FlowTable.IN_CHAINS, client, outside, kind, ports));
    else if (row == 0) return 0;
    else row = next(row + Flow.IN);
  }
  return row;
}

/** The ports of a record lie side by side: client, remote, outside. */
function isOut(row: usize, kind: u32, client: v128, remote: v128, ports: u32): bool {
  return (
    kindOf(row) == kind &&
    load<u32>(row, Flow.CLIENT_PORT) == ports &&
    isSame(v128.load(row, Flow.REMOTE), remote) &&
    isSame(v128.load(row, Flow.CLIENT), client)
  );
}

function isIn(row: usize, kind: u32, client: v128, outside: v128, ports: u32): bool {
  return (
    kindOf(row) == kind &&
    load<u32>(row, Flow.REMOTE_PORT) == ports &&
    isSame(v128.load(row, Flow.OUTSIDE), outside) &&
    isSame(v128.load(row, Flow.CLIENT), client)
  );
}

/** Protocol, family, and that the record is linked. */
function kindOf(row: usize): u32 {
  return <u32>load<u16>(row, Flow.PROTOCOL) & ((FAMILY_MASK << 8) | 0xff);
}

/** The chain that holds the record in a direction. */
function chainOfRow(table: usize, row: usize, isIn: bool): usize {
  const client = v128.load(row, Flow.CLIENT);
  const other = v128.load(row + (isIn ? Flow.OUTSIDE : Flow.REMOTE));
  const ports = load<u32>(row + (isIn ? Flow.REMOTE_PORT : Flow.CLIENT_PORT));
  const chains = isIn ? FlowTable.IN_CHAINS : FlowTable.OUT_CHAINS;
  return chainOf(table, chains, client, other, kindOf(row), ports);
}

/** Address of the head of a flow's chain. */
function chainOf(table: usize, chains: usize, client: v128, other: v128, kind: u32, ports: u32): usize {
  let hash = load<u64>(table, FlowTable.SEED);
  hash = mix(hash, v128.extract_lane<u64>(client, 0));
  hash = mix(hash, v128.extract_lane<u64>(client, 1));
  hash = mix(hash, v128.extract_lane<u64>(other, 0));
  hash = mix(hash, v128.extract_lane<u64>(other, 1));
  hash = mix(hash, ((<u64>kind) << 32) | <u64>ports);
  const place = <u32>(hash >> 32) & load<u32>(table, FlowTable.CHAIN_MASK);
  return load<usize>(table + chains) + ((<usize>place) << 2);
}

function first(chain: usize): usize {
  return <usize>atomic.load<u32>(chain);
}

function next(side: usize): usize {
  return <usize>atomic.load<u32>(side, FlowSide.NEXT);
}

function linkInto(chain: usize, row: usize, side: usize): void {
  atomic.store<u32>(side, load<u32>(chain), FlowSide.NEXT);
  atomic.store<u32>(chain, <u32>row);
}

/** @param side offset of the direction in a record */
function unlinkFrom(chain: usize, row: usize, side: usize): void {
  let link = chain;
  for (let at = first(chain); at != 0; at = <usize>load<u32>(link)) {
    if (at == row) {
      atomic.store<u32>(link, load<u32>(row + side, FlowSide.NEXT));
      return;
    }
    link = at + side + FlowSide.NEXT;
  }
}

// @ts-ignore: a decorator
@inline
function isSame(a: v128, b: v128): bool {
  return !v128.any_true(v128.xor(a, b));
}
