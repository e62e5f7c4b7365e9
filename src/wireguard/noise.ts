/**
 * The handshake of WG-5, Noise_IKpsk2, in both roles.
 *
 *   initiator                                 responder
 *   createInitiation  ── e, es, s, ss, {t} ─▶ openInitiator, openStamp
 *   openResponse      ◀─ e, ee, se, psk, {} ─ createResponse
 *
 * Names in comments: C chaining key, H transcript hash, S static, E ephemeral, i initiator,
 * r responder. Nothing here has state; what must live on between two messages is returned, and
 * overwritten with `forget` (WG-27).
 */
import { assert, malformed, type Parsed, parsed } from "../base/index.ts";
import { CONSTRUCTION, IDENTIFIER, KEY_BYTES, LABEL_COOKIE, LABEL_MAC1 } from "./constants.ts";
import { encodeInitiation, encodeResponse, type Initiation, macFields, type Response } from "./messages.ts";
import { type HandshakeCrypto, type KeyPair, kdf1, kdf2, kdf3, NOBLE_SYMMETRIC } from "./primitives.ts";

/** What is derived once from a public key: for messages towards its owner. */
export interface PublicIdentity {
  readonly publicKey: Uint8Array;
  readonly mac1Key: Uint8Array;
}

/** Of other keys the last two are made when they are wanted: a responder with ten thousand peers never does. */
export interface OwnIdentity extends PublicIdentity {
  readonly pair: KeyPair;
  readonly initialHash: Uint8Array;
  readonly cookieKey: Uint8Array;
}

export interface RemoteIdentity extends PublicIdentity {
  /** DH(Si, Sr), the same in both directions. */
  readonly sharedStatic: Uint8Array;
}

/** The running values of a handshake between two messages. */
export interface NoiseState {
  readonly chainingKey: Uint8Array;
  readonly hash: Uint8Array;
}

/** Our side of an initiation that may still be answered (WG-25). */
export interface PendingInitiation extends NoiseState {
  readonly sender: number;
  readonly ephemeral: KeyPair;
}

export interface TransportKeys {
  readonly sendKey: Uint8Array;
  readonly receiveKey: Uint8Array;
}

export const NOTHING = new Uint8Array(0);
const ZERO_NONCE = new Uint8Array(12);
const NO_PRESHARED_KEY = new Uint8Array(KEY_BYTES);
const INITIAL_CHAINING_KEY = NOBLE_SYMMETRIC.hash(ascii(CONSTRUCTION));
const INITIAL_HASH = NOBLE_SYMMETRIC.hash(INITIAL_CHAINING_KEY, ascii(IDENTIFIER));

/** Takes `privateKey` over. */
export function createOwnIdentity(crypto: HandshakeCrypto, privateKey: Uint8Array): OwnIdentity {
  const pair = crypto.keyPair(privateKey);
  const { publicKey } = pair;
  return {
    ...createPublicIdentity(crypto, publicKey),
    pair,
    initialHash: initialHashOf(crypto, publicKey),
    cookieKey: cookieKeyOf(crypto, publicKey),
  };
}

/**
 * `undefined` when Diffie-Hellman with that key gives zeros (WG-6). While we have no key of our own,
 * the shared secret is a place holder: nothing is sealed or opened until there is one.
 */
export function createRemoteIdentity(
  crypto: HandshakeCrypto,
  own: OwnIdentity | undefined,
  publicKey: Uint8Array,
): RemoteIdentity | undefined {
  const sharedStatic = own === undefined ? new Uint8Array(KEY_BYTES) : own.pair.dh(publicKey);
  if (sharedStatic === undefined) return undefined;
  return { ...createPublicIdentity(crypto, publicKey), sharedStatic };
}

function createPublicIdentity(crypto: HandshakeCrypto, publicKey: Uint8Array): PublicIdentity {
  return { publicKey, mac1Key: crypto.hash(ascii(LABEL_MAC1), publicKey) };
}

/** H after the responder's static key was mixed in: the start of every initiation to it. */
function initialHashOf(crypto: HandshakeCrypto, responder: Uint8Array): Uint8Array {
  return crypto.hash(INITIAL_HASH, responder);
}

/** Seals the cookies that the key's owner gives (WG-30). */
export function cookieKeyOf(crypto: HandshakeCrypto, publicKey: Uint8Array): Uint8Array {
  return crypto.hash(ascii(LABEL_COOKIE), publicKey);
}

/** Steps 1 to 3, as initiator. MACs are still zero: see `sealMacs`. */
export function createInitiation(
  crypto: HandshakeCrypto,
  input: {
    readonly own: OwnIdentity;
    readonly remote: RemoteIdentity;
    readonly sender: number;
    /** Not used for anything else (`HandshakeCrypto.ephemeral`). */
    readonly ephemeral: KeyPair;
    readonly stamp: Uint8Array;
  },
): { readonly datagram: Uint8Array; readonly pending: PendingInitiation } {
  const { own, remote, sender, ephemeral } = input;
  const c1 = kdf1(crypto, INITIAL_CHAINING_KEY, ephemeral.publicKey);
  const h1 = crypto.hash(initialHashOf(crypto, remote.publicKey), ephemeral.publicKey);

  const es = ephemeral.dh(remote.publicKey);
  assert(es !== undefined, "a key with zero DH is refused when its peer is added (WG-6)");
  const [c2, staticSealer] = kdf2(crypto, c1, es);
  const encryptedStatic = crypto.seal(staticSealer, ZERO_NONCE, own.publicKey, h1);
  const h2 = crypto.hash(h1, encryptedStatic);

  const [c3, stampSealer] = kdf2(crypto, c2, remote.sharedStatic);
  const encryptedStamp = crypto.seal(stampSealer, ZERO_NONCE, input.stamp, h2);
  const h3 = crypto.hash(h2, encryptedStamp);
  erase(es, c1, c2, staticSealer, stampSealer);
  return {
    datagram: encodeInitiation({ sender, ephemeral: ephemeral.publicKey, encryptedStatic, encryptedStamp }),
    pending: { sender, ephemeral, chainingKey: c3, hash: h3 },
  };
}

/** Steps 1 and 2, as responder: who calls. The static key is authentic only after `openStamp`. */
export function openInitiator(
  crypto: HandshakeCrypto,
  own: OwnIdentity,
  message: Initiation,
): Parsed<NoiseState & { readonly publicKey: Uint8Array }, "wg_zero_dh" | "wg_bad_init"> {
  const c1 = kdf1(crypto, INITIAL_CHAINING_KEY, message.ephemeral);
  const h1 = crypto.hash(own.initialHash, message.ephemeral);
  const es = own.pair.dh(message.ephemeral);
  if (es === undefined) return malformed("wg_zero_dh");
  const [c2, staticOpener] = kdf2(crypto, c1, es);
  const publicKey = crypto.open(staticOpener, ZERO_NONCE, message.encryptedStatic, h1);
  erase(es, c1, staticOpener);
  if (publicKey === undefined) return malformed("wg_bad_init");
  return parsed({ publicKey, chainingKey: c2, hash: crypto.hash(h1, message.encryptedStatic) });
}

/** Step 3, as responder: the stamp, which proves that the caller has the static key. */
export function openStamp(
  crypto: HandshakeCrypto,
  remote: RemoteIdentity,
  state: NoiseState,
  message: Initiation,
): Parsed<NoiseState & { readonly stamp: Uint8Array }, "wg_bad_init"> {
  const [c3, stampOpener] = kdf2(crypto, state.chainingKey, remote.sharedStatic);
  const stamp = crypto.open(stampOpener, ZERO_NONCE, message.encryptedStamp, state.hash);
  erase(stampOpener);
  if (stamp === undefined) return malformed("wg_bad_init");
  return parsed({ stamp, chainingKey: c3, hash: crypto.hash(state.hash, message.encryptedStamp) });
}

/** Steps 4 to 7, as responder. MACs are still zero: see `sealMacs`. */
export function createResponse(
  crypto: HandshakeCrypto,
  input: {
    readonly state: NoiseState;
    readonly remote: RemoteIdentity;
    readonly initiation: Initiation;
    readonly sender: number;
    /** Not used for anything else; erased here. */
    readonly ephemeral: KeyPair;
    readonly presharedKey: Uint8Array | undefined;
  },
): Parsed<{ readonly datagram: Uint8Array; readonly keys: TransportKeys }, "wg_zero_dh"> {
  const { state, remote, initiation, sender } = input;
  const ephemeral = input.ephemeral.publicKey;
  const ee = input.ephemeral.dh(initiation.ephemeral);
  const se = input.ephemeral.dh(remote.publicKey);
  input.ephemeral.erase();
  if (ee === undefined || se === undefined) return malformed("wg_zero_dh");
  const mixed = mixResponse(crypto, state, { ephemeral, ee, se, presharedKey: input.presharedKey });
  const encryptedNothing = crypto.seal(mixed.key, ZERO_NONCE, NOTHING, mixed.hash);
  const [initiatorSends, responderSends] = kdf2(crypto, mixed.chainingKey, NOTHING);
  erase(ee, se, mixed.key, mixed.chainingKey);
  return parsed({
    datagram: encodeResponse({ sender, receiver: initiation.sender, ephemeral, encryptedNothing }),
    keys: { sendKey: responderSends, receiveKey: initiatorSends },
  });
}

/** Steps 4 to 7, as initiator. The pending state stays, since a forged response must not end it. */
export function openResponse(
  crypto: HandshakeCrypto,
  input: {
    readonly own: OwnIdentity;
    readonly pending: PendingInitiation;
    readonly response: Response;
    readonly presharedKey: Uint8Array | undefined;
  },
): Parsed<TransportKeys, "wg_zero_dh" | "wg_bad_response"> {
  const { own, pending, response } = input;
  const ee = pending.ephemeral.dh(response.ephemeral);
  const se = own.pair.dh(response.ephemeral);
  if (ee === undefined || se === undefined) return malformed("wg_zero_dh");
  const { ephemeral } = response;
  const mixed = mixResponse(crypto, pending, { ephemeral, ee, se, presharedKey: input.presharedKey });
  const nothing = crypto.open(mixed.key, ZERO_NONCE, response.encryptedNothing, mixed.hash);
  erase(ee, se, mixed.key);
  if (nothing === undefined) return malformed("wg_bad_response");
  const [initiatorSends, responderSends] = kdf2(crypto, mixed.chainingKey, NOTHING);
  erase(mixed.chainingKey);
  return parsed({ sendKey: initiatorSends, receiveKey: responderSends });
}

/** Steps 4 to 6, equal for both roles: the key and the H with which "nothing" is sealed, and C. */
function mixResponse(
  crypto: HandshakeCrypto,
  state: NoiseState,
  input: {
    readonly ephemeral: Uint8Array;
    readonly ee: Uint8Array;
    readonly se: Uint8Array;
    readonly presharedKey: Uint8Array | undefined;
  },
): NoiseState & { readonly key: Uint8Array } {
  const h5 = crypto.hash(state.hash, input.ephemeral);
  const c4 = kdf1(crypto, state.chainingKey, input.ephemeral);
  const c5 = kdf1(crypto, c4, input.ee);
  const c6 = kdf1(crypto, c5, input.se);
  const [c7, tau, key] = kdf3(crypto, c6, input.presharedKey ?? NO_PRESHARED_KEY);
  const h6 = crypto.hash(h5, tau);
  erase(c4, c5, c6, tau);
  return { chainingKey: c7, hash: h6, key };
}

/** Fills in mac1 and, with a cookie of the receiver, mac2 (WG-7). */
export function sealMacs(
  crypto: HandshakeCrypto,
  datagram: Uint8Array,
  receiver: PublicIdentity,
  cookie: Uint8Array | undefined,
): void {
  const fields = macFields(datagram);
  fields.mac1.set(crypto.mac(receiver.mac1Key, fields.beforeMac1));
  if (cookie !== undefined) fields.mac2.set(crypto.mac(cookie, fields.beforeMac2));
}

/** Overwrites what a handshake kept between its messages (WG-27). */
export function forget(pending: PendingInitiation): void {
  pending.ephemeral.erase();
  erase(pending.chainingKey, pending.hash);
}

function erase(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
