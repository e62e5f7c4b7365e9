/** What the plane hands to a client's control (TN-20, TN-38). */
import { type Instant, unreachable } from "../base/index.ts";
import type { DataPunt } from "../plane/index.ts";
import { authorisedOn, loseGateway, noteAwaited, wantAccess } from "./access.ts";
import { handleForResolver } from "./client-dns.ts";
import { route, routeFlow, routeIcmpError, takeIcmpError } from "./client-flows.ts";
import { handleDomainStatus } from "./client-names.ts";
import { handleResolverPacket } from "./client-queries.ts";
import { announceResources, ask, type ClientState, publish, refuseAll } from "./client-state.ts";
import { dropPacket } from "./drops.ts";
import { answerTooBig, type LifeEvent, readControlEvent } from "./endpoint.ts";
import { hasLeft, removeGateway } from "./gateways.ts";

type ConnectionFailed = Extract<LifeEvent, { readonly kind: "connection-failed" }>;

export function handlePunt(client: ClientState, now: Instant, punt: DataPunt): void {
  switch (punt.reason) {
    case "first":
      return routeFirst(client, now, punt.packet);
    case "flow":
      return routeFlow(client, now, punt.packet);
    case "no-session":
      client.connections.handlePunt(now, punt.slot, punt.packet);
      return;
    case "icmp-error":
      if (punt.direction === "in") return takeIcmpError(client, now, punt.packet);
      return routeIcmpError(client, now, punt.packet);
    case "refused":
      return refuseAll(client, now, [punt.packet], punt.refusal ?? "unreachable");
    case "too-big":
      return answerTooBig(client, punt);
    case "control-event":
      return handleControlEvent(client, now, punt.slot, punt.packet);
    case "resolver":
      return handleResolverPacket(client, now, punt.packet);
    default:
      return unreachable(punt);
  }
}

/** A packet that the plane had no peer for. */
function routeFirst(client: ClientState, now: Instant, packet: Uint8Array): void {
  if (!handleForResolver(client, now, packet)) route(client, now, packet, { isLinked: false });
}

function handleControlEvent(client: ClientState, now: Instant, slot: number, packet: Uint8Array): void {
  const { connections, log } = client;
  const gid = connections.connectionOf(slot);
  const event = readControlEvent(packet);
  if (gid !== undefined && event?.kind === "domain-status") {
    return handleDomainStatus(client, now, gid, event);
  }
  if (gid === undefined || event?.kind !== "goodbye") {
    return dropPacket(client, now, "p2p-bad", packet, { gid });
  }
  log.info?.("gateway said goodbye", { gid });
  connections.removeConnection(now, { id: gid, reason: "goodbye" });
  forgetGateway(client, now, gid);
}

/**
 * What is asked for at once, without the next packet (TN-106): where the portal had lost the gateway, what was in
 * use, and always what carried packets not long ago: whoever waits for an answer sends none.
 */
export function loseConnection(
  client: ClientState,
  now: Instant,
  { id, wasIdle, awaitedUntil }: Pick<ConnectionFailed, "id" | "wasIdle" | "awaitedUntil">,
): void {
  const { access, gateways } = client;
  const isWanted = awaitedUntil !== undefined || (hasLeft(gateways, id) && !wasIdle);
  const wanted = isWanted ? authorisedOn(access, id) : [];
  forgetGateway(client, now, id);
  if (awaitedUntil !== undefined) noteAwaited(access, wanted, awaitedUntil);
  askFor(client, now, wanted);
}

export function askFor(client: ClientState, now: Instant, rids: readonly string[]): void {
  for (const rid of rids) if (wantAccess(client.access, now, { rid }).isIntentDue) ask(client, rid);
}

/** Access through this gateway ended: the next packet asks again (TN-34). */
export function forgetGateway(client: ClientState, now: Instant, gid: string): void {
  loseGateway(client.access, gid);
  client.nat.clearGateway(gid);
  if (!removeGateway(client.gateways, gid)) return;
  client.events.push({ kind: "disconnected", gid });
  announceResources(client);
  publish(client, now);
}
