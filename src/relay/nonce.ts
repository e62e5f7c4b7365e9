/**
 * Nonces without memory (RL-11): a nonce proves by itself when it was issued, and to which address.
 *
 *     base64url( issue time u32 ‖ first 14 bytes of HMAC-SHA256(key, time ‖ 04 or 06 ‖ address ‖ port u16) )
 *
 * A table of nonces would grow with every unauthenticated request, and a flood would fill it.
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import {
  concatBytes,
  equalSecret,
  fromBase64,
  type Random,
  randomBytes,
  type SocketAddress,
  toBase64,
} from "../base/index.ts";
import { NONCE_LIFE_SECONDS } from "./constants.ts";

const ISSUED_BYTES = 4;
const PROOF_BYTES = 14;
/** 18 bytes: base64 needs no padding. */
const NONCE_LENGTH = 24;

export interface Nonces {
  issue(unixSeconds: number, client: SocketAddress): string;
  /** Whether we issued it to this client, less than its life ago. */
  isFresh(text: string, unixSeconds: number, client: SocketAddress): boolean;
}

export function createNonces(random: Random): Nonces {
  const key = randomBytes(random, 32);
  return {
    issue: (unixSeconds, client) => encode(key, unixSeconds, client),
    isFresh(text, unixSeconds, client) {
      const issued = issueTimeOf(text);
      if (issued === undefined) return false;
      const age = unixSeconds - issued;
      if (age < 0 || age > NONCE_LIFE_SECONDS) return false;
      return equalSecret(ascii(text), ascii(encode(key, issued, client)));
    },
  };
}

function encode(key: Uint8Array, unixSeconds: number, { address, port }: SocketAddress): string {
  const time = new Uint8Array(ISSUED_BYTES);
  new DataView(time.buffer).setUint32(0, unixSeconds);
  const family = address.length === 4 ? 4 : 6;
  const bound = concatBytes(time, Uint8Array.of(family), address, Uint8Array.of(port >> 8, port & 0xff));
  const tag = hmac(sha256, key, bound).subarray(0, PROOF_BYTES);
  return toBase64(concatBytes(time, tag)).replaceAll("+", "-").replaceAll("/", "_");
}

function issueTimeOf(text: string): number | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length !== NONCE_LENGTH) return undefined;
  const bytes = fromBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  return bytes && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
