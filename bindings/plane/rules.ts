/**
 * What makes a plane the peer of `postern wg`, a client or a gateway. The plane itself knows no roles: it
 * reads these numbers from its record (`layout-tables.ts`).
 */
import { CONSTANTS, reasonNumber } from "../memory/index.ts";
import type { PlaneMode } from "./face.ts";

const {
  CHECK_ARRIVING,
  CHECK_CONTROL_EVENTS,
  CHECK_ICMP,
  CHECK_LEAVING,
  CHECK_PERMITS,
  CHECK_RESOLVER,
  CHECK_ROUTED_SOURCE,
  CHECK_SOURCES_OUT,
  TARGET_DROP,
  TARGET_REFUSE,
} = CONSTANTS;

/** The fields of the plane's record that depend on the mode. */
export const RULE_NAMES = [
  "maxPacket",
  "maxReceived",
  "maxDatagram",
  "isPadded",
  "roamedGap",
  "isStrict",
  "isPathNeeded",
  "checks",
  "missTarget",
  "sourceReason",
  "refusalReason",
  "refusalsPerSecond",
] as const;

export type PlaneRules = Readonly<Record<(typeof RULE_NAMES)[number], number>>;

/** What an IPv4 total length, or a UDP datagram over IPv6, can be: a peer's MTU is its own affair (PG-48). */
const MOST_PACKET_BYTES = 65_535;
const MOST_DATAGRAM_BYTES = 65_527;

/** However often a peer's packets come from elsewhere than its path, control hears of it four times a second. */
const ROAMED_GAP_MS = 250;

/** A WireGuard peer: it decides by address alone, pads, and follows its peers (WG-58, WG-59, WG-62). */
function plainRules(mtu: number): PlaneRules {
  return {
    maxPacket: mtu,
    maxReceived: MOST_PACKET_BYTES,
    maxDatagram: MOST_DATAGRAM_BYTES,
    isPadded: 1,
    roamedGap: 0,
    isStrict: 0,
    isPathNeeded: 1,
    checks: CHECK_ROUTED_SOURCE,
    missTarget: TARGET_REFUSE,
    sourceReason: 0,
    refusalReason: reasonNumber("wg_no_route"),
    refusalsPerSecond: 10,
  };
}

/** What client and gateway have in common (TN-3, TN-7, TN-40, TN-78). */
const TUNNEL = {
  // MAX_IP_SIZE; with header, tag and channel header 1,316.
  maxPacket: 1280,
  maxReceived: 1280,
  maxDatagram: 1316,
  isPadded: 0,
  // Control only looks where the packets come from: it need not know at once what lasts (SN-145).
  roamedGap: ROAMED_GAP_MS,
  isStrict: 1,
  isPathNeeded: 0,
  refusalReason: reasonNumber("refuse-rate"),
  refusalsPerSecond: 200,
} as const;
const TUNNEL_CHECKS = CHECK_PERMITS | CHECK_CONTROL_EVENTS | CHECK_ICMP;

/**
 * A client knows nothing but its resources, and believes their gateways no other source; its resolver has flows of
 * its own in the tunnel (TN-20, TN-38).
 */
const CLIENT: PlaneRules = {
  ...TUNNEL,
  checks: TUNNEL_CHECKS | CHECK_LEAVING | CHECK_RESOLVER,
  missTarget: TARGET_DROP + reasonNumber("unknown-resource"),
  sourceReason: reasonNumber("not-allowed-source"),
};

/** A gateway knows nothing but its clients, and carries what they are granted (TN-61, TN-62). */
const GATEWAY: PlaneRules = {
  ...TUNNEL,
  checks: TUNNEL_CHECKS | CHECK_ARRIVING | CHECK_SOURCES_OUT,
  missTarget: TARGET_DROP + reasonNumber("not-a-peer"),
  sourceReason: reasonNumber("not-client-ip"),
};

export function planeRules(mode: PlaneMode, mtu: number): PlaneRules {
  if (mode === "plain") return plainRules(mtu);
  return mode === "client" ? CLIENT : GATEWAY;
}
