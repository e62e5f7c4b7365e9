/** Numbers of the relay (RL §2); those of the wire are in `src/turn`. */

import { type Prefix, prefix } from "../base/index.ts";

/** RFC 8656 §7.2; the maximum is ours (RL-18). */
export const LIFETIME_SECONDS_DEFAULT = 600;
export const LIFETIME_SECONDS_MAX = 3600;

/** How long and how often a nonce serves (RL-11). */
export const NONCE_LIFE_SECONDS = 3600;
export const NONCE_USES_MAX = 10_000;

/** RFC 8656 §7.2: how long the odd port of a pair is kept (RL-21). */
export const RESERVATION_MS = 30_000;
export const RESERVATION_TOKEN_BYTES = 8;

/** How many ports are tried until one can be bound (RL-20). */
export const PORT_TRIES_MAX = 8;

/** What strangers and clients may ask for (RL-59). */
export const RATES = {
  binding: { perSecond: 200, burst: 400 },
  refusal: { perSecond: 50, burst: 100 },
  authenticated: { perSecond: 50, burst: 100 },
  total: { perSecond: 20_000, burst: 20_000 },
} as const;
export const RATE_BUCKETS = 65_536;

/** The addresses that clients of streams have here: loopback that nobody else uses (RL-206). */
export const STREAM_CLIENTS: Prefix = prefix("127.64.0.0/10");

/** «own»: how much of a client's SOFTWARE a log line shows (RL-22). */
export const SOFTWARE_SHOWN_MAX = 64;

/** What goes into SOFTWARE: no version, which is nobody's business (RL-22). */
export const SOFTWARE_NAME = "postern-relay";

/** The same complaint is logged so often (RL §12, RL-14). */
export const WARN_EVERY_MS = 60_000;
export const DEBUG_EVERY_MS = 1000;
