/** What the plane hands to a gateway's control (TN-61). */
import { type Instant, unreachable } from "../base/index.ts";
import type { DataPunt } from "../plane/index.ts";
import { dropPacket } from "./drops.ts";
import { answerTooBig, readControlEvent } from "./endpoint.ts";
import { handleFlow, handleIcmpError, handleRefused } from "./gateway-flows.ts";
import { handleAssignedIps } from "./gateway-names.ts";
import { applyRevocations } from "./gateway-policies.ts";
import type { GatewayState } from "./gateway-state.ts";

export function handlePunt(gateway: GatewayState, now: Instant, punt: DataPunt): void {
  switch (punt.reason) {
    case "no-session":
      gateway.connections.handlePunt(now, punt.slot, punt.packet);
      return;
    case "refused":
      return handleRefused(gateway, now, punt);
    case "too-big":
      return answerTooBig(gateway, punt);
    case "control-event":
      return handleControlEvent(gateway, now, punt.slot, punt.packet);
    case "flow":
      return handleFlow(gateway, now, punt);
    case "icmp-error":
      return handleIcmpError(gateway, now, punt);
    case "first":
    case "resolver":
      // A gateway's tables have no such route, and its plane no such check.
      return dropPacket(gateway, now, "no-peer-state", punt.packet);
    default:
      return unreachable(punt);
  }
}

function handleControlEvent(gateway: GatewayState, now: Instant, slot: number, packet: Uint8Array): void {
  const { connections, grants, log, events } = gateway;
  const cid = connections.connectionOf(slot);
  const event = readControlEvent(packet);
  if (cid !== undefined && event?.kind === "assigned-ips") return handleAssignedIps(gateway, now, cid, event);
  if (cid === undefined || event?.kind !== "goodbye") {
    return dropPacket(gateway, now, "p2p-bad", packet, { cid });
  }
  log.info?.("client said goodbye", { cid });
  const lost = grants.removeClient(cid, "goodbye");
  if (lost.length === 0) connections.removeConnection(now, { id: cid, reason: "goodbye" });
  applyRevocations(gateway, now, lost);
  events.push({ kind: "disconnected", cid });
}
