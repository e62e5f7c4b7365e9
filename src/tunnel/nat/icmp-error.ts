/** ICMP errors on their way through a translation (TN-70, TN-71, TN-120). */
import { assert, type IpAddress } from "../../base/index.ts";
import {
  checksumReplace,
  encodeIcmp,
  ICMP_HEADER_BYTES,
  ICMP_HOP_LIMIT,
  type IcmpQuote,
  type PacketDescriptor,
  PROTOCOL,
  viewPacket,
} from "../../packet/index.ts";

/** Which side of the quoted packet is translated, and what becomes of it. */
export interface QuoteTranslation {
  readonly field: "source" | "destination";
  /** Of the packet's family. */
  readonly address: IpAddress;
  /** The client's port or echo identifier, which stands at the other side. */
  readonly port: number;
}

export interface ErrorTranslation {
  /** Ends of the new packet. */
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly quote: QuoteTranslation;
}

const ADDRESS_AT = { 4: { source: 12, destination: 16 }, 6: { source: 8, destination: 24 } } as const;
/** A new destination goes with the source port, and the other way round. */
const PORT_AT = { source: 2, destination: 0 } as const;
const IDENTIFIER_AT = 4;
const IPV4_CHECKSUM_AT = 10;
const CHECKSUM_AT: Readonly<Partial<Record<number, number>>> = {
  [PROTOCOL.tcp]: 16,
  [PROTOCOL.udp]: 6,
  [PROTOCOL.icmp]: 2,
  [PROTOCOL.icmpv6]: 2,
};

/**
 * The error made anew: same type, code and the four bytes behind the checksum, from and to other ends, about the
 * packet that the receiver knows.
 *
 * @param packet an ICMP error whose quote has been read (TN-7)
 */
export function translateError(
  packet: Uint8Array,
  found: PacketDescriptor,
  quoted: IcmpQuote,
  { source, destination, quote }: ErrorTranslation,
): Uint8Array<ArrayBuffer> {
  const message = packet.subarray(found.transportOffset, found.totalBytes);
  const body = Uint8Array.from(message.subarray(ICMP_HEADER_BYTES));
  translateQuote(body, found.family, quoted, quote);
  const error = encodeIcmp({
    source,
    destination,
    type: message[0] ?? 0,
    code: message[1] ?? 0,
    // Next-hop MTU, pointer, or RFC 4884's length.
    rest: message.subarray(4, ICMP_HEADER_BYTES),
    body,
    hopLimit: ICMP_HOP_LIMIT,
  });
  assert(error.ok, "an error made anew is no longer than it was");
  return error.value;
}

/**
 * Changes an address and the client's port in place, then the checksums as far as they lie inside. Nothing is cut or
 * added: what follows (RFC 4884) stays where it is.
 */
function translateQuote(
  quote: Uint8Array,
  family: 4 | 6,
  { protocol, ports }: IcmpQuote,
  { field, address, port }: QuoteTranslation,
): void {
  const addressAt = ADDRESS_AT[family][field];
  const before = quote.slice(addressAt, addressAt + address.length);
  quote.set(address, addressAt);
  if (family === 4) replaceChecksum(quote, IPV4_CHECKSUM_AT, before, address);
  const checksumIn = CHECKSUM_AT[protocol];
  if (checksumIn === undefined || ports === undefined) return;
  const transportAt = viewPacket(quote).transport.byteOffset - quote.byteOffset;
  const isEcho = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  const portAt = transportAt + (isEcho ? IDENTIFIER_AT : PORT_AT[field]);
  const portBefore = quote.slice(portAt, portAt + 2);
  const portAfter = Uint8Array.of(port >> 8, port & 0xff);
  quote.set(portAfter, portAt);
  const checksumAt = transportAt + checksumIn;
  if (checksumAt + 2 > quote.length) return;
  // To UDP zero means that there is none (RFC 768).
  if (protocol === PROTOCOL.udp && quote[checksumAt] === 0 && quote[checksumAt + 1] === 0) return;
  // ICMP of IPv4 sums no addresses.
  if (protocol !== PROTOCOL.icmp) replaceChecksum(quote, checksumAt, before, address);
  replaceChecksum(quote, checksumAt, portBefore, portAfter);
  if (protocol !== PROTOCOL.udp || quote[checksumAt] !== 0 || quote[checksumAt + 1] !== 0) return;
  quote.fill(0xff, checksumAt, checksumAt + 2);
}

function replaceChecksum(bytes: Uint8Array, at: number, before: Uint8Array, after: Uint8Array): void {
  const old = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  const checksum = checksumReplace(old, before, after);
  bytes[at] = checksum >> 8;
  bytes[at + 1] = checksum & 0xff;
}
