/** Where a client's packets go: to a resource by its address or its name, or back to their sender (TN-20, TN-21). */
import { copyOf, type Instant } from "../base/index.ts";
import {
  type FragmentOf,
  fragmentOf,
  isProhibited,
  isSyn,
  MAX_IP_SIZE,
  type PacketView,
  parseIcmpQuote,
  parsePacket,
  viewPacket,
} from "../packet/index.ts";
import { gatewayOf, mayAskAgain, wantAccess } from "./access.ts";
import { holdForName } from "./client-names.ts";
import {
  ask,
  type ClientState,
  type ClientTarget,
  type ClientVerdict,
  isAuthorised,
  refuseAll,
} from "./client-state.ts";
import { dropPacket } from "./drops.ts";
import { endsOf } from "./flow-book.ts";
import { ownerOf } from "./named.ts";
import { isProxyAddress } from "./ranges.ts";
import type { Flow } from "./reach/face.ts";
import { findResource } from "./resources.ts";

/** Flows to addresses end together, those to a name with the name. */
const ADDRESSES = "addresses";

/** A packet about which the plane asks flow by flow (TN-110). */
export function routeFlow(client: ClientState, now: Instant, packet: Uint8Array): void {
  const { flows } = client;
  const fragment = fragmentOf(packet);
  if (fragment?.isLater === true) return followFirst(client, now, packet, fragment);
  const view = viewPacket(packet);
  const known = flows.find("out", view);
  if (known !== undefined && !(isSyn(view) && flows.isClosing(known))) {
    settle(client, now, packet, known.note);
    return decideFragments(client, now, fragment, targetOf(client, flowOf(view)));
  }
  if (known !== undefined) flows.unlink(known);
  route(client, now, packet, { isLinked: true });
}

/** TN-20 from step 8 on. `isLinked`: the plane shall do the same with what follows, by itself. */
export function route(
  client: ClientState,
  now: Instant,
  packet: Uint8Array,
  { isLinked }: { readonly isLinked: boolean },
): void {
  const view = viewPacket(packet);
  const fragment = fragmentOf(packet);
  const target = targetOfPacket(client, now, view, fragment);
  const decided = decide(client, now, packet, target);
  if (decided !== undefined) {
    const owner = target.kind === "resource" && target.name ? ownerOf(target.name) : ADDRESSES;
    if (isLinked) link(client, now, view, { owner, verdict: decided });
    settle(client, now, packet, decided);
  }
  if (fragment?.isLater === false) decideFragments(client, now, fragment, target);
}

/** A later fragment has no ports: it goes where its first one went, or by its addresses alone. */
function targetOfPacket(
  client: ClientState,
  now: Instant,
  view: PacketView,
  fragment: FragmentOf | undefined,
): ClientTarget {
  if (fragment?.isLater !== true) return targetOf(client, flowOf(view));
  const { destination, protocol } = view;
  const known = client.fragments.fateOf(now, fragment);
  return known ?? targetOf(client, { destination: copyOf(destination), protocol });
}

function flowOf(view: PacketView): Flow {
  return { ...view, destination: copyOf(view.destination) };
}

/** `undefined`: it waits, or is lost. */
function decide(
  client: ClientState,
  now: Instant,
  packet: Uint8Array,
  target: ClientTarget,
): ClientVerdict | undefined {
  if (target.kind === "resource") return pass(client, now, packet, target);
  if (target.kind === "refuse") return target;
  dropPacket(client, now, "unknown-resource", packet);
  return undefined;
}

/** All packets are the client's own. */
const OWN = "";

/** A later fragment: as its first one, or it waits for that (TN-112). */
function followFirst(client: ClientState, now: Instant, packet: Uint8Array, fragment: FragmentOf): void {
  const { fragments } = client;
  const target = fragments.fateOf(now, fragment);
  if (target !== undefined) return settleLater(client, now, packet, target);
  if (!fragments.keep(now, OWN, fragment, packet)) dropPacket(client, now, "fragment-unknown", packet);
}

/** The first fragment was decided, and so are the later ones that have waited for it. */
function decideFragments(
  client: ClientState,
  now: Instant,
  fragment: FragmentOf | undefined,
  target: ClientTarget,
): void {
  if (fragment === undefined) return;
  for (const packet of client.fragments.decide(now, OWN, fragment, target)) {
    settleLater(client, now, packet, target);
  }
}

function settleLater(client: ClientState, now: Instant, packet: Uint8Array, target: ClientTarget): void {
  if (target.kind !== "resource") dropPacket(client, now, "fragment-unknown", packet);
  else {
    const decided = pass(client, now, packet, target);
    if (decided !== undefined) settle(client, now, packet, decided);
  }
}

/** A proxy address never falls through to networks or the internet (TN-21). */
function targetOf(client: ClientState, flow: Flow): ClientTarget {
  const { resources, resolver } = client;
  if (!isProxyAddress(flow.destination)) {
    const found = findResource(resources, flow, isAuthorised(client));
    if (found === undefined) return { kind: "unknown" };
    // TN-22: the gateway would say the same, a round trip later.
    if (!found.reach.permits(flow)) return { kind: "refuse", refusal: "prohibited" };
    return { kind: "resource", rid: found.resource.rid };
  }
  const name = resolver?.assignmentOf(flow.destination);
  const listed = name && resources.listed.get(name.rid);
  if (name === undefined || listed?.reach.pattern === undefined) {
    return { kind: "refuse", refusal: "unreachable" };
  }
  if (!listed.reach.permits(flow)) return { kind: "refuse", refusal: "prohibited" };
  return { kind: "resource", rid: name.rid, name };
}

/** `undefined`: the packet is kept until its gateway is there, or knows the name (TN-28, TN-46). */
function pass(
  client: ClientState,
  now: Instant,
  packet: Uint8Array,
  { rid, name }: Extract<ClientTarget, { readonly kind: "resource" }>,
): ClientVerdict | undefined {
  const { connections, access, counters } = client;
  const gid = gatewayOf(access, rid);
  if (gid === undefined || connections.slotOf(gid) === undefined) {
    const { isIntentDue, dropped } = wantAccess(access, now, { rid, packet });
    counters["pending-full"] += dropped;
    if (isIntentDue) ask(client, rid);
    return undefined;
  }
  if (name !== undefined && holdForName(client, now, { ...name, gid }, packet)) return undefined;
  return { kind: "pass", gid };
}

function link(
  { flows, connections, counters }: ClientState,
  now: Instant,
  view: PacketView,
  { owner, verdict }: { readonly owner: string; readonly verdict: ClientVerdict },
): void {
  const ends = endsOf(view, "out");
  const slot = verdict.kind === "pass" ? connections.slotOf(verdict.gid) : undefined;
  const out = verdict.kind === "pass" ? "pass" : verdict.refusal;
  const record = { ...ends, out, ...(slot !== undefined && { slot }) } as const;
  if (!flows.link(now, { owner, record, note: verdict })) counters["flow-table-full"]++;
}

function settle(client: ClientState, now: Instant, packet: Uint8Array, verdict: ClientVerdict): void {
  if (verdict.kind === "pass") client.connections.sendPacket(now, verdict.gid, packet);
  else refuseAll(client, now, [packet], verdict.refusal);
}

/**
 * An error from a gateway or from behind it, of which the plane hands up those that say *prohibited*: the host hears of
 * it, and access is asked for again, in case the gateway has lost it (TN-36).
 */
export function takeIcmpError(client: ClientState, now: Instant, packet: Uint8Array): void {
  client.commands.push({ kind: "write-tun", packet });
  noteProhibited(client, now, packet);
}

/** Nothing for any other packet. A firewall behind the gateway may say the same: so seldom enough. */
export function noteProhibited(client: ClientState, now: Instant, packet: Uint8Array): void {
  const found = parsePacket(packet, { limitBytes: MAX_IP_SIZE, mode: "strict" });
  if (!client.asksWhereProhibited || !found.ok || !isProhibited(packet, found.value)) return;
  const quote = parseIcmpQuote(packet, found.value);
  const target = quote.ok && quote.value !== undefined ? targetOf(client, quote.value) : undefined;
  if (target?.kind !== "resource") return;
  const { access, log, counters } = client;
  const { rid } = target;
  if (!mayAskAgain(access, now, rid)) return;
  counters["prohibited-asked-again"]++;
  log.info?.("a gateway prohibits what was granted: access is asked for again", { rid });
  if (wantAccess(access, now, { rid }).isIntentDue) ask(client, rid);
}

/** An error of this host about a packet of a name: its gateway knows what it is about (TN-120). */
export function routeIcmpError(client: ClientState, now: Instant, packet: Uint8Array): void {
  const { connections, access, resolver } = client;
  const name = resolver?.assignmentOf(copyOf(viewPacket(packet).destination));
  const gid = name && gatewayOf(access, name.rid);
  if (gid === undefined || connections.slotOf(gid) === undefined) {
    return dropPacket(client, now, "icmp-error-out", packet, { gid });
  }
  connections.sendPacket(now, gid, packet);
}
