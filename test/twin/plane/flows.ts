/**
 * Flow records by the rules of the specification, in a list: the twin of `assembly/table/flow.ts`,
 * `assembly/batch/flow.ts` and `bindings/ring/flow-order.ts` (TN-74 to TN-90). It has room for everything.
 */
import type { Reason } from "../../../bindings/memory/index.ts";
import { equalIp, type Instant, type IpAddress, instant } from "../../../src/base/index.ts";
import { type PacketDescriptor, PROTOCOL, parsePacket, translated } from "../../../src/packet/index.ts";
import type {
  EndedFlow,
  FlowDirection,
  FlowEnding,
  FlowRecord,
  FlowStamps,
  FlowVerdict,
  PlaneFlows,
} from "../../../src/plane/index.ts";
import { findFragment, isLater, keyOf, remember, type TwinFragment, type TwinPassed } from "./fragments.ts";
import type { TwinState } from "./state.ts";
import type { Worker } from "./worker.ts";

/** One direction of a flow. */
export interface TwinSide {
  /** 0: its packets go on; else a value that every punt changes (TN-87). */
  hold: number;
  lastS: number;
  packets: number;
  bytes: number;
  hasFin: boolean;
  hasRst: boolean;
}

export interface TwinFlow {
  readonly id: number;
  readonly record: FlowRecord;
  readonly generation: number;
  readonly sides: Readonly<Record<FlowDirection, TwinSide>>;
}

export interface TwinFlows {
  /** The newest first. */
  linked: TwinFlow[];
  made: number;
  generation: number;
  readonly generations: Map<number, number>;
  /** Held directions: the hold as it was seen, and how many punts of the worker lay before. */
  /** What each direction lets follow, the newest first. */
  readonly fragments: Readonly<Record<FlowDirection, TwinFragment[]>>;
  readonly waiting: Map<TwinSide, { readonly worker: Worker; seen: number; put: number }>;
}

export type Followed =
  | { readonly kind: "unknown" }
  /** For control; `side` if its packets are held. */
  | { readonly kind: "control"; readonly flow: TwinFlow; readonly side?: TwinSide }
  | { readonly kind: "pass" | "nat"; readonly flow: TwinFlow }
  /** A later fragment of a datagram whose first one passed (TN-112). */
  | { readonly kind: "later"; readonly fragment: TwinPassed }
  /** A later fragment whose first one control has, or nobody yet. */
  | { readonly kind: "early" }
  | { readonly kind: "refuse"; readonly refusal: "prohibited" | "unreachable" }
  | { readonly kind: "drop"; readonly reason: Reason };

/** Times of TN-68, TN-79 and TN-90, in seconds. */
const TTL = { tcp: 7200, other: 120, unanswered: 60, fin: 5, negative: 10 } as const;
const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

export function createTwinFlows(): TwinFlows {
  return {
    linked: [],
    made: 0,
    generation: 0,
    generations: new Map(),
    fragments: { out: [], in: [] },
    waiting: new Map(),
  };
}

/** Control's hand (`PlaneFlows`). */
export function handOf(state: TwinState): PlaneFlows {
  const { flows } = state;
  const find = (id: number) => flows.linked.find((flow) => flow.id === id);
  return {
    link(now, record) {
      const { first } = record;
      const sideOf = (lastS: number, direction: FlowDirection) => ({
        ...{ ...NEW_SIDE, lastS },
        ...(first?.direction === direction && { packets: 1, bytes: first.bytes }),
      });
      const sides = { out: sideOf(toSeconds(now), "out"), in: sideOf(0, "in") };
      const generation = generationOf(flows, record.slot);
      flows.made++;
      flows.linked.unshift({ id: flows.made, record, generation, sides });
      look(state, sides.out, "out");
      look(state, sides.in, "in");
      return flows.made;
    },
    unlink: (id) => unlink(flows, id),
    usage: (id) => usageOf(find(id)),
    note(id, direction, { hasFin, hasRst }) {
      const side = find(id)?.sides[direction];
      if (side === undefined) return;
      side.hasFin ||= hasFin;
      side.hasRst ||= hasRst;
    },
    revoke(slot) {
      if (slot === undefined) flows.generation++;
      else flows.generations.set(slot, (flows.generations.get(slot) ?? 0) + 1);
    },
    sweep(now) {
      const ended: EndedFlow[] = [];
      for (const flow of [...flows.linked]) {
        const ending = endingOf(flows, flow, toSeconds(now));
        const usage = ending && unlink(flows, flow.id);
        if (ending !== undefined && usage !== undefined) ended.push({ id: flow.id, ending, ...usage });
      }
      return ended;
    },
  };
}

const NEW_SIDE: TwinSide = { hold: 1, lastS: 0, packets: 0, bytes: 0, hasFin: false, hasRst: false };

/** Lets go what was held, where everything punted before has been taken. Returns whether some has to wait. */
export function releaseFlows(state: TwinState): boolean {
  for (const [side, waiting] of state.flows.waiting) {
    const { worker, seen, put } = waiting;
    if (worker.data.ends().taken < put) continue;
    state.flows.waiting.delete(side);
    if (side.hold === seen) side.hold = 0;
    else state.flows.waiting.set(side, { worker, seen: side.hold, put: worker.data.ends().put });
  }
  return state.flows.waiting.size > 0;
}

/** Control takes a punt of a held direction. */
export function takeHeld({ flows }: TwinState, worker: Worker, side: TwinSide): void {
  if (side.hold === 0 || flows.waiting.has(side)) return;
  flows.waiting.set(side, { worker, seen: side.hold, put: worker.data.ends().put });
}

export interface Sought {
  readonly direction: FlowDirection;
  /** The peer concerned; absent for packets of a client's own device. */
  readonly slot: number | undefined;
  readonly packet: Uint8Array;
  readonly found: PacketDescriptor;
  /** How many packets the frame stands for. */
  readonly packets: number;
  /** Without a record it goes to the peer, not to control. */
  readonly isElse?: boolean | undefined;
}

/** What the newest record of the packet's flow says. */
export function followFlow({ flows }: TwinState, now: Instant, sought: Sought): Followed {
  const { direction, slot, packet, found } = sought;
  const fragments = flows.fragments[direction];
  const key = keyOf(packet, found);
  if (isLater(packet, found)) return followFirst(flows, now, sought);
  const flow = flows.linked.find(({ record }) => matches(record, sought));
  if (flow === undefined || flow.generation !== generationOf(flows, flow.record.slot))
    return { kind: "unknown" };
  if (slot !== undefined && flow.record.slot !== slot) return { kind: "unknown" };
  const { out, in: inward } = flow.sides;
  const hasEnded = out.hasFin || out.hasRst || inward.hasFin || inward.hasRst;
  if (direction === "out" && hasEnded && (tcpFlags(packet, found) & (SYN | ACK)) === SYN)
    return { kind: "unknown" };
  const side = flow.sides[direction];
  const isMissed = found.isFragment && findFragment(fragments, key, now)?.kind === "missed";
  if (isMissed && side.hold === 0) return { kind: "control", flow };
  note(side, now, sought);
  if (side.hold !== 0) return { kind: "control", flow, side };
  const followed = verdictOf(flow, direction);
  if (!found.isFragment) return followed;
  if (followed.kind === "drop" || followed.kind === "refuse") {
    remember(fragments, { kind: "refused", key, atS: toSeconds(now) });
  }
  if (followed.kind === "pass" || followed.kind === "nat") {
    const first = { ...sought, packet: packet.slice() };
    remember(fragments, {
      ...{ kind: "passed", key, atS: toSeconds(now), generation: flow.generation },
      slot: flow.record.slot ?? 0,
      isOfFlow: (record) => matches(record, first),
      change:
        followed.kind === "nat" ? (each) => translate(flow, direction, each, describe(each)) : (each) => each,
    });
  }
  return followed;
}

function followFirst(
  flows: TwinFlows,
  now: Instant,
  { direction, slot, packet, found, isElse }: Sought,
): Followed {
  const fragments = flows.fragments[direction];
  const key = keyOf(packet, found);
  const known = findFragment(fragments, key, now);
  if (known?.kind === "refused") return { kind: "drop", reason: "fragment-unknown" };
  const isValid = known?.kind === "passed" && known.generation === generationOf(flows, known.slot);
  if (isValid && (slot === undefined || known.slot === slot)) {
    const flow = flows.linked.find(({ record }) => known.isOfFlow(record));
    if (flow?.generation === generationOf(flows, flow?.record.slot))
      count(flow.sides[direction], now, found.transportBytes);
    return { kind: "later", fragment: known };
  }
  const isKnown = isValid || known?.kind === "missed";
  if (!isKnown && isElse !== true) remember(fragments, { kind: "missed", key, atS: toSeconds(now) });
  return { kind: "early" };
}

function describe(packet: Uint8Array): PacketDescriptor {
  const found = parsePacket(packet, { limitBytes: 65_535, mode: "strict" });
  if (!found.ok) throw new Error("the packet has been described before");
  return found.value;
}

function verdictOf(flow: TwinFlow, direction: FlowDirection): Followed {
  const verdict = flow.record[direction];
  switch (verdict) {
    case "pass":
    case "nat":
      return { kind: verdict, flow };
    case "prohibited":
    case "unreachable":
      return { kind: "refuse", refusal: verdict };
    case "drop":
      // Names of reasons are what records have.
      return { kind: "drop", reason: (flow.record.reason ?? "not-allowed") as Reason };
    default:
      return { kind: "control", flow };
  }
}

/** The packet as it goes on, beyond a translation (TN-76). */
export function translate(
  { record: { client, remote, outside = { address: remote.address, port: client.port } } }: TwinFlow,
  direction: FlowDirection,
  packet: Uint8Array,
  found: PacketDescriptor,
): Uint8Array {
  return direction === "in"
    ? translated(packet, found, { field: "source", address: remote.address, port: client.port })
    : translated(packet, found, { field: "destination", ...outside });
}

function matches(record: FlowRecord, { direction, packet, found }: Sought): boolean {
  const { protocol, client, remote, outside = { address: remote.address, port: client.port } } = record;
  if (record[direction] === undefined || protocol !== found.protocol) return false;
  const { source, destination } = addressesOf(packet);
  const isEcho = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const ports = found.ports ?? { source: 0, destination: 0 };
  if (direction === "out") {
    const isRemote = isEcho || ports.destination === remote.port;
    const isClient = ports.source === client.port && equalIp(source, client.address);
    return isClient && isRemote && equalIp(destination, remote.address);
  }
  const isRemote = isEcho || ports.source === remote.port;
  const isClient = ports.destination === outside.port && equalIp(destination, client.address);
  return isClient && isRemote && equalIp(source, outside.address);
}

function note(side: TwinSide, now: Instant, { packet, found, packets }: Sought): void {
  const flags = tcpFlags(packet, found);
  count(side, now, found.transportBytes - headerBytes(packet, found), packets);
  side.hasFin ||= (flags & FIN) !== 0;
  side.hasRst ||= (flags & RST) !== 0;
}

function count(side: TwinSide, now: Instant, bytes: number, packets = 1): void {
  side.lastS = toSeconds(now);
  side.packets += packets;
  side.bytes += bytes;
}

function headerBytes(packet: Uint8Array, { protocol, transportOffset, ports }: PacketDescriptor): number {
  if (protocol === PROTOCOL.tcp) return ((packet[transportOffset + 12] ?? 0) >> 4) * 4;
  return ports === undefined ? 0 : 8;
}

function tcpFlags(packet: Uint8Array, { protocol, transportOffset }: PacketDescriptor): number {
  return protocol === PROTOCOL.tcp ? (packet[transportOffset + 13] ?? 0) : 0;
}

/** A record is held from the beginning: everything that was punted before it was there goes first. */
function look(
  { flows, settings, egress, ingress }: TwinState,
  side: TwinSide,
  direction: FlowDirection,
): void {
  const worker = (settings.mode === "gateway") === (direction === "out") ? ingress : egress;
  flows.waiting.set(side, { worker, seen: side.hold, put: worker.data.ends().put });
}

function unlink(flows: TwinFlows, id: number) {
  const flow = flows.linked.find((candidate) => candidate.id === id);
  flows.linked = flows.linked.filter((candidate) => candidate !== flow);
  return usageOf(flow);
}

function endingOf(
  flows: TwinFlows,
  { record, generation, sides }: TwinFlow,
  nowS: number,
): FlowEnding | undefined {
  if (generation !== generationOf(flows, record.slot)) return "stale";
  const idle = Math.max(0, nowS - Math.max(sides.out.lastS, sides.in.lastS));
  const idleFor = (seconds: number) => (idle >= seconds ? "idle" : undefined);
  if (isNegative(record.out ?? record.in)) return idleFor(TTL.negative);
  if (sides.out.hasRst || sides.in.hasRst) return "reset";
  if (sides.out.hasFin && sides.in.hasFin) return idle >= TTL.fin ? "closed" : undefined;
  if (record.protocol !== PROTOCOL.tcp || record.in === undefined) return idleFor(TTL.other);
  return idleFor(sides.in.lastS === 0 ? TTL.unanswered : TTL.tcp);
}

function isNegative(verdict: FlowVerdict | undefined): boolean {
  return verdict === "prohibited" || verdict === "unreachable" || verdict === "drop";
}

function generationOf({ generation, generations }: TwinFlows, slot: number | undefined): number {
  return generation + (slot === undefined ? 0 : (generations.get(slot) ?? 0));
}

function usageOf(flow: TwinFlow | undefined) {
  return flow && { out: stampsOf(flow.sides.out), in: stampsOf(flow.sides.in) };
}

function stampsOf({ lastS, packets, bytes, hasFin, hasRst }: TwinSide): FlowStamps {
  return { last: instant(lastS * 1000), packets, bytes, hasFin, hasRst };
}

function toSeconds(now: Instant): number {
  return Math.floor(now / 1000);
}

function addressesOf(packet: Uint8Array): { readonly source: IpAddress; readonly destination: IpAddress } {
  return (packet[0] ?? 0) >> 4 === 6
    ? { source: packet.subarray(8, 24), destination: packet.subarray(24, 40) }
    : { source: packet.subarray(12, 16), destination: packet.subarray(16, 20) };
}
