/** What the plane hands to a gateway's control (TN-61). */
import { equalIp, type Instant, unreachable } from "../base/index.ts";
import { createTokenBucket, encodeRefusal, viewPacket } from "../packet/index.ts";
import type { DataPunt } from "../plane/index.ts";
import { answerTooBig, isGoodbye, ownAddresses } from "./endpoint.ts";
import { applyRevocations, type GatewayState } from "./gateway-state.ts";
import { isHostService } from "./host-service.ts";

/** Refusals made for one client (tunnel.md §1, `ICMP_MAKE_RATE`). */
const REFUSAL_LIMIT = { ratePerSecond: 100, burst: 50 };

export function handlePunt(gateway: GatewayState, now: Instant, punt: DataPunt): void {
  switch (punt.reason) {
    case "no-session":
      gateway.connections.handlePunt(now, punt.slot, punt.packet);
      return;
    case "refused":
      return refuse(gateway, now, punt.slot, punt.packet);
    case "too-big":
      return answerTooBig(gateway, punt);
    case "control-event":
      return handleControlEvent(gateway, now, punt.slot, punt.packet);
    case "first":
    case "flow":
    case "icmp-error":
      // A gateway's tables have no such route.
      gateway.counters["no-peer-state"]++;
      return;
    default:
      return unreachable(punt);
  }
}

/** TN-61 rows 6 to 14 for what the tables did not open. */
function refuse(gateway: GatewayState, now: Instant, slot: number | undefined, packet: Uint8Array): void {
  const { connections, grants, counters, commands } = gateway;
  const cid = slot === undefined ? undefined : connections.connectionOf(slot);
  if (cid === undefined || grants.client(cid) === undefined) {
    counters["no-peer-state"]++;
    return;
  }
  const { destination } = viewPacket(packet);
  if (ownAddresses(gateway).some((address) => equalIp(address, destination)) && isHostService(packet)) {
    commands.push({ kind: "write-tun", packet });
    return;
  }
  if (!mayRefuse(gateway, now, cid)) {
    counters["icmp-rate"]++;
    return;
  }
  counters.refused++;
  const error = encodeRefusal(packet, "prohibited");
  if (error !== undefined) connections.sendPacket(now, cid, error);
}

function mayRefuse({ refusals }: GatewayState, now: Instant, cid: string): boolean {
  const bucket = refusals.get(cid) ?? createTokenBucket(REFUSAL_LIMIT);
  refusals.set(cid, bucket);
  return bucket.take(now);
}

function handleControlEvent(gateway: GatewayState, now: Instant, slot: number, packet: Uint8Array): void {
  const { connections, grants, counters, log, events } = gateway;
  const cid = connections.connectionOf(slot);
  const goodbye = isGoodbye(packet);
  if (cid === undefined || goodbye === undefined) {
    counters["p2p-bad"]++;
    return;
  }
  if (!goodbye) return;
  log.info?.("client said goodbye", { cid });
  const lost = grants.removeClient(cid, "goodbye");
  if (lost.length === 0) connections.removeConnection(now, { id: cid, reason: "goodbye" });
  applyRevocations(gateway, now, lost);
  events.push({ kind: "disconnected", cid });
}
