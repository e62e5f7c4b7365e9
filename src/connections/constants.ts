/** Numbers of the connections (SN §1). Times in milliseconds. */

/** Without data in either direction a connection goes idle. Longer than a dead path lives (SN-76). */
export const IDLE_AFTER_MS = 20_000;

/** So long after its last packet somebody may still wait for an answer on a connection (TN-106). */
export const AWAITED_MS = 300_000;

/** How long a connection may have no candidates of a side at all (SN-91). */
export const CANDIDATE_TIMEOUT_MS = 10_000;

/** How long ICE may have nothing left to try (SN-90). */
export const DISCONNECT_GRACE_MS = 2_000;

/** A handshake takes one round trip; what takes longer was repeated. */
export const HANDSHAKE_BOUNDS_MS: readonly number[] = [
  5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
];

/** Between two handshakes that were started beside a living session (SN-73). */
export const ROLLOVER_DEBOUNCE_MS = 20_000;

/** Packets that wait for a path (SN-96, SN-97). */
export const IP_BUFFER_MAX = 128;
export const WG_BUFFER_MAX = 128;

/** How long stray packets of a closed connection are no surprise (SN-103). */
export const RECENTLY_CLOSED_MS = 5_000;
export const RECENTLY_CLOSED_MAX = 1_024;

/** One WARN per minute about packets of unknown connections (SN-103). */
export const STRANGER_WARN_MS = 60_000;

/**
 * How long the plane keeps a closed peer, so that the goodbye in its inject ring still goes out
 * (SN-106). Own choice: many batches for a worker, nothing for a person.
 */
export const FAREWELL_MS = 100;

/** Relay traffic comes from this port alone, unless the relay's address is known exactly (SN-99). */
export const RELAY_PORT = 3478;

/** IP addresses of relays that were left: what still comes from them is no surprise (SN-99). */
export const FORMER_RELAYS_MAX = 64;

/** Relays that are taken in. Own limit. */
export const RELAYS_MAX = 64;

/** UDP has its chance first; two streams are tried at once, that which opens first is used (RL-208). */
export const UDP_SILENT_MS = 3_000;
export const STREAMS_TRIED = 2;
/** While a stream is used, UDP is asked so often: the path has left it 30 s behind UDP (RL-208, TS-30.7). */
export const UDP_PROBE_EVERY_MS = 20_000;
/** How long a stream stays after the last connection has left it, and after UDP works again at most. */
export const STREAM_LEAVE_AFTER_MS = 10_000;
export const STREAM_LEAVE_WITHIN_MS = 60_000;
/** Between two tries; it doubles (RL-209). */
export const STREAM_RETRY_FIRST_MS = 1_000;
export const STREAM_RETRY_LAST_MS = 60_000;

/** How much slower than the fastest of two a relay may be, and how far from the median of more (SN-110). */
export const RTT_FACTOR = 1.5;
export const RTT_DEVIATIONS = 3;
export const RTT_DEVIATION_LEAST_MS = 2;

/** Addresses of our own that are taken in. Own limit, like the agent's. */
export const HOST_ADDRESSES_MAX = 64;
