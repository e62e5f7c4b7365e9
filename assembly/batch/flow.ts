/**
 * What flow records say of packets about which flows decide (TN-74 to TN-88): the step behind `policy.ts`.
 *
 * Asked once per frame on egress and once per packet on ingress. The direction that a worker sees is the same for all
 * its packets: on the gateway its device is the resources' side. The twin: `test/twin/plane/flows.ts`.
 */
import { Tcp } from "../header";
import {
  CHECK_ARRIVING,
  Drop,
  FLOW_FIN,
  FLOW_HAS_SLOT,
  FLOW_IN,
  FLOW_OUT,
  FLOW_RST,
  Flow,
  FlowSide,
  FRAGMENT_MISSED,
  Fragment,
  NO_SLOT,
  PACKET_FLAG_FRAGMENT,
  PACKET_FLAG_LATER,
  PACKET_FLAG_PORTS,
  Packet,
  PLANE_ADDRESS,
  Plane,
  Split,
  TARGET_DROP,
  TARGET_FLOW,
  TARGET_FLOW_OF,
  TARGET_FLOW_OR_PEER,
  TARGET_ICMP_ERROR,
  TARGET_ICMP_ERROR_OF,
  TARGET_NONE,
  TARGET_PEER,
  TARGET_REFUSE,
  VERDICT_DROP,
  VERDICT_NAT,
  VERDICT_PUNT,
  Worker,
} from "../layout";
import { PROTOCOL_TCP } from "../packet/ip";
import { rewriteDestination, rewriteSource } from "../packet/rewrite";
import { splitRefresh } from "../segment/split";
import { findFlow, isValidFlow } from "../table/flow";
import {
  fateOf,
  findFragment,
  flowOfFragment,
  isMissed,
  isTranslated,
  missFirst,
  rememberFragment,
} from "../table/fragment";

/** Of ICMP, UDP and everything that is not TCP: what is not payload. */
const SHORT_HEADER_BYTES: u32 = 8;
/** As a float: a division of whole numbers of 64 bits takes three times as long. */
const SECOND_MS: f64 = 1000;

/** Whether packets of the TUN device go from the resource to the client. */
export function egressDirection(): u32 {
  return (load<u32>(PLANE_ADDRESS, Plane.CHECKS) & CHECK_ARRIVING) != 0 ? FLOW_IN : FLOW_OUT;
}

/** The peer of a judgement that names one beside TARGET_PEER; `none` if it does not. */
export function slotOfTarget(target: u32, none: u32): u32 {
  return target >= TARGET_FLOW_OF ? target & (TARGET_PEER - 1) : none;
}

/** The kind of a judgement, without the peer. */
export function kindOfTarget(target: u32): u32 {
  if (target < TARGET_FLOW_OF) return target;
  return target >= TARGET_ICMP_ERROR_OF ? TARGET_ICMP_ERROR : TARGET_FLOW;
}

/**
 * What the records say of a packet that `policy.ts` judged to be one of theirs; other judgements come back as they
 * are. The worker's `flow` then is the record that was found, whose packets are counted.
 * @param isIn the packet goes from the resource to the client
 * @param passing what `pass` means: TARGET_PEER for a packet that goes to the record's peer, or TARGET_NONE
 * @param packets how many the frame stands for
 * @returns TARGET_FLOW: control decides
 */
// @ts-ignore: a decorator
@inline
export function followFlow(
  worker: usize,
  target: u32,
  packet: usize,
  found: usize,
  isIn: bool,
  passing: u32,
  packets: u32,
): u32 {
  const hint = load<usize>(worker, Worker.FLOW);
  store<usize>(worker, 0, Worker.FLOW);
  store<usize>(worker, 0, Worker.FLOW_SIDE);
  store<u32>(worker, 0, Worker.REFUSAL);
  store<usize>(worker, 0, Worker.FRAGMENT);
  if (kindOfTarget(target) != TARGET_FLOW) return target;
  return follow(worker, target, packet, found, isIn, passing, packets, hint);
}

/** Behind a function of its own: prefixes decide about most packets. */
function follow(
  worker: usize,
  target: u32,
  packet: usize,
  found: usize,
  isIn: bool,
  passing: u32,
  packets: u32,
  hint: usize,
): u32 {
  const flags = load<u32>(found, Packet.FLAGS);
  if ((flags & PACKET_FLAG_LATER) != 0) {
    return followFragment(worker, target, packet, found, isIn, passing);
  }
  const row = findFlow(packet, found, isIn, hint);
  if (row == 0 || !isValidFlow(row) || !belongsTo(row, target)) {
    return target >= TARGET_FLOW_OR_PEER ? target - TARGET_FLOW_OR_PEER + TARGET_PEER : target;
  }
  const side = row + (isIn ? Flow.IN : Flow.OUT);
  if (!isIn && isRestart(row, packet, found)) return target;
  const isFirst = (flags & PACKET_FLAG_FRAGMENT) != 0;
  // Control has those that have overtaken it, and settles all of them.
  if (
    isFirst &&
    isMissed(worker, packet, found, secondsOf(worker)) &&
    atomic.load<u32>(side, FlowSide.HOLD) == 0
  ) {
    return heldTarget(row, target);
  }
  store<usize>(worker, row, Worker.FLOW);
  note(side, secondsOf(worker), packet, found, packets);
  if (atomic.load<u32>(side, FlowSide.HOLD) != 0) {
    store<usize>(worker, side, Worker.FLOW_SIDE);
    return heldTarget(row, target);
  }
  const verdicts = <u32>load<u8>(row, Flow.VERDICTS);
  const verdict = isIn ? verdicts >> 4 : verdicts & 15;
  if (verdict <= VERDICT_NAT) {
    if (isFirst) rememberFragment(worker, packet, found, row, isIn, verdict, secondsOf(worker));
    return passing == TARGET_NONE ? TARGET_NONE : passing + slotOf(row);
  }
  if (verdict == VERDICT_PUNT) return heldTarget(row, target);
  if (isFirst) rememberFragment(worker, packet, found, row, isIn, VERDICT_DROP, secondsOf(worker));
  if (verdict == VERDICT_DROP) return TARGET_DROP + <u32>load<u8>(row, Flow.REASON);
  store<u32>(worker, verdict, Worker.REFUSAL);
  return TARGET_REFUSE;
}

/** A later fragment goes where its first one went; to control, if that did or has not come yet (TN-112). */
function followFragment(
  worker: usize,
  target: u32,
  packet: usize,
  found: usize,
  isIn: bool,
  passing: u32,
): u32 {
  const now = secondsOf(worker);
  const fragment = findFragment(worker, packet, found, now);
  const fate = fragment == 0 ? 0 : fateOf(fragment);
  if (fate == VERDICT_DROP) return TARGET_DROP + Drop.FRAGMENT_UNKNOWN;
  const slot = fate == 0 || fate == FRAGMENT_MISSED ? NO_SLOT : <u32>load<u16>(fragment, Fragment.SLOT);
  const isOther = target >= TARGET_FLOW_OF && slot != (target & (TARGET_PEER - 1));
  if (slot == NO_SLOT || isOther) {
    if (target >= TARGET_FLOW_OR_PEER) return target - TARGET_FLOW_OR_PEER + TARGET_PEER;
    if (fate == 0) missFirst(worker, packet, found, now);
    return target;
  }
  store<usize>(worker, fragment, Worker.FRAGMENT);
  const row = flowOfFragment(fragment, packet, found, isIn);
  if (row != 0 && isValidFlow(row)) {
    // All of it is payload.
    count(row + (isIn ? Flow.IN : Flow.OUT), now, 1, load<u32>(found, Packet.TRANSPORT_BYTES));
  }
  return passing == TARGET_NONE ? TARGET_NONE : passing + slot;
}

function secondsOf(worker: usize): u32 {
  return <u32>(<f64>load<u64>(worker, Worker.NOW) / SECOND_MS);
}

/** Translates the packet at hand if the record that was found says so (TN-76). */
export function translate(worker: usize, packet: usize, isIn: bool): void {
  const fragment = load<usize>(worker, Worker.FRAGMENT);
  if (fragment != 0) {
    if (isTranslated(fragment)) translateLater(worker, packet, isIn, fragment + Fragment.ADDRESS);
    return;
  }
  const row = load<usize>(worker, Worker.FLOW);
  if (row == 0) return;
  const verdicts = <u32>load<u8>(row, Flow.VERDICTS);
  if ((isIn ? verdicts >> 4 : verdicts & 15) != VERDICT_NAT) return;
  const found = worker + Worker.PACKET;
  if (isIn) rewriteSource(packet, found, row + Flow.REMOTE, <u32>load<u16>(row, Flow.CLIENT_PORT));
  else rewriteDestination(packet, found, row + Flow.OUTSIDE, <u32>load<u16>(row, Flow.OUTSIDE_PORT));
}

/** Of a later fragment only an address changes: there is no port that would be looked at. */
function translateLater(worker: usize, packet: usize, isIn: bool, address: usize): void {
  const found = worker + Worker.PACKET;
  if (isIn) rewriteSource(packet, found, address, 0);
  else rewriteDestination(packet, found, address, 0);
}

/** The same for the frame in `split`, of which a super-frame keeps its headers apart. */
export function translateFrame(worker: usize, split: usize, isIn: bool): void {
  if (load<usize>(worker, Worker.FLOW) == 0 && load<usize>(worker, Worker.FRAGMENT) == 0) return;
  translate(worker, load<usize>(split, Split.PACKET), isIn);
  splitRefresh(split);
}

/** Whether the record is of the peer that the judgement names, if it names one. */
function belongsTo(row: usize, target: u32): bool {
  if (target < TARGET_FLOW_OF) return true;
  return (<u32>load<u8>(row, Flow.FLAGS) & FLOW_HAS_SLOT) != 0 && slotOf(row) == (target & (TARGET_PEER - 1));
}

/** A packet for control: of the peer that the judgement names, not of the one that the record does. */
function heldTarget(row: usize, target: u32): u32 {
  return target >= TARGET_FLOW_OR_PEER ? TARGET_FLOW_OF + slotOf(row) : target;
}

function slotOf(row: usize): u32 {
  return <u32>load<u16>(row, Flow.SLOT);
}

/** A new connection on the ports of one that has ended (TN-78). */
function isRestart(row: usize, packet: usize, found: usize): bool {
  if (load<u32>(found, Packet.PROTOCOL) != PROTOCOL_TCP) return false;
  const flags = load<u8>(packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET), Tcp.FLAGS);
  if ((flags & (Tcp.SYN | Tcp.ACK)) != Tcp.SYN) return false;
  return (load<u32>(row + Flow.OUT, FlowSide.FLAGS) | load<u32>(row + Flow.IN, FlowSide.FLAGS)) != 0;
}

function note(side: usize, now: u32, packet: usize, found: usize, packets: u32): void {
  let header = SHORT_HEADER_BYTES;
  if (load<u32>(found, Packet.PROTOCOL) == PROTOCOL_TCP) {
    const tcp = packet + <usize>load<u32>(found, Packet.TRANSPORT_OFFSET);
    header = (<u32>load<u8>(tcp, Tcp.DATA_OFFSET) >> 4) << 2;
    const flags = <u32>load<u8>(tcp, Tcp.FLAGS);
    const ends = ((flags & Tcp.FIN) != 0 ? <u32>FLOW_FIN : 0) | ((flags & Tcp.RST) != 0 ? <u32>FLOW_RST : 0);
    if (ends != 0) atomic.or<u32>(side, ends, FlowSide.FLAGS);
  } else if ((load<u32>(found, Packet.FLAGS) & PACKET_FLAG_PORTS) == 0) {
    header = 0;
  }
  count(side, now, packets, load<u32>(found, Packet.TRANSPORT_BYTES) - header);
}

// @ts-ignore: a decorator
@inline
function count(side: usize, now: u32, packets: u32, payload: u32): void {
  store<u32>(side, now, FlowSide.LAST);
  // Of several workers two may have packets of one flow, while it moves from one to the other (PG-176).
  if (load<u32>(PLANE_ADDRESS, Plane.PAIRS) > 1) {
    atomic.add<u64>(side, <u64>packets, FlowSide.PACKETS);
    atomic.add<u64>(side, <u64>payload, FlowSide.PAYLOAD);
  } else {
    store<u64>(side, load<u64>(side, FlowSide.PACKETS) + <u64>packets, FlowSide.PACKETS);
    store<u64>(side, load<u64>(side, FlowSide.PAYLOAD) + <u64>payload, FlowSide.PAYLOAD);
  }
}
