/** Constants of the tunnel's logic (docs/spec/tunnel.md §1). */
import { type Prefix, prefix, TUNNEL_V4, TUNNEL_V6 } from "../base/index.ts";

/** Addresses of clients and gateways (TN-15). */
export const TUNNEL_RANGES: readonly Prefix[] = [TUNNEL_V4, TUNNEL_V6];

/** Proxy addresses and sentinels: reserved for DNS resources, never anybody's network (TN-18). */
export const RESERVED_RANGES: readonly Prefix[] = [
  prefix("100.96.0.0/11"),
  prefix("100.100.111.0/24"),
  prefix("fd00:2021:1111:8000::/107"),
  prefix("fd00:2021:1111:8000:100:100:111:0/120"),
];

/** All of it: ours, whatever a network or resource says. */
export const INTERNAL_RANGES: readonly Prefix[] = [...TUNNEL_RANGES, ...RESERVED_RANGES];

/** The least time between two intents for one resource (TN-28). */
export const INTENT_DEDUP_MS = 2_000;
/** Packets kept for a resource until its gateway is known; beyond it the oldest goes (TN-30). */
export const PENDING_PACKETS = 128;
/** A pending flow without a new packet for that long is dropped with its content (TN-30). */
export const PENDING_IDLE_MS = 30_000;
/** The least time between two intents caused by *prohibited* from a gateway (TN-36). */
export const PROHIBITED_REINTENT_MS = 30_000;
/** An unanswered *assigned IPs* is sent again that long after, by the next query or packet (TN-46). */
export const NAT_SETUP_RETRY_MS = 2_000;
/** Packets kept for a name until the gateway knows its addresses (TN-46). */
export const NAT_SETUP_PACKETS = 32;
/** How long a site counts as offline after the portal said so (TN-27). */
export const OFFLINE_SITE_TTL_MS = 300_000;
/** In-tunnel name servers of a gateway, UDP and TCP (TN-61 row 6). */
export const GATEWAY_DNS_PORT = 53535;
