/** XOR-MAPPED-ADDRESS and its relatives (RFC 8489 §14.2): zero u8, family u8, port u16, address. */
import { malformed, type Parsed, parsed, type SocketAddress } from "../base/index.ts";
import { FAMILY_IPV4, FAMILY_IPV6, MAGIC_COOKIE } from "./constants.ts";

const COOKIE = Uint8Array.of(0x21, 0x12, 0xa4, 0x42);

/** Surplus bytes are ignored; an unknown family or too few bytes are malformed (SN-6). */
export function parseXorAddress(
  value: Uint8Array,
  transactionId: Uint8Array,
): Parsed<SocketAddress, "xor-address"> {
  const family = value[1];
  const length = family === FAMILY_IPV4 ? 4 : family === FAMILY_IPV6 ? 16 : undefined;
  if (length === undefined || value.length < 4 + length) return malformed("xor-address");
  const port = (((value[2] ?? 0) << 8) | (value[3] ?? 0)) ^ (MAGIC_COOKIE >>> 16);
  return parsed({ address: masked(value.subarray(4, 4 + length), transactionId), port });
}

export function toXorAddress(address: SocketAddress, transactionId: Uint8Array): Uint8Array {
  const value = new Uint8Array(4 + address.address.length);
  const port = address.port ^ (MAGIC_COOKIE >>> 16);
  value[1] = address.address.length === 4 ? FAMILY_IPV4 : FAMILY_IPV6;
  value[2] = port >> 8;
  value[3] = port & 0xff;
  value.set(masked(address.address, transactionId), 4);
  return value;
}

/** The pad is the cookie followed by the transaction id; IPv4 uses its first four bytes. */
function masked(address: Uint8Array, transactionId: Uint8Array): Uint8Array {
  return Uint8Array.from(
    address,
    (byte, i) => byte ^ (i < 4 ? (COOKIE[i] ?? 0) : (transactionId[i - 4] ?? 0)),
  );
}
