/** Somebody who knows our public key and nothing else: messages with a valid mac1, made without key operations. */
import { createSeededRandom, ip, randomBytes, type SocketAddress } from "../../../src/base/index.ts";
import type { HandshakeGuard } from "../../../src/plane/index.ts";
import { createHandshakeGuard, openCookieReply } from "../../../src/wireguard/cookie.ts";
import {
  encodeInitiation,
  encodeResponse,
  macFields,
  parseMessage,
} from "../../../src/wireguard/messages.ts";
import { NOBLE_CRYPTO } from "../../../src/wireguard/noble-crypto.ts";
import { createOwnIdentity, createRemoteIdentity, sealMacs } from "../../../src/wireguard/noise.ts";

export const STRANGER: SocketAddress = { address: ip("203.0.113.7"), port: 4000 };

export interface Stranger {
  /** A new initiation with a valid mac1; with mac2 from the cookie, if one is given. */
  initiation(cookie?: Uint8Array): Uint8Array<ArrayBuffer>;
  /** A response that names this peer of ours. */
  response(peerId: number): Uint8Array<ArrayBuffer>;
  /** The cookie in the answer to that initiation; undefined if it is not meant for it. */
  cookieIn(reply: Uint8Array, initiation: Uint8Array): Uint8Array | undefined;
}

/** Our guard, and a stranger who knows whose it is. */
export function createStranger(seed = 1): { readonly guard: HandshakeGuard; readonly stranger: Stranger } {
  const random = createSeededRandom(seed);
  const own = createOwnIdentity(NOBLE_CRYPTO, randomBytes(random, 32));
  const theirs = createOwnIdentity(NOBLE_CRYPTO, randomBytes(random, 32));
  const remote = createRemoteIdentity(NOBLE_CRYPTO, theirs, own.publicKey);
  if (remote === undefined) throw new Error("zero DH");
  let sender = 0;

  function sealed(datagram: Uint8Array, cookie?: Uint8Array): Uint8Array<ArrayBuffer> {
    sealMacs(NOBLE_CRYPTO, datagram, remote ?? own, cookie);
    return Uint8Array.from(datagram);
  }

  const stranger: Stranger = {
    initiation(cookie) {
      const fields = {
        sender: ++sender,
        ephemeral: randomBytes(random, 32),
        encryptedStatic: randomBytes(random, 48),
        encryptedStamp: randomBytes(random, 28),
      };
      return sealed(encodeInitiation(fields), cookie);
    },
    response(peerId) {
      const fields = {
        sender: ++sender,
        receiver: ((peerId << 8) | 1) >>> 0,
        ephemeral: randomBytes(random, 32),
        encryptedNothing: randomBytes(random, 16),
      };
      return sealed(encodeResponse(fields));
    },
    cookieIn(reply, initiation) {
      const message = parseMessage(reply);
      if (!message.ok || message.value.kind !== "cookie-reply") return undefined;
      return openCookieReply(NOBLE_CRYPTO, own, message.value, macFields(Uint8Array.from(initiation)).mac1);
    },
  };
  return { guard: createHandshakeGuard(random, own), stranger };
}
