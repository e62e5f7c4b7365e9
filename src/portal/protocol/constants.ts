/**
 * Constants of the channel machine (PT §3) and limits of the wire (PT §1).
 */

export const HEARTBEAT_INTERVAL_MS = 10_000;
/** One more outstanding than these and the connection counts as dead. */
export const MAX_UNANSWERED_HEARTBEATS = 3;
/** How long the portal may take to answer the heartbeat of a check (PT-34). */
export const CHECK_TIMEOUT_MS = 5_000;
/** From queuing the join. */
export const JOIN_TIMEOUT_MS = 5_000;
/** One TCP connection attempt; the shell applies it. */
export const TCP_TIMEOUT_MS = 5_000;
/** TCP, TLS and upgrade together. */
export const CONNECT_TIMEOUT_MS = 15_000;

/** Before the first join: constant, without jitter, for so long. */
export const INITIAL_BACKOFF_MS = 1_000;
export const INITIAL_MAX_ELAPSED_MS = 15_000;
/**
 * After it: the first pause, its growth, its cap; jitter is ± 50 %. The longest pause is 12 s, which
 * leaves 3 s to connect within the 15 s of PT-27, and spreads 1,000 peers over 8 s.
 */
export const RECONNECT_BACKOFF_MS = 500;
export const RECONNECT_BACKOFF_FACTOR = 1.5;
export const RECONNECT_BACKOFF_CAP_MS = 8_000;

/** How long a gateway or relay tries to come back; a client tries for ever. */
export const MAX_PARTITION_MS = 24 * 3_600_000;

/** Between two resolutions of the portal's name that gave nothing (PT-21). */
export const NO_ADDRESS_PAUSE_MS = 1_000;
/** A WARN about it at the first and then so often. */
export const NO_ADDRESS_WARN_MS = 60_000;
/** A resolution that has not answered after so long is asked for again. */
export const RESOLVE_TIMEOUT_MS = 15_000;
export const MAX_ADDRESSES = 8;

export const MAX_QUEUED = 32;
export const MAX_MESSAGE_AGE_MS = 15_000;

/** How long `close()` waits for the answer to its close frame. */
export const CLOSE_TIMEOUT_MS = 2_000;
/** After "replaced" (close code 4000): so long, plus up to the same at random. */
export const REPLACED_PAUSE_MS = 10_000;

export const CLOSE_NORMAL = 1000;
/** A newer socket of the same peer took this one's place (PT-74). */
export const CLOSE_REPLACED = 4000;

/** What a peer accepts in one frame; an `init` with 10,000 resources is about 3 MB (PT-7). */
export const MAX_PEER_FRAME_BYTES = 16 * 1024 * 1024;
/** What our portal accepts in one frame (PT-7). */
export const MAX_PORTAL_FRAME_BYTES = 64 * 1024;
/** The shell reports "not writable" while its socket buffers more than this (PT-24). */
export const MAX_SOCKET_BUFFER_BYTES = 64 * 1024;

/** A valid Retry-After above this is taken as this (PT-30). */
export const MAX_RETRY_AFTER_MS = 3_600_000;

/** The protocol level that the user agent states; portals compare it (PT-15, PT-84). */
export const PROTOCOL_LEVEL = "1.5.0";
