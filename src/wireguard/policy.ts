/** How a peer behaves: one of three fixed policies, single values of which may be replaced (WG §2). */
import { CLIENT_KEEPALIVE_MS, REKEY_ATTEMPT_TIME_MS, TUNNEL_ATTEMPT_TIME_MS } from "./constants.ts";

export interface WgPolicy {
  /** A gateway only answers; its clients alone make and renew sessions. */
  readonly mayInitiate: boolean;
  /** How long an attempt goes on without an answer (WG-37). */
  readonly attemptTimeMs: number;
  /** What giving up means: the peer sleeps until the next packet, or it is finished. */
  readonly givingUp: "dormant" | "expired";
  /** A packet staged during an attempt restarts its clock (paper §6.4). */
  readonly stagedRestartsAttempt: boolean;
  /** Persistent keepalive when `addPeer` names none; 0 is off. */
  readonly keepaliveMs: number;
  /** Whether a persistent keepalive without session starts a handshake (T11). */
  readonly keepaliveInitiates: boolean;
  /** Sent data without answer starts a handshake (T8). */
  readonly renewsUnanswered: boolean;
  /** An idle session is renewed before it expires, and after it (T7b, T9). */
  readonly renewsIdle: boolean;
  /** A first session is confirmed again and again until something comes back (WG-77). */
  readonly repeatsConfirmation: boolean;
  /** Whether keepalives count as "sent" for the renewal at 120 s (T7a). */
  readonly keepalivesRenew: boolean;
}

export const PLAIN_POLICY: WgPolicy = {
  mayInitiate: true,
  attemptTimeMs: REKEY_ATTEMPT_TIME_MS,
  givingUp: "dormant",
  stagedRestartsAttempt: true,
  keepaliveMs: 0,
  keepaliveInitiates: true,
  renewsUnanswered: true,
  renewsIdle: false,
  repeatsConfirmation: false,
  keepalivesRenew: true,
};

export const CLIENT_POLICY: WgPolicy = {
  mayInitiate: true,
  attemptTimeMs: TUNNEL_ATTEMPT_TIME_MS,
  givingUp: "expired",
  stagedRestartsAttempt: false,
  keepaliveMs: CLIENT_KEEPALIVE_MS,
  keepaliveInitiates: false,
  renewsUnanswered: true,
  renewsIdle: true,
  repeatsConfirmation: true,
  keepalivesRenew: false,
};

export const GATEWAY_POLICY: WgPolicy = {
  mayInitiate: false,
  attemptTimeMs: TUNNEL_ATTEMPT_TIME_MS,
  givingUp: "expired",
  stagedRestartsAttempt: false,
  keepaliveMs: 0,
  keepaliveInitiates: false,
  renewsUnanswered: false,
  renewsIdle: false,
  repeatsConfirmation: false,
  keepalivesRenew: false,
};
