/**
 * Load and cookies (section 6). The receiver's side decides whether a handshake message with a valid
 * mac1 may cost key operations; the sender's side opens the cookie that it is given instead.
 */
import {
  copyOf,
  equalSecret,
  type Instant,
  type Random,
  randomBytes,
  type SocketAddress,
} from "../base/index.ts";
import type { HandshakeGuard } from "../plane/index.ts";
import {
  COOKIE_SECRET_LIFE_MS,
  HANDSHAKE_WINDOW_MS,
  KEY_BYTES,
  SOURCE_BUCKETS_MAX,
  SOURCE_BURST,
  SOURCE_RATE_PER_SECOND,
  XNONCE_BYTES,
} from "./constants.ts";
import { type CookieReply, encodeCookieReply, type Initiation, type Response } from "./messages.ts";
import { cookieKeyOf, type OwnIdentity, type PublicIdentity } from "./noise.ts";
import type { HandshakeCrypto } from "./primitives.ts";

export type LoadVerdict = "pass" | "ask-cookie" | "wg_under_load" | "wg_source_rate";

/** What the plane judges handshake messages with, before they come here (PG-160). */
export function createHandshakeGuard(random: Random, own: OwnIdentity): HandshakeGuard {
  const { mac1Key, cookieKey } = own;
  return {
    mac1Key,
    cookieKey,
    secret: randomBytes(random, KEY_BYTES),
    nonce: randomBytes(random, GUARD_NONCE_BYTES),
  };
}

export interface LoadGuard {
  /** Counts a message whose mac1 is valid and says what may happen to it (WG-31, WG-32). */
  judge(now: Instant, message: Initiation | Response, source: SocketAddress | undefined): LoadVerdict;
  /** The answer to a message judged `ask-cookie` (WG-33). */
  encodeReply(
    now: Instant,
    own: OwnIdentity,
    message: Initiation | Response,
    source: SocketAddress,
  ): Uint8Array;
}

/** The plane counts in the rest of the 24 bytes. */
const GUARD_NONCE_BYTES = 16;

interface Bucket {
  tokens: number;
  filledAt: Instant;
}

export function createLoadGuard(options: {
  readonly crypto: HandshakeCrypto;
  readonly random: Random;
  readonly limit: number;
}): LoadGuard {
  const { crypto, random, limit } = options;
  const buckets = new Map<string, Bucket>();
  const secret = new Uint8Array(KEY_BYTES);
  let secretMadeAt: Instant | undefined;
  let windowBegan: Instant | undefined;
  let counted = 0;

  /** One window at a time, begun by a message and ended by one: no timer (WG-31). */
  function isUnderLoad(now: Instant): boolean {
    if (windowBegan === undefined || now - windowBegan >= HANDSHAKE_WINDOW_MS) {
      windowBegan = now;
      counted = 0;
    }
    if (counted >= limit) return true;
    counted++;
    return false;
  }

  function hasLiveSecret(now: Instant): boolean {
    return secretMadeAt !== undefined && now - secretMadeAt < COOKIE_SECRET_LIFE_MS;
  }

  function hasValidMac2(now: Instant, message: Initiation | Response, source: SocketAddress): boolean {
    if (!hasLiveSecret(now)) return false;
    const expected = crypto.mac(crypto.mac(secret, sourceBytes(source)), message.macs.beforeMac2);
    return equalSecret(expected, message.macs.mac2);
  }

  function takesToken(now: Instant, source: SocketAddress): boolean {
    const key = bucketKey(source);
    const bucket = buckets.get(key) ?? { tokens: SOURCE_BURST, filledAt: now };
    const refill = ((now - bucket.filledAt) * SOURCE_RATE_PER_SECOND) / 1000;
    bucket.tokens = Math.min(SOURCE_BURST, bucket.tokens + refill);
    bucket.filledAt = now;
    // Re-inserted, so that the first entry is the one unused for longest.
    buckets.delete(key);
    if (buckets.size >= SOURCE_BUCKETS_MAX) deleteFirst(buckets);
    buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  return {
    judge(now, message, source) {
      if (!isUnderLoad(now)) return "pass";
      if (source === undefined) return "wg_under_load";
      if (!hasValidMac2(now, message, source)) return "ask-cookie";
      return takesToken(now, source) ? "pass" : "wg_source_rate";
    },
    encodeReply(now, own, message, source) {
      if (!hasLiveSecret(now)) {
        random.fill(secret);
        secretMadeAt = now;
      }
      const nonce = randomBytes(random, XNONCE_BYTES);
      const cookie = crypto.mac(secret, sourceBytes(source));
      const encryptedCookie = crypto.sealX(own.cookieKey, nonce, cookie, message.macs.mac1);
      return encodeCookieReply({ receiver: message.sender, nonce, encryptedCookie });
    },
  };
}

/** The sender's side: the cookie in a reply to our message with that mac1 (WG-30). */
export function openCookieReply(
  crypto: HandshakeCrypto,
  from: PublicIdentity,
  reply: CookieReply,
  mac1: Uint8Array,
): Uint8Array | undefined {
  const cookie = crypto.openX(cookieKeyOf(crypto, from.publicKey), reply.nonce, reply.encryptedCookie, mac1);
  return cookie === undefined ? undefined : copyOf(cookie);
}

/** Address and big-endian port, so that a cookie is good for one socket only (WG-33). */
function sourceBytes({ address, port }: SocketAddress): Uint8Array {
  const bytes = new Uint8Array(address.length + 2);
  bytes.set(address);
  bytes[address.length] = port >> 8;
  bytes[address.length + 1] = port & 0xff;
  return bytes;
}

/** An IPv4 address or an IPv6 /64: what one customer of a provider has (WG-32). */
function bucketKey({ address }: SocketAddress): string {
  return address.subarray(0, address.length === 4 ? 4 : 8).join(".");
}

function deleteFirst(map: Map<string, Bucket>): void {
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
