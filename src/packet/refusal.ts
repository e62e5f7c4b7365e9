/** Refusals: ICMP errors that say "prohibited" or "unreachable" instead of silence (TN-12 to TN-14). */
import type { IpAddress } from "../base/index.ts";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "./checksum.ts";

export type Refusal = "prohibited" | "unreachable";

const ICMP = 1;
const ICMPV6 = 58;
/** Hop limit of ICMP errors that we make (tunnel.md §1). */
const ICMP_HOP_LIMIT = 20;
/** An ICMPv6 error fits into the least MTU of IPv6 (RFC 4443 §2.4(c)). */
const ICMPV6_QUOTE_BYTES = 1232;

/** Type and code (TN-12). */
const TYPE_AND_CODE = {
  prohibited: { v4: [3, 13], v6: [1, 1] },
  unreachable: { v4: [3, 0], v6: [1, 3] },
} as const satisfies Record<Refusal, { v4: readonly [number, number]; v6: readonly [number, number] }>;

/**
 * The ICMP error that refuses `packet`, from its destination to its source (TN-13).
 *
 * @param packet a validated IP packet (TN-3)
 * @returns a new packet, or `undefined` where no refusal may be made (TN-14)
 */
export function encodeRefusal(packet: Uint8Array, refusal: Refusal): Uint8Array<ArrayBuffer> | undefined {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  if (!isRefusable(packet, isV6)) return undefined;
  return isV6 ? encodeV6(packet, refusal) : encodeV4(packet, refusal);
}

function encodeV4(packet: Uint8Array, refusal: Refusal): Uint8Array<ArrayBuffer> {
  const headerBytes = ((packet[0] ?? 0) & 15) * 4;
  const quote = packet.subarray(0, headerBytes + 8);
  const error = new Uint8Array(28 + quote.length);
  error.set([0x45, 0, error.length >> 8, error.length & 0xff, 0, 0, 0x40, 0, ICMP_HOP_LIMIT, ICMP]);
  error.set(packet.subarray(16, 20), 12);
  error.set(packet.subarray(12, 16), 16);
  setU16(error, 10, checksumFinish(checksumAdd(error.subarray(0, 20))));
  error.set(TYPE_AND_CODE[refusal].v4, 20);
  error.set(quote, 28);
  setU16(error, 22, checksumFinish(checksumAdd(error.subarray(20))));
  return error;
}

function encodeV6(packet: Uint8Array, refusal: Refusal): Uint8Array<ArrayBuffer> {
  const quote = packet.subarray(0, ICMPV6_QUOTE_BYTES);
  const error = new Uint8Array(48 + quote.length);
  const payloadBytes = 8 + quote.length;
  error.set([0x60, 0, 0, 0, payloadBytes >> 8, payloadBytes & 0xff, ICMPV6, ICMP_HOP_LIMIT]);
  const source = packet.subarray(24, 40);
  const destination = packet.subarray(8, 24);
  error.set(source, 8);
  error.set(destination, 24);
  error.set(TYPE_AND_CODE[refusal].v6, 40);
  error.set(quote, 48);
  const pseudo = pseudoHeaderSum({ source, destination, protocol: ICMPV6, lengthBytes: payloadBytes });
  setU16(error, 42, checksumFinish(checksumAdd(error.subarray(40), pseudo)));
  return error;
}

function isRefusable(packet: Uint8Array, isV6: boolean): boolean {
  const [source, destination] = isV6
    ? [packet.subarray(8, 24), packet.subarray(24, 40)]
    : [packet.subarray(12, 16), packet.subarray(16, 20)];
  if (isUnspecified(source) || isLoopback(source) || isMulticast(source)) return false;
  if (isMulticast(destination) || isBroadcast(destination)) return false;
  return isEchoRequestOrNotIcmp(packet, isV6);
}

/** An error about an error, or about an answer, could go round in circles (RFC 1122 §3.2.2). */
function isEchoRequestOrNotIcmp(packet: Uint8Array, isV6: boolean): boolean {
  const protocol = packet[isV6 ? 6 : 9];
  if (protocol !== (isV6 ? ICMPV6 : ICMP)) return true;
  const type = packet[isV6 ? 40 : ((packet[0] ?? 0) & 15) * 4];
  return type === (isV6 ? 128 : 8);
}

function isUnspecified(address: IpAddress): boolean {
  return address.every((byte) => byte === 0);
}

function isLoopback(address: IpAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address.every((byte, i) => byte === (i === 15 ? 1 : 0));
}

function isMulticast(address: IpAddress): boolean {
  const first = address[0] ?? 0;
  return address.length === 4 ? first >> 4 === 14 : first === 0xff;
}

function isBroadcast(address: IpAddress): boolean {
  return address.length === 4 && address.every((byte) => byte === 255);
}

function setU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8;
  bytes[offset + 1] = value & 0xff;
}
