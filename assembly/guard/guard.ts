/**
 * Who may ask for control's time (PG-160, WG-22, WG-31, WG-32).
 *
 * Control needs up to a hundred microseconds for a handshake message, and half a millisecond for an
 * initiation that it answers; strangers can send fifty thousand of them in a second. So what costs little is
 * decided here: mac1, then who it comes from, then, while there are too many, the cookie.
 *
 * All functions judge a datagram of the batch at hand. They return 0 if control shall see it, or the reason
 * under which it is dropped; a cookie reply is a reason as well. The twin, without a key, is
 * `test/twin/plane/guard.ts`.
 */
import { isMac, mac } from "../crypto/blake2s";
import { CookieReply, Response } from "../header";
import {
  COOKIE_SHARE,
  Drop,
  FREE_SHARE,
  Guard,
  INITIATION_BYTES,
  Ingress,
  KEY_BYTES,
  KNOWN_SHARE,
  LOAD_MS,
  MESSAGE_COOKIE,
  MESSAGE_INITIATION,
  NO_SLOT,
  PLANE_ADDRESS,
  Plane,
  RESPONSE_BYTES,
  RESPONSE_SHARE,
  SHARE_COOKIE,
  SHARE_FREE,
  SHARE_KNOWN,
  SHARE_KNOWN_STUN,
  SHARE_MAC2,
  SHARE_REPLY,
  SHARE_RESPONSE,
  SHARE_STUN,
  SHARE_UNKNOWN,
  STUN_CALM,
  STUN_SHARE,
  UNKNOWN_SHARE,
  Worker,
} from "../layout";
import { findPeer } from "../table/session";
import { partOf, socketHolder, sourceHolder, takeBudget, takeShare, usedOf } from "./budget";
import { cookieOf, hasValidMac2, replyWithCookie } from "./cookie";
import { isKnownSource } from "./known-source";
import { replyLimit } from "./replies";

const MAC_FIELD_BYTES: u32 = 16;

/** The guard that control has published, or 0: without a key of our own nothing can be checked. */
export function currentGuard(): usize {
  return atomic.load<usize>(PLANE_ADDRESS, Plane.GUARD);
}

/** A message of STUN. Peers' sources, and relays', have a share that strangers do not take from. */
export function judgeStun(worker: usize, isRelayed: bool): u32 {
  if (isRelayed || isKnownSource(worker)) {
    return takeShare(worker, SHARE_KNOWN_STUN, STUN_SHARE) ? 0 : Drop.PUNT_RATE;
  }
  // While there are few, a whole office behind one address may set up its connections at once.
  const isCalm = usedOf(worker, SHARE_STUN) < partOf(STUN_CALM);
  if (!isCalm && !takeBudget(worker, SHARE_STUN, sourceHolder(worker))) {
    return Drop.PUNT_RATE;
  }
  return takeShare(worker, SHARE_STUN, STUN_SHARE) ? 0 : Drop.PUNT_RATE;
}

/** A datagram of no known kind. */
export function judgeUnknown(worker: usize): u32 {
  return takeShare(worker, SHARE_UNKNOWN, UNKNOWN_SHARE) ? 0 : Drop.PUNT_RATE;
}

/** A handshake message, of the length that its type has. */
export function judgeHandshake(worker: usize, at: usize, isRelayed: bool): u32 {
  const guard = currentGuard();
  if (guard == 0) return takeShare(worker, SHARE_FREE, FREE_SHARE) ? 0 : Drop.PUNT_RATE;
  const type = load<u32>(at);
  if (type == MESSAGE_COOKIE) return judgeAnswer(worker, load<u32>(at, CookieReply.RECEIVER));
  if (!isRelayed && type == MESSAGE_INITIATION) countForFlood(worker, at);
  const signed = (type == MESSAGE_INITIATION ? INITIATION_BYTES : RESPONSE_BYTES) - 2 * MAC_FIELD_BYTES;
  const expected = mac(guard + Guard.MAC1_KEY, KEY_BYTES, at, signed, worker + Ingress.MAC_SCRATCH);
  if (!isMac(expected, at + <usize>signed)) return Drop.WG_BAD_MAC1;
  if (type != MESSAGE_INITIATION) return judgeAnswer(worker, load<u32>(at, Response.RECEIVER));
  return judgeInitiation(worker, guard, at, signed, isRelayed);
}

/** Each kind by itself: a filter in the kernel sees whether there is a mac2, not whether it is right. */
function countForFlood(worker: usize, at: usize): void {
  if (isAnswering(at)) store<u32>(worker, load<u32>(worker, Ingress.STALE_COUNT) + 1, Ingress.STALE_COUNT);
  else store<u32>(worker, load<u32>(worker, Ingress.FLOOD_COUNT) + 1, Ingress.FLOOD_COUNT);
}

/** Whether an initiation has a mac2: one that is all zero is none. */
function isAnswering(at: usize): bool {
  return v128.any_true(v128.load(at + <usize>(INITIATION_BYTES - MAC_FIELD_BYTES)));
}

/** A response or cookie reply names one of our peers; each peer has a budget, all of them a share. */
function judgeAnswer(worker: usize, receiver: u32): u32 {
  if (findPeer(receiver >> 8) == NO_SLOT) return Drop.WG_UNKNOWN_INDEX;
  if (!takeBudget(worker, SHARE_RESPONSE, <u64>(receiver >> 8))) return Drop.WG_SOURCE_RATE;
  return takeShare(worker, SHARE_RESPONSE, RESPONSE_SHARE) ? 0 : Drop.PUNT_RATE;
}

/**
 * A relay's channel is bound to a peer that ICE talks to, and a known source has proved to be one: they ask for
 * no cookie. Everybody else shares what is free, and then needs a cookie, for which nothing is kept.
 */
function judgeInitiation(worker: usize, guard: usize, at: usize, signed: u32, isRelayed: bool): u32 {
  if (isRelayed) return takeShare(worker, SHARE_KNOWN, KNOWN_SHARE) ? 0 : Drop.PUNT_RATE;
  const isKnown = isKnownSource(worker) && takeBudget(worker, SHARE_KNOWN, socketHolder(worker));
  if (isKnown && takeShare(worker, SHARE_KNOWN, KNOWN_SHARE)) return 0;
  const now = load<u64>(worker, Worker.NOW);
  if (now >= load<u64>(worker, Ingress.LOAD_UNTIL)) {
    if (takeShare(worker, SHARE_FREE, FREE_SHARE)) return 0;
    store<u64>(worker, now + LOAD_MS, Ingress.LOAD_UNTIL);
  }
  const source = sourceHolder(worker);
  // Most of a flood gets no reply: for that nothing is hashed but mac1.
  let replies = replyLimit(worker);
  if (isAnswering(at)) {
    if (!takeShare(worker, SHARE_MAC2, replies + (replies >> 1))) return Drop.WG_UNDER_LOAD;
    if (hasValidMac2(worker, cookieOf(worker, guard), at, signed + MAC_FIELD_BYTES)) {
      // Only what is wrong is a flood's.
      store<u32>(worker, load<u32>(worker, Ingress.STALE_COUNT) - 1, Ingress.STALE_COUNT);
      if (!takeBudget(worker, SHARE_COOKIE, source)) return Drop.WG_SOURCE_RATE;
      return takeShare(worker, SHARE_COOKIE, COOKIE_SHARE) ? 0 : Drop.PUNT_RATE;
    }
    // Looking has cost something: fewer are answered, and not those that come without any.
    replies >>= 1;
  }
  if (!takeBudget(worker, SHARE_REPLY, source)) return Drop.WG_UNDER_LOAD;
  if (!takeShare(worker, SHARE_REPLY, replies)) return Drop.WG_UNDER_LOAD;
  return replyWithCookie(worker, guard, cookieOf(worker, guard), at, signed)
    ? Drop.WG_COOKIE_ASKED
    : Drop.WG_UNDER_LOAD;
}
