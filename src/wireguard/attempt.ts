/** Our own handshakes: starting, retransmitting and giving up (section 7). */
import { after, type Instant, randomBelow } from "../base/index.ts";
import { agreedRemote } from "./agreement.ts";
import {
  ANSWERABLE,
  ANSWERABLE_FAST,
  COOKIE_USE_LIFE_MS,
  FAST_REPEATS,
  MAX_JITTER_MS,
  REKEY_TIMEOUT_MS,
  REPEAT_MIN_MS,
  REPEAT_ROUND_TRIPS,
} from "./constants.ts";
import type { DeviceCore } from "./device-core.ts";
import { queueKeepalive } from "./keepalive.ts";
import { formatIndex, macFields } from "./messages.ts";
import { createInitiation, forget, sealMacs } from "./noise.ts";
import { activityOf, type Peer, usableSession } from "./peer.ts";
import { dropStaged, forgetAttempt, nextLocalIndex, retireAllSessions } from "./sessions.ts";
import { nextStamp } from "./tai64n.ts";

/**
 * Starts a handshake at once, or as soon as the pause after the last handshake message ends (WG-34).
 * Returns whether one is on its way because of this call.
 */
export function startNow(core: DeviceCore, peer: Peer, now: Instant, cause: string): boolean {
  if (!peer.policy.mayInitiate || peer.attempt.kind !== "idle" || core.own === undefined) return false;
  const at = Math.max(now, pauseEnd(peer)) as Instant;
  if (at > now || !peer.isReachable) peer.attempt = { kind: "scheduled", at, cause };
  else sendInitiation(core, peer, now, { startedAt: now, cause });
  return true;
}

/** Schedules a handshake that a timer asks for, after a random delay (WG-35). */
export function schedule(core: DeviceCore, peer: Peer, now: Instant, cause: string): void {
  const jittered = now + randomBelow(core.random, MAX_JITTER_MS + 1);
  peer.attempt = { kind: "scheduled", at: Math.max(jittered, pauseEnd(peer)) as Instant, cause };
}

function pauseEnd(peer: Peer): number {
  return peer.lastMessage === undefined ? 0 : peer.lastMessage.sentAt + REKEY_TIMEOUT_MS;
}

/** Sends what was scheduled (T4). A session that came in the meantime does not answer the wish. */
export function sendScheduled(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.attempt.kind !== "scheduled") return;
  sendInitiation(core, peer, now, { startedAt: now, cause: peer.attempt.cause });
}

/** The next initiation of a running attempt (WG-36). */
export function retransmit(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.attempt.kind !== "pending") return;
  sendInitiation(core, peer, now, { startedAt: peer.attempt.startedAt, cause: "retransmission" });
}

/**
 * The peer wants a cookie and has given us one: the initiation goes again at once, with it (WG-30). Whoever sees
 * our messages could answer each with a cookie, so this happens once in REKEY_TIMEOUT. A cookie for anything
 * else than our latest initiation waits for the next message.
 */
export function useCookie(core: DeviceCore, peer: Peer, now: Instant, sender: number): void {
  if (peer.attempt.kind !== "pending" || peer.attempt.latest.sender !== sender) return;
  if (peer.cookieUsedAt !== undefined && now - peer.cookieUsedAt < REKEY_TIMEOUT_MS) return;
  peer.cookieUsedAt = now;
  sendInitiation(core, peer, now, { startedAt: peer.attempt.startedAt, cause: "cookie" });
}

function sendInitiation(
  core: DeviceCore,
  peer: Peer,
  now: Instant,
  attempt: { readonly startedAt: Instant; readonly cause: string },
): void {
  const { own } = core;
  if (own === undefined) return;
  const stamp = nextStamp(core.unixEpoch + now, peer.stamps.sent);
  peer.stamps.sent = stamp;
  const sender = nextLocalIndex(peer);
  const ephemeral = core.crypto.ephemeral(core.random);
  const remote = agreedRemote(core, peer);
  const made = createInitiation(core.crypto, { own, remote, sender, ephemeral, stamp });
  sendHandshakeMessage(core, peer, now, {
    kind: "initiation",
    sender,
    datagram: made.datagram,
    isRetransmission: peer.attempt.kind === "pending",
  });

  const before = peer.attempt.kind === "pending" ? peer.attempt : undefined;
  const tries = (before?.tries ?? 0) + 1;
  const answerable = isFast(peer, tries) ? ANSWERABLE_FAST : ANSWERABLE;
  const sent = before === undefined ? [] : [before.latest, ...before.earlier];
  for (const forgotten of sent.slice(answerable - 1)) forget(forgotten);
  peer.attempt = {
    kind: "pending",
    startedAt: attempt.startedAt,
    retransmitAt: after(now, repeatAfterMs(core, peer, tries)),
    latest: { ...made.pending, sentAt: now },
    earlier: sent.slice(0, answerable - 1),
    tries,
  };
  peer.log.debug?.("initiation sent", { index: formatIndex(sender), cause: attempt.cause });
}

/** Whether the next repeat follows the path's round trips: a first handshake, and not too often (WG-75). */
function isFast(peer: Peer, tries: number): boolean {
  return peer.pathRttMs !== undefined && peer.lastHandshakeAt === undefined && tries <= FAST_REPEATS;
}

/** The pause behind an initiation: jitter keeps two that collided from colliding again (WG-36). */
function repeatAfterMs({ random }: DeviceCore, peer: Peer, tries: number): number {
  const { pathRttMs } = peer;
  if (pathRttMs === undefined || !isFast(peer, tries)) {
    return REKEY_TIMEOUT_MS + randomBelow(random, MAX_JITTER_MS + 1);
  }
  const pauseMs = Math.ceil(
    Math.min(REKEY_TIMEOUT_MS, Math.max(REPEAT_MIN_MS, REPEAT_ROUND_TRIPS * pathRttMs)),
  );
  return pauseMs + randomBelow(random, (pauseMs >> 2) + 1);
}

/** Puts the MACs on an initiation or response and queues it (WG-7, WG-30, WG-41). */
export function sendHandshakeMessage(
  core: DeviceCore,
  peer: Peer,
  now: Instant,
  message: {
    readonly kind: "initiation" | "response";
    readonly sender: number;
    readonly datagram: Uint8Array;
    readonly isRetransmission: boolean;
  },
): void {
  const { kind, sender, datagram, isRetransmission } = message;
  const { cookie } = peer;
  const isFresh = cookie !== undefined && now - cookie.receivedAt < COOKIE_USE_LIFE_MS;
  sealMacs(core.crypto, datagram, peer.remote, isFresh ? cookie.value : undefined);
  const mac1 = macFields(datagram).mac1.slice();
  peer.lastMessage = { sender, mac1, sentAt: now, hasCookieReply: false };
  peer.sentAt = now;
  core.transmits.push({ kind, peer: peer.ref, datagram, isRetransmission });
  core.records.noteSent(peer.ref.slot, now, datagram.length);
}

/** The attempt ran out of time (WG-37). Who is doubted by ICE, or still heard, is tried again. */
export function giveUp(core: DeviceCore, peer: Peer, now: Instant): void {
  if (peer.attempt.kind !== "pending") return;
  if (peer.isSuspect || isHeard(core, peer, now)) {
    peer.attempt = { ...peer.attempt, startedAt: now };
    return;
  }
  if (peer.policy.givingUp === "expired") {
    expire(core, peer, "no-response");
    return;
  }
  forgetAttempt(peer);
  dropStaged(core, peer, "wg_no_response");
  peer.dormantSince = now;
  peer.wantsRekey = false;
  peer.log.info?.("handshake given up", {});
}

/**
 * Tunnel mode: authenticated data came in lately on a session that is still good for it. Somebody floods
 * the peer with handshakes then, or ours are lost; the tunnel itself works.
 */
function isHeard(core: DeviceCore, peer: Peer, now: Instant): boolean {
  if (peer.policy.givingUp !== "expired") return false;
  const isOpen = peer.sessions.some((session) => session !== undefined && now < session.recvUntil);
  const { recvData } = activityOf(core.records, peer);
  return isOpen && recvData > 0 && now - recvData < peer.policy.attemptTimeMs;
}

/** The end of a tunnel-mode peer (WG-37 to WG-39). */
export function expire(core: DeviceCore, peer: Peer, reason: "no-response" | "no-session"): void {
  const index = peer.lastMessage === undefined ? undefined : formatIndex(peer.lastMessage.sender);
  forgetAttempt(peer);
  retireAllSessions(core, peer);
  dropStaged(core, peer, "wg_no_response");
  peer.cookie = undefined;
  peer.attempt = { kind: "expired" };
  core.events.push({ kind: "expired", peer: peer.ref, reason });
  peer.log.info?.("peer expired", { reason, index });
}

/** The persistent keepalive, asked for by a person: at once, on whatever there is (WG-60). */
export function sendKeepaliveNow(core: DeviceCore, peer: Peer, now: Instant): void {
  const session = usableSession(peer, now);
  if (session !== undefined) queueKeepalive(core, peer, now, session);
  else if (peer.policy.keepaliveInitiates) startNow(core, peer, now, "keepalive");
}
