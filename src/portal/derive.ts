/**
 * Keys and credentials that the portal derives instead of storing (PT-100 to PT-102, PT-105).
 *
 * Everything depends on stored data alone: a restart of the portal changes none of it, so that kept
 * connections can still make handshakes (founding requirement 001).
 */
import { hmac } from "@noble/hashes/hmac.js";
import { pbkdf2 } from "@noble/hashes/pbkdf2.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, fromBase64, type Random, randomBytes, toBase64 } from "../base/index.ts";
import type { IceCredentials } from "./protocol/index.ts";

/** Bytes of the secret that every device and gateway gets when it is first seen (PT-71). */
export const PSK_BASE_BYTES = 32;

/** What a pair of client and gateway derives from. Ids and base64 keys enter as text. */
export interface PairEnd {
  readonly id: string;
  readonly publicKey: Uint8Array;
  readonly pskBase: Uint8Array;
}

/** The pre-shared key of a pair: it changes exactly when a public key or a device does (PT-100). */
export function derivePresharedKey(client: PairEnd, gateway: PairEnd): Uint8Array {
  const secret = concatBytes(client.pskBase, gateway.pskBase);
  return pbkdf2(sha256, secret, utf8(`WG_PSK|${pairText(client, gateway)}`), { c: 1, dkLen: 32 });
}

/** The ICE credentials of both ends, constant while neither public key changes (PT-101). */
export function deriveIceCredentials(
  client: PairEnd,
  gateway: PairEnd,
): { readonly client: IceCredentials; readonly gateway: IceCredentials } {
  const secret = concatBytes(client.pskBase, gateway.pskBase);
  const text = toBase32(hmac(sha512, secret, utf8(`POSTERN_ICE|${pairText(client, gateway)}`)));
  return {
    client: { username: text.slice(0, 8), password: text.slice(8, 34) },
    gateway: { username: text.slice(34, 42), password: text.slice(42, 68) },
  };
}

/** The four kinds of token, by their letter (PT-105). */
export type TokenKind = "client" | "gateway" | "relay" | "api";

const KIND_LETTERS: Readonly<Record<TokenKind, string>> = {
  client: "c",
  gateway: "g",
  relay: "r",
  api: "a",
};

const TOKEN_ID_BYTES = 16;
const TOKEN_SECRET_BYTES = 32;
const TOKEN_CHARS = 70;
const MAX_NONCE_CHARS = 128;

/** A token taken apart. */
export interface Token {
  readonly kind: TokenKind;
  readonly nonce: string;
  readonly secret: Uint8Array;
}

/** A new token of 70 characters. */
export function createToken(kind: TokenKind, random: Random): string {
  return formatToken(kind, randomBytes(random, TOKEN_ID_BYTES), randomBytes(random, TOKEN_SECRET_BYTES));
}

export function formatToken(kind: TokenKind, id: Uint8Array, secret: Uint8Array): string {
  return `pt${KIND_LETTERS[kind]}_${toBase64Url(id)}_${toBase64Url(secret)}`;
}

/** Reads a token by position, because base64url itself contains `_`; `undefined` if it is none. */
export function parseToken(text: string): Token | undefined {
  const trimmed = text.trim();
  const start = trimmed.length - TOKEN_CHARS;
  if (start < 0) return undefined;
  const nonce = start === 0 ? "" : trimmed.slice(0, start - 1);
  if (start > 0 && (trimmed[start - 1] !== "." || !isNonce(nonce))) return undefined;
  const match = /^pt([cgra])_([A-Za-z0-9_-]{22})_([A-Za-z0-9_-]{43})$/.exec(trimmed.slice(start));
  const kind = (Object.keys(KIND_LETTERS) as TokenKind[]).find((k) => KIND_LETTERS[k] === match?.[1]);
  const secret = match?.[3] === undefined ? undefined : fromBase64Url(match[3]);
  if (kind === undefined || secret === undefined) return undefined;
  return { kind, nonce, secret };
}

/** What is stored of a token: random secrets need no slow hash (PT-105). */
export function hashToken(token: Pick<Token, "nonce" | "secret">): Uint8Array {
  const zero = new Uint8Array(1);
  return sha256(concatBytes(utf8("postern-token"), zero, utf8(token.nonce), zero, token.secret));
}

/** Credentials of a relay until `expiresS` (PT-102). */
export function deriveRelayCredentials(
  expiresS: number,
  stampSecret: string,
  publicKeyText: string,
): { readonly username: string; readonly password: string } {
  const salt = unpadded(toBase64(sha256(utf8(publicKeyText))));
  const password = unpadded(toBase64(sha256(utf8(`${expiresS}:${stampSecret}:${salt}`))));
  return { username: `${expiresS}:${salt}`, password };
}

/** The id of a relay, from its stamp secret: a restart makes it another relay (PT-102). */
export function deriveRelayId(stampSecret: string): string {
  const bits = [...sha256(utf8(stampSecret))].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const chosen = `${bits.slice(0, 48)}0100${bits.slice(52, 64)}10${bits.slice(66, 128)}`;
  const hex = (chosen.match(/.{4}/g) ?? []).map((nibble) => Number.parseInt(nibble, 2).toString(16)).join("");
  return formatUuid(hex);
}

/** 32 hexadecimal digits in the hyphenated form. */
export function formatUuid(hex: string): string {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    "-",
  );
}

function pairText(client: PairEnd, gateway: PairEnd): string {
  const clientKey = toBase64(client.publicKey);
  const gatewayKey = toBase64(gateway.publicKey);
  return `C_ID:${client.id}|G_ID:${gateway.id}|C_PK:${clientKey}|G_PK:${gatewayKey}`;
}

function isNonce(text: string): boolean {
  return text.length > 0 && text.length <= MAX_NONCE_CHARS && !text.includes(".");
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, "");
}

function toBase64Url(bytes: Uint8Array): string {
  return unpadded(toBase64(bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

function fromBase64Url(text: string): Uint8Array | undefined {
  const base64 = text.replaceAll("-", "+").replaceAll("_", "/");
  return fromBase64(base64.padEnd(Math.ceil(base64.length / 4) * 4, "="));
}

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

/** RFC 4648 §6, lower case, without padding. */
function toBase32(bytes: Uint8Array): string {
  let text = "";
  let word = 0;
  let bits = 0;
  for (const byte of bytes) {
    word = ((word << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(word >> bits) & 31];
    }
  }
  return bits > 0 ? text + BASE32[(word << (5 - bits)) & 31] : text;
}
