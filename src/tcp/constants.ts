/** Limits and timers of the profile for DNS (DN-92, DN-93). */

/** Of IPv4 and TCP, of IPv6 and TCP: what the MSS leaves of the MTU. */
export const HEADERS_BYTES = { 4: 40, 6: 60 } as const;
/** A peer that says nothing of its own (RFC 9293 §3.7.1). */
export const MSS_DEFAULT = { 4: 536, 6: 1_220 } as const;
export const MSS_MIN = 88;
export const RECEIVE_WINDOW_BYTES = 65_535;
export const OUT_OF_ORDER_MAX = 16;

export const RTO_FIRST_MS = 1_000;
export const RTO_MIN_MS = 250;
export const RTO_MAX_MS = 4_000;
export const SYN_SENDS_MAX = 4;
export const DATA_SENDS_MAX = 6;
export const WINDOW_PROBE_MS = 1_000;
export const PROBES_MAX = 5;
export const TIME_WAIT_MS = 1_000;
export const SYN_RECEIVED_MS = 5_000;
/** A peer that has our end but keeps its own open. */
export const FIN_WAIT_2_MS = 10_000;
export const INITIAL_WINDOW_SEGMENTS = 10;
export const DUPLICATE_ACKS = 3;
export const CHALLENGE_ACKS_PER_SECOND = 10;
