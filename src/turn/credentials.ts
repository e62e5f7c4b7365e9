/**
 * Credentials of relays (RL-2, RL-7, RL-8): the portal makes them, the relay checks them without a record.
 *
 *     username = EXPIRY ":" SALT                        EXPIRY: decimal Unix seconds
 *     password = base64(SHA-256(EXPIRY ":" SECRET ":" SALT)), no padding
 */
import { md5 } from "@noble/hashes/legacy.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { malformed, type Parsed, parsed, toBase64 } from "../base/index.ts";

/** A user name taken apart once, and passed on so. */
export interface RelayUsername {
  /** As it was sent: the key of MESSAGE-INTEGRITY comes from it. */
  readonly raw: string;
  /** Unix seconds. */
  readonly expiry: number;
  /** Names the user: renewed credentials of one peer have the same. */
  readonly salt: string;
}

export type MalformedUsername = "not-ascii" | "colon" | "expiry" | "salt";

const SALT_CHARS_MAX = 128;

/** Reads the value of USERNAME strictly (RL-8). Whether it has expired is the caller's question. */
export function parseRelayUsername(value: Uint8Array): Parsed<RelayUsername, MalformedUsername> {
  const raw = printableAscii(value);
  if (raw === undefined) return malformed("not-ascii");
  const [expiry, salt, ...more] = raw.split(":");
  if (expiry === undefined || salt === undefined || more.length > 0) return malformed("colon");
  if (!/^(0|[1-9]\d{0,14})$/.test(expiry)) return malformed("expiry");
  if (salt.length < 1 || salt.length > SALT_CHARS_MAX) return malformed("salt");
  return parsed({ raw, expiry: Number(expiry), salt });
}

/** What the portal gives out, for `expiry` in Unix seconds (RL-7). `stampSecret` is text (RL-6). */
export function relayCredentials(
  stampSecret: string,
  { expiry, salt }: { readonly expiry: number; readonly salt: string },
): { readonly username: string; readonly password: string } {
  return { username: `${expiry}:${salt}`, password: relayPassword(stampSecret, { expiry, salt }) };
}

export function relayPassword(
  stampSecret: string,
  { expiry, salt }: { readonly expiry: number; readonly salt: string },
): string {
  return unpaddedBase64(sha256(utf8(`${expiry}:${stampSecret}:${salt}`)));
}

/** The salt of a user (RL-7): base64 without padding of SHA-256 of the public key. */
export function relaySalt(publicKey: Uint8Array): string {
  return unpaddedBase64(sha256(publicKey));
}

export interface LongTermCredentials {
  readonly username: string;
  readonly realm: string;
  readonly password: string;
}

/** Key of MESSAGE-INTEGRITY, 16 bytes, over the text as sent: no SASLprep (RFC 8489 §9.2.2, RL-2). */
export function longTermKey({ username, realm, password }: LongTermCredentials): Uint8Array {
  return md5(utf8(`${username}:${realm}:${password}`));
}

/** The text, if all of it is printable ASCII. */
export function printableAscii(value: Uint8Array): string | undefined {
  if (!value.every((byte) => byte >= 0x20 && byte <= 0x7e)) return undefined;
  return String.fromCharCode(...value);
}

function unpaddedBase64(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/=+$/, "");
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
