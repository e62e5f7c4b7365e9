/** ICMP errors and what they quote (TN-7): control's reader, and the twin of `assembly/packet/icmp.ts`. */
import { type IpAddress, malformed, type Parsed, parsed } from "../base/index.ts";
import { type PacketDescriptor, PROTOCOL, walkExtensions } from "./ip.ts";

/** The packet that an ICMP error is about, as far as it is quoted. */
export interface IcmpQuote {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  /** Only TCP, UDP and echo requests have an identity; that of an echo request stands for both. */
  readonly ports?: { readonly source: number; readonly destination: number };
}

export type MalformedIcmp = "icmp-quote" | "icmp-type";

/** Type, code, checksum and four bytes that depend on the type. */
export const ICMP_HEADER_BYTES = 8;
const ERRORS = { 4: [3, 11, 12], 6: [1, 2, 3, 4] } as const satisfies Record<4 | 6, readonly number[]>;
/** Source quench and redirect: dropped in both directions. */
const UNWANTED_V4: readonly number[] = [4, 5];
/** The type of an echo request, by family. */
export const ECHO_REQUEST = { 4: 8, 6: 128 } as const;

/** Whether the packet is an ICMP error. */
export function isIcmpError(packet: Uint8Array, found: PacketDescriptor): boolean {
  const type = typeOf(packet, found);
  return type !== undefined && (ERRORS[found.family] as readonly number[]).includes(type);
}

/** Type and code of *prohibited*, by family (TN-12). */
const PROHIBITED = { 4: [3, 13], 6: [1, 1] } as const;

/** Whether the packet says that another one was administratively prohibited. */
export function isProhibited(packet: Uint8Array, found: PacketDescriptor): boolean {
  const [type, code] = PROHIBITED[found.family];
  return typeOf(packet, found) === type && packet[found.transportOffset + 1] === code;
}

/**
 * Reads what an ICMP error quotes; `undefined` if the packet is none.
 *
 * The quote is read leniently: its length fields are ignored, but its headers must be there, and 4
 * bytes of TCP or UDP or 8 of ICMP.
 */
export function parseIcmpQuote(
  packet: Uint8Array,
  found: PacketDescriptor,
): Parsed<IcmpQuote | undefined, MalformedIcmp> {
  const type = typeOf(packet, found);
  if (found.family === 4 && type !== undefined && UNWANTED_V4.includes(type)) return malformed("icmp-type");
  if (!isIcmpError(packet, found)) return parsed(undefined);
  const quote = packet.subarray(found.transportOffset + ICMP_HEADER_BYTES, found.totalBytes);
  const value = found.family === 4 ? readQuote4(quote) : readQuote6(quote);
  return value === undefined ? malformed("icmp-quote") : parsed(value);
}

function typeOf(packet: Uint8Array, { family, protocol, transportOffset, isFragment }: PacketDescriptor) {
  const icmp = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  return protocol === icmp && !isFragment ? packet[transportOffset] : undefined;
}

function readQuote4(quote: Uint8Array): IcmpQuote | undefined {
  const headerBytes = ((quote[0] ?? 0) & 15) * 4;
  if (quote.length < 20 || (quote[0] ?? 0) >> 4 !== 4) return undefined;
  if (headerBytes < 20 || headerBytes > quote.length) return undefined;
  const address = { source: quote.slice(12, 16), destination: quote.slice(16, 20) };
  const protocol = quote[9] ?? 0;
  // Behind a later fragment's header stands no transport header.
  if ((u16(quote, 6) & 0x1fff) !== 0) return { ...address, protocol };
  return withIdentity({ ...address, protocol }, quote.subarray(headerBytes), 4);
}

function readQuote6(quote: Uint8Array): IcmpQuote | undefined {
  if (quote.length < 40 || (quote[0] ?? 0) >> 4 !== 6) return undefined;
  const walk = walkExtensions(quote, quote[6] ?? 0, 40);
  if (walk === undefined) return undefined;
  const { protocol } = walk;
  const bare = { source: quote.slice(8, 24), destination: quote.slice(24, 40), protocol };
  return walk.isFragment ? bare : withIdentity(bare, quote.subarray(walk.transportOffset), 6);
}

/** Adds the identity; `undefined` if too little of the transport is quoted. */
function withIdentity(bare: IcmpQuote, transport: Uint8Array, family: 4 | 6): IcmpQuote | undefined {
  switch (bare.protocol) {
    case PROTOCOL.tcp:
    case PROTOCOL.udp:
      if (transport.length < 4) return undefined;
      return { ...bare, ports: { source: u16(transport, 0), destination: u16(transport, 2) } };
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      if (transport.length < ICMP_HEADER_BYTES) return undefined;
      const isOwn = bare.protocol === (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6);
      if (!isOwn || transport[0] !== ECHO_REQUEST[family]) return bare;
      return { ...bare, ports: { source: u16(transport, 4), destination: u16(transport, 4) } };
    }
    default:
      return bare;
  }
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}
