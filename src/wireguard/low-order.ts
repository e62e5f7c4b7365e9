/**
 * Public keys with which every private key agrees on zeros (WG-6): the points of small order on
 * Curve25519 and its twist, in every encoding that X25519 reads (RFC 7748 §6.1). It ignores the top bit.
 */
import { equalBytes, fromHex } from "../base/index.ts";

const LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  // p − 1, p and p + 1 for p = 2^255 − 19.
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => fromHex(hex) ?? new Uint8Array(0));

export function isLowOrder(publicKey: Uint8Array): boolean {
  const point = publicKey.map((byte, i) => (i === 31 ? byte & 0x7f : byte));
  return LOW_ORDER.some((low) => equalBytes(low, point));
}
