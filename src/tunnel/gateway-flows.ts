/** Packets about which flows decide, at a gateway: judged, linked in the plane, settled (TN-61, TN-62, TN-85). */
import { copyOf, equalIp, type Instant, type IpAddress } from "../base/index.ts";
import {
  encodeRefusal,
  type FragmentOf,
  farewellOf,
  fragmentOf,
  isSyn,
  type PacketDescriptor,
  type PacketView,
  parseIcmpQuote,
  parsePacket,
  type Refusal,
  translated,
  viewPacket,
} from "../packet/index.ts";
import type { DataPunt, EndedFlow, FlowEnding, FlowRecord, FlowVerdict } from "../plane/index.ts";
import { dropPacket } from "./drops.ts";
import { ownAddresses } from "./endpoint.ts";
import { type BookedFlow, endsOf } from "./flow-book.ts";
import { logLater, logLinked, logSettled, payloadBytes } from "./gateway-flow-log.ts";
import { type Decision, type GatewayState, mayRefuse, natOf } from "./gateway-state.ts";
import { isHostService } from "./host-service.ts";
import { entryOf } from "./nat/entries.ts";
import { translateError } from "./nat/icmp-error.ts";
import { tupleKey } from "./nat/keys.ts";
import type { Mapping } from "./nat/mappings.ts";
import { isProxyAddress } from "./ranges.ts";
import type { Flow } from "./reach/face.ts";
import { judgeInbound, judgeOutbound, type Party, type Verdict } from "./verdict.ts";

/** Validated by the plane, which splits what is longer than a packet. */
const VALIDATED = { limitBytes: 0xffff, mode: "strict" } as const;

type FlowPunt = Extract<DataPunt, { readonly reason: "flow" }>;
type IcmpErrorPunt = Extract<DataPunt, { readonly reason: "icmp-error" }>;

/** A packet, and whose it is. */
interface Arrival {
  readonly cid: string;
  readonly slot: number;
  readonly party: Party;
  readonly packet: Uint8Array;
  readonly view: PacketView;
}

export function handleFlow(gateway: GatewayState, now: Instant, punt: FlowPunt): void {
  const arrival = arrivalOf(gateway, now, punt);
  if (arrival === undefined) return;
  const { direction, isCounted = false } = punt;
  const known = findFlow(gateway, arrival, direction);
  const { view } = arrival;
  const fragment = fragmentOf(punt.packet);
  if (fragment?.isLater === true) return followFirst(gateway, now, arrival, { fragment, direction });
  const isOver = known !== undefined && isAnew(gateway, known, view);
  if (isOver) unlinkFlow(gateway, now, known);
  else if (known !== undefined) {
    if (!isCounted) noteSettled(gateway, now, view, { row: known, direction });
    return settleAll(gateway, now, arrival, { verdict: known.note, direction, row: known }, fragment);
  }
  const verdict = judge(gateway, now, arrival, direction);
  const row = link(gateway, now, arrival, { verdict, direction, isCounted });
  if (row !== undefined) logLinked(gateway, now, { cid: arrival.cid, view, row });
  settleAll(gateway, now, arrival, { verdict, direction, row }, fragment);
}

/** The record has not seen it, and would wait for a FIN that has passed (TN-90). */
function noteSettled(
  gateway: GatewayState,
  now: Instant,
  view: PacketView,
  { row, direction }: { readonly row: BookedFlow<Verdict>; readonly direction: "out" | "in" },
): void {
  gateway.flows.note(row, direction, farewellOf(view));
  logSettled(gateway, now, view, { row, direction });
}

/** A packet, and if it is a first fragment the later ones that have waited for it (TN-112). */
function settleAll(
  gateway: GatewayState,
  now: Instant,
  arrival: Arrival,
  decision: Decision,
  fragment: FragmentOf | undefined,
): void {
  settle(gateway, now, arrival, decision);
  if (fragment === undefined) return;
  for (const packet of gateway.fragments.decide(now, arrival.cid, fragment, decision)) {
    settleLater(gateway, now, { cid: arrival.cid, packet }, decision);
  }
}

/** A later fragment: as its first one, or it waits for that. */
function followFirst(
  gateway: GatewayState,
  now: Instant,
  { cid, packet }: Arrival,
  { fragment, direction }: { readonly fragment: FragmentOf; readonly direction: "out" | "in" },
): void {
  const { fragments } = gateway;
  const fate = fragments.fateOf(now, fragment);
  if (fate?.direction === direction) return settleLater(gateway, now, { cid, packet }, fate);
  if (fragments.keep(now, cid, fragment, packet)) return;
  dropPacket(gateway, now, "fragment-unknown", packet, { cid });
}

function settleLater(
  gateway: GatewayState,
  now: Instant,
  { cid, packet }: Pick<Arrival, "cid" | "packet">,
  { verdict, direction, row }: Decision,
): void {
  const isPermitted = verdict.kind === "pass" || verdict.kind === "nat";
  if (isPermitted && row !== undefined) logLater(gateway, now, viewPacket(packet), { row, direction });
  switch (verdict.kind) {
    case "pass":
      return deliver(gateway, now, { cid, direction }, packet);
    case "nat":
      return deliver(gateway, now, { cid, direction }, translate(packet, verdict.mapping, direction));
    case "refuse":
    case "drop":
      // Never answered: its sender has heard of the first (TN-14).
      return dropPacket(gateway, now, "fragment-unknown", packet, { cid });
    default:
      return verdict satisfies never;
  }
}

/** TN-61 rows 6 to 14 for what tables refuse: they may be older than the grants, or the packet for the host. */
export function handleRefused(
  gateway: GatewayState,
  now: Instant,
  punt: Extract<DataPunt, { readonly reason: "refused" }>,
): void {
  const arrival = arrivalOf(gateway, now, punt);
  if (arrival === undefined) return;
  const { refusal } = punt;
  const verdict: Verdict =
    refusal === undefined
      ? judge(gateway, now, arrival, "out")
      : { kind: "refuse", refusal, cause: "refused before" };
  settle(gateway, now, arrival, { verdict, direction: "out" });
}

function arrivalOf(
  gateway: GatewayState,
  now: Instant,
  { slot, packet }: { readonly slot?: number; readonly packet: Uint8Array },
): Arrival | undefined {
  const { connections, grants } = gateway;
  const cid = slot === undefined ? undefined : connections.connectionOf(slot);
  const client = cid === undefined ? undefined : grants.client(cid);
  if (slot === undefined || cid === undefined || client === undefined) {
    dropPacket(gateway, now, "no-peer-state", packet, { cid });
    return undefined;
  }
  return { cid, slot, party: { client, nat: natOf(gateway, cid) }, packet, view: viewPacket(packet) };
}

function findFlow({ flows }: GatewayState, { cid, view }: Arrival, direction: "out" | "in") {
  const found = flows.find(direction, view);
  // An address may have been another client's.
  return found?.owner === cid ? found : undefined;
}

/** Its flow is over: another one begins on the same tuple, or none has for long. */
export function unlinkFlow(
  gateway: GatewayState,
  now: Instant,
  flow: BookedFlow<Verdict>,
  ending: FlowEnding = "closed",
): void {
  const usage = gateway.flows.unlink(flow);
  if (usage !== undefined) endFlow(gateway, now, { ...flow, ...usage, ending });
}

/**
 * A name leads elsewhere: what was refused of packets to these proxy addresses is judged again. A translated flow
 * keeps its real address, whatever the name has by now (TN-66).
 */
export function rejudge(
  gateway: GatewayState,
  now: Instant,
  cid: string,
  proxies: readonly IpAddress[],
): void {
  if (proxies.length === 0) return;
  for (const flow of gateway.flows.ofOwner(cid)) {
    if (flow.note.kind === "nat") continue;
    const { address } = flow.record.remote;
    if (proxies.some((proxy) => equalIp(proxy, address))) unlinkFlow(gateway, now, flow, "stale");
  }
}

/** A SYN on a flow that was closed: the tuple is used again, by another connection (TN-78). */
function isAnew({ flows }: GatewayState, known: BookedFlow<Verdict>, view: PacketView): boolean {
  return isSyn(view) && flows.isClosing(known);
}

function judge(
  gateway: GatewayState,
  now: Instant,
  { party, packet, view }: Arrival,
  direction: "out" | "in",
): Verdict {
  const own = ownAddresses(gateway);
  if (direction === "in") return judgeInbound(party, inwardFlow(view), { ownAddresses: own });
  const flow: Flow = { ...view, destination: copyOf(view.destination) };
  return judgeOutbound(party, flow, {
    now,
    ownAddresses: own,
    isHostService: gateway.isHostOpen || isHostService(packet),
    isUsed: ({ protocol, port, real }) => party.nat.untranslated.has(tupleKey(protocol, port, real)),
  });
}

/** As the client sees it (TN-58). */
function inwardFlow({ source, protocol, ports }: PacketView): Flow {
  const exchanged = ports && { source: ports.destination, destination: ports.source };
  return { destination: copyOf(source), protocol, ...(exchanged && { ports: exchanged }) };
}

interface NewDecision extends Decision {
  /** The packet is in the counts of an earlier record, which holds no more. */
  readonly isCounted: boolean;
}

/** `undefined`: the table is full. */
function link(
  gateway: GatewayState,
  now: Instant,
  arrival: Arrival,
  decision: NewDecision,
): BookedFlow<Verdict> | undefined {
  const { flows, counters } = gateway;
  const { cid, party, view } = arrival;
  const { verdict, direction } = decision;
  const record = recordOf(arrival, decision);
  const row = flows.link(now, { owner: cid, record, note: verdict });
  if (row === undefined) {
    counters["flow-table-full"]++;
    return undefined;
  }
  flows.note(row, direction, farewellOf(view));
  if (verdict.kind === "nat") party.nat.mappings.addFlow(verdict.mapping);
  if (verdict.kind === "pass") countUntranslated(party.nat.untranslated, record, 1);
  return row;
}

function recordOf({ slot, view }: Arrival, { verdict, direction, isCounted }: NewDecision): FlowRecord {
  const first = isCounted ? undefined : { direction, bytes: payloadBytes(view) };
  const plain = { slot, ...endsOf(view, direction), ...(first && { first }) };
  switch (verdict.kind) {
    case "pass":
      return { ...plain, out: "pass", in: "pass" };
    case "nat": {
      const { inside, outside } = verdict.mapping;
      return {
        ...{ ...plain, out: "nat", in: "nat" },
        client: { ...plain.client, port: inside.port },
        remote: { ...plain.remote, address: inside.proxy },
        outside: { address: outside.real, port: outside.port },
      };
    }
    case "refuse":
      return { ...plain, out: verdict.refusal satisfies FlowVerdict };
    case "drop":
      return { ...plain, in: "drop", reason: verdict.reason };
    default:
      return verdict satisfies never;
  }
}

/** A record that is gone: what it has seen goes to the log and to its mapping (TN-68, TN-90). */
export function endFlow(
  { nats, flowLog }: GatewayState,
  now: Instant,
  { owner, record, note, ending, out, in: inward }: EndedFlow & BookedFlow<Verdict>,
): void {
  flowLog?.detach(now, record, { out, in: inward }, ending);
  const nat = nats.get(owner);
  if (nat === undefined) return;
  if (note.kind === "pass") countUntranslated(nat.untranslated, record, -1);
  if (note.kind !== "nat") return;
  nat.mappings.endFlow(note.mapping, {
    lastOut: out.last === 0 ? undefined : out.last,
    lastIn: inward.last === 0 ? undefined : inward.last,
    hasFin: out.hasFin && inward.hasFin,
    hasRst: out.hasRst || inward.hasRst,
  });
}

function countUntranslated(counts: Map<string, number>, record: FlowRecord, by: 1 | -1): void {
  const { protocol, client, remote } = record;
  if (client.port === 0) return;
  const key = tupleKey(protocol, client.port, remote.address);
  const count = (counts.get(key) ?? 0) + by;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}

function settle(
  gateway: GatewayState,
  now: Instant,
  { cid, party, packet }: Arrival,
  { verdict, direction }: Decision,
): void {
  switch (verdict.kind) {
    case "pass":
      return deliver(gateway, now, { cid, direction }, packet);
    case "nat":
      party.nat.mappings.note(now, verdict.mapping, direction);
      return deliver(gateway, now, { cid, direction }, translate(packet, verdict.mapping, direction));
    case "refuse":
      return refuse(gateway, now, { cid, packet, refusal: verdict.refusal, cause: verdict.cause });
    case "drop":
      return dropPacket(gateway, now, verdict.reason, packet, { cid });
    default:
      return verdict satisfies never;
  }
}

function deliver(
  { connections, commands }: GatewayState,
  now: Instant,
  { cid, direction }: { readonly cid: string; readonly direction: "out" | "in" },
  packet: Uint8Array,
): void {
  if (direction === "out") commands.push({ kind: "write-tun", packet });
  else connections.sendPacket(now, cid, packet);
}

function translate(packet: Uint8Array, { inside, outside }: Mapping, direction: "out" | "in"): Uint8Array {
  const to =
    direction === "out"
      ? ({ field: "destination", address: outside.real, port: outside.port } as const)
      : ({ field: "source", address: inside.proxy, port: inside.port } as const);
  return translated(packet, describe(packet), to);
}

function describe(packet: Uint8Array): PacketDescriptor {
  const found = parsePacket(packet, VALIDATED);
  if (!found.ok) throw new Error(`the plane hands up what it has not validated: ${found.reason}`);
  return found.value;
}

interface RefusedPacket {
  readonly cid: string;
  readonly packet: Uint8Array;
  readonly refusal: Refusal;
  readonly cause: string;
}

function refuse(gateway: GatewayState, now: Instant, { cid, packet, refusal, cause }: RefusedPacket): void {
  const { counters, connections, log } = gateway;
  if (!mayRefuse(gateway, now, cid)) {
    return dropPacket(gateway, now, "icmp-rate", packet, { cid });
  }
  counters.refused++;
  // Within the budget of refusals, so never a line per packet (TN-60).
  log.debug?.("packet refused", { cid, refusal, cause });
  const error = encodeRefusal(packet, refusal);
  if (error !== undefined) connections.sendPacket(now, cid, error);
}

/** ICMP errors are never filtered; what they are about decides how they look (TN-70, TN-120). */
export function handleIcmpError(gateway: GatewayState, now: Instant, punt: IcmpErrorPunt): void {
  const arrival = arrivalOf(gateway, now, punt);
  if (arrival === undefined) return;
  const { packet } = arrival;
  const found = describe(packet);
  const quoted = parseIcmpQuote(packet, found);
  if (!quoted.ok || quoted.value === undefined) {
    return dropPacket(gateway, now, "icmp-quote", packet, { cid: arrival.cid });
  }
  const error: IcmpErrorAt = { ...arrival, found, quoted: quoted.value };
  if (punt.direction === "in") passErrorIn(gateway, now, error);
  else passErrorOut(gateway, now, error);
}

interface IcmpErrorAt extends Arrival {
  readonly found: PacketDescriptor;
  readonly quoted: NonNullable<Extract<ReturnType<typeof parseIcmpQuote>, { readonly ok: true }>["value"]>;
}

function passErrorIn(gateway: GatewayState, now: Instant, error: IcmpErrorAt): void {
  const { cid, party, packet, view, found, quoted } = error;
  const { connections } = gateway;
  if (!party.client.addresses.some((address) => equalIp(address, quoted.source))) {
    return dropPacket(gateway, now, "icmp-quote", packet, { cid });
  }
  const { protocol, ports } = quoted;
  const { mappings } = party.nat;
  const mapping = ports && mappings.ofOutside({ protocol, port: ports.source, real: quoted.destination });
  if (mapping === "expired") {
    return dropPacket(gateway, now, "expired-nat", packet, { cid });
  }
  if (mapping === undefined) {
    connections.sendPacket(now, cid, packet);
    return;
  }
  mappings.note(now, mapping, "in");
  const { proxy, port } = mapping.inside;
  // The first hop of a trace is the gateway itself; all behind it stay hidden (TN-72).
  const isOwn = ownAddresses(gateway).some((address) => equalIp(address, view.source));
  const made = translateError(packet, found, quoted, {
    source: isOwn ? copyOf(view.source) : proxy,
    destination: copyOf(view.destination),
    quote: { field: "destination", address: proxy, port },
  });
  connections.sendPacket(now, cid, made);
}

function passErrorOut(gateway: GatewayState, now: Instant, error: IcmpErrorAt): void {
  const { cid, party, packet, view, found, quoted } = error;
  const { commands } = gateway;
  const { protocol, ports } = quoted;
  const isOfClient = party.client.addresses.some((address) => equalIp(address, quoted.destination));
  const rid = entryOf(party.nat.entries, quoted.source)?.rid;
  const isGranted = rid !== undefined && party.client.grants.has(rid);
  const mapping =
    ports && isOfClient && isGranted && isProxyAddress(view.destination)
      ? party.nat.mappings.ofInside({ protocol, port: ports.destination, proxy: quoted.source })
      : undefined;
  if (mapping === undefined) {
    return dropPacket(gateway, now, "icmp-error-out", packet, { cid });
  }
  const { real, port } = mapping.outside;
  const made = translateError(packet, found, quoted, {
    source: copyOf(view.source),
    destination: real,
    quote: { field: "source", address: real, port },
  });
  commands.push({ kind: "write-tun", packet: made });
}
