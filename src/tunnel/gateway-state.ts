/** What the parts of the gateway share, and how access begins and ends (TN-50 to TN-54). */
import type { Instant, WallClock } from "../base/index.ts";
import { encodeGoodbye, type TokenBucket } from "../packet/index.ts";
import type { GatewayRequest } from "../portal/protocol/index.ts";
import { TUNNEL_RANGES } from "./constants.ts";
import { announceInterface, type EndState, ownAddresses, type TunnelInterface } from "./endpoint.ts";
import type { Grants, Revocation } from "./grants.ts";
import { gatewayPolicy } from "./policy.ts";
import type { RelaysWanted } from "./relays.ts";

export type TunnelGatewayEvent =
  | { readonly kind: "request"; readonly request: GatewayRequest }
  | { readonly kind: "interface"; readonly interface: TunnelInterface }
  | { readonly kind: "connected" | "disconnected"; readonly cid: string }
  | RelaysWanted;

/** Drops that the gateway's control decides, by the reasons of tunnel.md. */
export type TunnelGatewayCounter = "refused" | "icmp-rate" | "p2p-bad" | "no-peer-state";

export interface GatewayState extends EndState<TunnelGatewayEvent> {
  /** What expires, expires by it (TN-53). */
  readonly clock: WallClock;
  readonly grants: Grants;
  /** Per client: how many refusals it may cause (tunnel.md §1, `ICMP_MAKE_RATE`). */
  readonly refusals: Map<string, TokenBucket>;
  readonly isHostOpen: boolean;
  readonly counters: Record<TunnelGatewayCounter, number>;
}

export function publish(gateway: GatewayState, now: Instant): void {
  const { connections, grants, isHostOpen } = gateway;
  const tables = gatewayPolicy({
    ownAddresses: ownAddresses(gateway),
    clients: grants.clients(),
    slotOf: (cid) => connections.slotOf(cid),
    isHostOpen,
  });
  connections.publish(now, tables);
  announceGatewayInterface(gateway);
}

/** Nothing before the portal has said who we are. */
export function announceGatewayInterface(gateway: GatewayState): void {
  const { own, connections, grants } = gateway;
  if (own === undefined) return;
  const peers = grants
    .clients()
    .filter(({ cid }) => connections.slotOf(cid) !== undefined)
    .flatMap(({ addresses }) => addresses);
  announceInterface(gateway, TUNNEL_RANGES, peers);
}

/** Ends what was revoked; a client without any grant left is told goodbye (TN-54). */
export function applyRevocations(
  gateway: GatewayState,
  now: Instant,
  revocations: readonly Revocation[],
): void {
  if (revocations.length === 0) return;
  for (const { cid, rid, reason, isLast } of revocations) {
    gateway.log.info?.("access ended", { cid, rid, reason });
    if (!isLast) continue;
    gateway.refusals.delete(cid);
    if (reason === "goodbye") gateway.connections.removeConnection(now, { id: cid, reason });
    else gateway.connections.closeConnection(now, { id: cid, goodbye: encodeGoodbye() });
  }
  publish(gateway, now);
}
