/** Numbers of the protocol; what differs from use to use is in `profile.ts`. */

/** Of IPv4 and TCP, of IPv6 and TCP: what the MSS leaves of the MTU. */
export const HEADERS_BYTES = { 4: 40, 6: 60 } as const;
/** A peer that says nothing of its own (RFC 9293 §3.7.1). */
export const MSS_DEFAULT = { 4: 536, 6: 1_220 } as const;
export const MSS_MIN = 88;
/** RFC 7323 §2.3. */
export const WINDOW_SHIFT_MAX = 14;

/** RFC 6298 §2. */
export const RTO_FIRST_MS = 1_000;
/** Once a SYN had to be sent twice, and nothing has been timed (RFC 6298 §5.7). */
export const RTO_AFTER_SYN_LOSS_MS = 3_000;
/** G of RFC 6298. */
export const CLOCK_GRANULARITY_MS = 1;

export const INITIAL_WINDOW_SEGMENTS = 10;
export const DUPLICATE_ACKS = 3;
/** Pieces into which SACK may cut what is under way: else a peer could make each acknowledgement dear. */
export const SENT_RANGES_MAX = 4_096;
/** Per connection, as a rate and at once (RFC 5961 §7). */
export const CHALLENGE_ACKS_PER_SECOND = 10;

/** RFC 7323 §5.5: a time stamp that old says nothing. */
export const TIMESTAMP_OUTDATED_MS = 24 * 24 * 3_600_000;

/** Waiting answers to segments that are no part of a connection; more are dropped and counted. */
export const WAITING_REPLIES_MAX = 256;

/** Ports to choose from (RFC 6056 §3.2), and how many are tried. */
export const EPHEMERAL_PORT_FIRST = 32_768;
export const EPHEMERAL_PORTS = 28_232;
export const PORT_TRIES_MAX = 64;

export const KEEP_ALIVE_INTERVAL_MAX_MS = 75_000;
export const KEEP_ALIVE_PROBES_MAX = 9;
