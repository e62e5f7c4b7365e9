/**
 * Ids of what the portal knows: stable ones for what a file names, random ones for what connects.
 */
import { sha1 } from "@noble/hashes/legacy.js";
import { concatBytes, fromHex, type Random, randomBytes, toHex } from "../../base/index.ts";
import { formatUuid } from "../derive.ts";

/** The namespace of PT-113. */
const NAMESPACE = fromHex("54dae95200f6509f850af1a411e43cfe") ?? new Uint8Array(16);

/** UUIDv5 over `<slug>/<kind>/<name>` (PT-113). */
export function namedId(slug: string, kind: string, name: string): string {
  const text = new TextEncoder().encode(`${slug}/${kind}/${name}`);
  return withVersion(sha1(concatBytes(NAMESPACE, text)).slice(0, 16), 5);
}

/** UUIDv4. */
export function randomId(random: Random): string {
  return withVersion(randomBytes(random, 16), 4);
}

/** Writes version and variant (RFC 9562 §4) into a copy of 16 bytes. */
function withVersion(bytes: Uint8Array, version: number): string {
  const own = bytes.slice();
  own[6] = ((own[6] ?? 0) & 0x0f) | (version << 4);
  own[8] = ((own[8] ?? 0) & 0x3f) | 0x80;
  return formatUuid(toHex(own));
}
