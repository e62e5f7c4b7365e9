/**
 * Every number of the WireGuard protocol and of our conduct in it, under the paper's names
 * (J. Donenfeld, NDSS 2017; WG §2).
 */

/** Messages after which the initiator asks for new keys (paper §6.1). */
export const REKEY_AFTER_MESSAGES = 1n << 60n;
/** No counter at or above this one is ever sent or accepted (paper §6.1). */
export const REJECT_AFTER_MESSAGES = (1n << 64n) - (1n << 13n) - 1n;
/** Age at which the initiator of a session makes the next one (paper §6.1). */
export const REKEY_AFTER_TIME_MS = 120_000;
/** Age at which a session is neither sent on nor accepted any more (paper §6.1). */
export const REJECT_AFTER_TIME_MS = 180_000;
/** The least time between two handshake messages to one peer (paper §6.1). */
export const REKEY_TIMEOUT_MS = 5_000;
/** Received data is acknowledged by a keepalive after that time (paper §6.1). */
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Upper bound, inclusive, of the random delay of what timers start (paper §6.1). */
export const MAX_JITTER_MS = 333;
/** The initiator stops sending that long before the responder drops the session (WG-17). */
export const SEND_MARGIN_MS = 10_000;
/** Age from which received data, or an idle client, renews the session (paper §6.2, T7b). */
export const LAST_MINUTE_MS = REJECT_AFTER_TIME_MS - KEEPALIVE_TIMEOUT_MS - REKEY_TIMEOUT_MS;
/** Sent data without any answer starts a handshake after that time (paper §6.5, T8). */
export const NEW_HANDSHAKE_MS = KEEPALIVE_TIMEOUT_MS + REKEY_TIMEOUT_MS;
/** Key material without a new session is wiped after that time (paper §6.3). */
export const WIPE_AFTER_MS = 3 * REJECT_AFTER_TIME_MS;

/** A first handshake is repeated after that many round trips of the path, where they are known (WG-75). */
export const REPEAT_ROUND_TRIPS = 3;
/** Bounds of that pause; the upper one is the paper's. */
export const REPEAT_MIN_MS = 100;
/** How many repeats come so fast; after them, as ever. */
export const FAST_REPEATS = 8;
/** Initiations of ours that can be answered at a time (WG-25, WG-75). */
export const ANSWERABLE = 2;
export const ANSWERABLE_FAST = 4;

/** How long a plain peer is tried before it is left alone (paper §6.1). */
export const REKEY_ATTEMPT_TIME_MS = 90_000;
/** The same in tunnel mode, where a failed connection is made anew instead (WG-37). */
export const TUNNEL_ATTEMPT_TIME_MS = 15_000;
/** Pauses before what confirms a first session is repeated (WG-77). */
export const CONFIRMATION_PAUSES_MS: readonly number[] = [250, 500, 1_000];
/** Persistent keepalive of a client in tunnel mode. */
export const CLIENT_KEEPALIVE_MS = 25_000;

/** Life of the secret behind the cookies that we give out (paper §5.4.7). */
export const COOKIE_SECRET_LIFE_MS = 120_000;
/** How long a received cookie is used: five seconds less, for the way to the peer. */
export const COOKIE_USE_LIFE_MS = 115_000;
/** Handshake messages within one window that put the device under load (WG-31). */
export const HANDSHAKE_LIMIT = 100;
export const HANDSHAKE_WINDOW_MS = 1_000;
/** Handshakes per source and second, and at once, while under load (WG-32). */
export const SOURCE_RATE_PER_SECOND = 20;
export const SOURCE_BURST = 5;
/** Sources remembered at a time; the oldest is forgotten for a new one (WG-71). */
export const SOURCE_BUCKETS_MAX = 4096;
/** The least time between two accepted initiations of one peer. */
export const INIT_MIN_GAP_MS = 20;

/** Sessions of one peer that can open packets at the same time (WG-15). */
export const SESSIONS_PER_PEER = 8;
/** Packets of one peer that wait for a session (WG-18). */
export const STAGED_MAX = 128;
/** Peers of one device unless its maker says otherwise: what the plane has rows for by default. */
export const DEFAULT_PEERS_MAX = 1024;
/** Live sessions of the whole device, as a multiple of its peers: the plane has a few more rows. */
export const SESSIONS_PER_PEER_AVERAGE = 2;
/** A released peer id is not drawn again for that long (WG-12). */
export const PEER_ID_REST_MS = 180_000;

/** Message types, the u32 at offset 0 (WG-4). */
export const TYPE_INITIATION = 1;
export const TYPE_RESPONSE = 2;
export const TYPE_COOKIE_REPLY = 3;
export const TYPE_TRANSPORT = 4;

/** Message sizes in bytes (paper §5.4). */
export const INITIATION_BYTES = 148;
export const RESPONSE_BYTES = 92;
export const COOKIE_REPLY_BYTES = 64;
export const TRANSPORT_HEADER_BYTES = 16;
export const KEEPALIVE_BYTES = 32;

export const KEY_BYTES = 32;
export const TAG_BYTES = 16;
export const MAC_BYTES = 16;
export const COOKIE_BYTES = 16;
export const XNONCE_BYTES = 24;
export const TAI64N_BYTES = 12;

/** Noise protocol name and WireGuard's prologue (paper §5.4). */
export const CONSTRUCTION = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
export const IDENTIFIER = "WireGuard v1 zx2c4 Jason@zx2c4.com";
export const LABEL_MAC1 = "mac1----";
export const LABEL_COOKIE = "cookie--";
