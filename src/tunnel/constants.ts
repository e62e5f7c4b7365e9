/** Constants of the tunnel's logic (docs/spec/tunnel.md §1). */
import { type Prefix, prefix, TUNNEL_V4, TUNNEL_V6 } from "../base/index.ts";

export { GATEWAY_DNS_PORT, PROXIES_PER_FAMILY } from "../dns/index.ts";

/** Addresses of clients and gateways (TN-15). */
export const TUNNEL_RANGES: readonly Prefix[] = [TUNNEL_V4, TUNNEL_V6];

export const EVERYTHING: readonly Prefix[] = [prefix("0.0.0.0/0"), prefix("::/0")];

/** Addresses that stand for names (TN-15), sentinels inside of them excepted. */
export const PROXY_RANGES: readonly Prefix[] = [prefix("100.96.0.0/11"), prefix("fd00:2021:1111:8000::/107")];

/** Addresses on which the client's resolver listens. */
export const SENTINEL_RANGES: readonly Prefix[] = [
  prefix("100.100.111.0/24"),
  prefix("fd00:2021:1111:8000:100:100:111:0/120"),
];

/** Proxy addresses and sentinels: reserved for DNS resources, never anybody's network (TN-18). */
export const RESERVED_RANGES: readonly Prefix[] = [...PROXY_RANGES, ...SENTINEL_RANGES];

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
/** How long the resolution of a name may take at a gateway, and how many may run (TN-63). */
export const RESOLVE_TIMEOUT_MS = 10_000;
export const MAX_RESOLVES = 1_000;
/** How long a mapping outlives its last packet (TN-68). */
export const NAT_TTL_TCP_MS = 7_200_000;
export const NAT_TTL_UDP_MS = 120_000;
export const NAT_TTL_ICMP_MS = 120_000;
/** The same for TCP, as long as nothing has come back. */
export const NAT_TTL_UNANSWERED_MS = 60_000;
/** How long it outlives FIN in both directions; RST ends it at once. */
export const NAT_FIN_LINGER_MS = 5_000;
/** The least time between two looks at what has aged. */
export const SWEEP_MS = 1_000;
/** As many as a client may have flows (TN-80). */
export const MAPPINGS_PER_CLIENT = 16_384;
/** Outside tuples of ended mappings that are remembered for a client, and for how long (TN-69). */
export const EXPIRED_TUPLES = 4_096;
export const EXPIRED_TTL_MS = 600_000;
/** How long a site counts as offline after the portal said so (TN-27). */
export const OFFLINE_SITE_TTL_MS = 300_000;
/** How long a later fragment waits for its first one (TN-112). */
export const FRAGMENT_WAIT_MS = 200;
/** Later fragments that wait: of one peer, of all of them, and the bytes of both. */
export const FRAGMENTS_PER_PEER = 64;
export const FRAGMENTS_WAITING = 1_024;
export const FRAGMENT_BYTES_PER_PEER = 65_536;
export const FRAGMENT_BYTES_WAITING = 1_048_576;
/** Datagrams in fragments of which control knows what became of the first: of one peer, of all, and for how long. */
export const DATAGRAMS_PER_PEER = 256;
export const DATAGRAMS_KNOWN = 4_096;
export const DATAGRAM_TTL_MS = 30_000;
/** Clients whose connection a gateway sets up at a time (TN-122). */
export const SET_UPS_AT_ONCE = 64;
/**
 * How long a set-up counts as one (TN-122): without a path, or so many times as long as others take, and with a path,
 * at most.
 */
export const SET_UP_FIRST_MS = 3_000;
export const SET_UP_TIMES = 3;
export const SET_UP_LAST_MS = 15_000;
/** Resources that a client may wait for at a gateway (TN-122). */
export const FLOWS_WAITING_OF_CLIENT = 256;
/** A flow without packets for that long ends in the log (TN-91). */
export const FLOW_LOG_IDLE_MS = 120_000;
/** What still runs is told of that often. */
export const FLOW_LOG_PERIOD_MS = 86_400_000;
/** Flows of the log that wait for a record under another policy, at most. */
export const DETACHED_FLOWS = 16_384;
