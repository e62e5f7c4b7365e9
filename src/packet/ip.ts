/**
 * Reads IP packets: what control uses, and the twin of `assembly/packet/ip.ts` (TN-1 to TN-4, TN-6).
 *
 * Strict about lengths, lenient about everything else. Behind it nobody checks a length again.
 */
import { malformed, type Parsed, parsed } from "../base/index.ts";

/** What is known about a packet that passed. Offsets count from its first byte. */
export interface PacketDescriptor {
  readonly family: 4 | 6;
  /** Number of the transport protocol, where the walk over extension headers ended. */
  readonly protocol: number;
  /** Bytes of the IP header and the extension headers. */
  readonly transportOffset: number;
  readonly transportBytes: number;
  /** Length of the packet without the padding that WireGuard adds. */
  readonly totalBytes: number;
  /** The transport identity of TN-6; absent for portless packets. An echo identifier stands for both. */
  readonly ports?: { readonly source: number; readonly destination: number };
  /** Not the whole packet. In mode `strict` the first fragment has its ports, a later one never. */
  readonly isFragment: boolean;
}

/** The reasons of TN-3. */
export type MalformedPacket =
  | "ip-version"
  | "ip-length"
  | "ip-too-big"
  | "ip-fragment"
  | "ip-source-route"
  | "ip6-ext"
  | "udp-length"
  | "tcp-length"
  | "icmp-family"
  | "icmp-length";

export interface PacketLimits {
  /** Largest total length in bytes (row 4). */
  readonly limitBytes: number;
  /** `plain`: a WireGuard peer that decides by address alone and carries fragments (TN-4). */
  readonly mode: "plain" | "strict";
}

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

export const V6_HEADER_BYTES = 40;
const HEADER_BYTES = { 4: 20, 6: V6_HEADER_BYTES } as const;
const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;
const EXTENSIONS_MAX = 8;
const SOURCE_ROUTES: readonly number[] = [131, 137];

/** Checks the IP packet at the start of `bytes` (TN-3, in its order). Never throws. */
export function parsePacket(
  bytes: Uint8Array,
  limits: PacketLimits,
): Parsed<PacketDescriptor, MalformedPacket> {
  const version = (bytes[0] ?? 0) >> 4;
  if (version === 4) return parseV4(bytes, limits);
  if (version === 6) return parseV6(bytes, limits);
  return malformed("ip-version");
}

function parseV4(bytes: Uint8Array, limits: PacketLimits): Parsed<PacketDescriptor, MalformedPacket> {
  if (bytes.length < HEADER_BYTES[4]) return malformed("ip-length");
  const headerBytes = ((bytes[0] ?? 0) & 15) * 4;
  const totalBytes = u16(bytes, 2);
  if (headerBytes < HEADER_BYTES[4] || headerBytes > totalBytes || totalBytes > bytes.length) {
    return malformed("ip-length");
  }
  if (totalBytes > limits.limitBytes) return malformed("ip-too-big");
  const field = u16(bytes, 6);
  const packet = bytes.subarray(0, totalBytes);
  const isFragment = (field & 0x3fff) !== 0;
  const found = { family: 4, protocol: bytes[9] ?? 0, transportOffset: headerBytes, isFragment } as const;
  if (limits.mode === "plain") return describe(packet, found);
  if (hasSourceRoute(bytes.subarray(HEADER_BYTES[4], headerBytes))) return malformed("ip-source-route");
  if (!isFragment) return describe(packet, found);
  return describeFragment(packet, found, { position: (field & 0x1fff) * 8, isLast: (field & 0x2000) === 0 });
}

function hasSourceRoute(options: Uint8Array): boolean {
  for (let at = 0; at < options.length; ) {
    const kind = options[at] ?? 0;
    if (kind === 0) return false;
    if (SOURCE_ROUTES.includes(kind)) return true;
    // A malformed list ends the walk without an error (TN-3 row 6).
    const length = kind === 1 ? 1 : (options[at + 1] ?? 0);
    if (kind !== 1 && length < 2) return false;
    at += length;
  }
  return false;
}

function parseV6(bytes: Uint8Array, limits: PacketLimits): Parsed<PacketDescriptor, MalformedPacket> {
  if (bytes.length < HEADER_BYTES[6]) return malformed("ip-length");
  const totalBytes = HEADER_BYTES[6] + u16(bytes, 4);
  if (totalBytes > bytes.length) return malformed("ip-length");
  if (totalBytes > limits.limitBytes) return malformed("ip-too-big");
  const packet = bytes.subarray(0, totalBytes);
  const walk = walkExtensions(packet, packet[6] ?? 0, HEADER_BYTES[6]);
  if (walk === undefined) return malformed("ip6-ext");
  const { protocol, transportOffset, isFragment } = walk;
  const found = { family: 6, protocol, transportOffset, isFragment } as const;
  if (limits.mode === "plain") return describe(packet, found);
  if (walk.isRouted) return malformed("ip-source-route");
  if (!isFragment) return describe(packet, found);
  const field = u16(packet, transportOffset - 6);
  const position = field & 0xfff8;
  if (position === 0 && isExtension(protocol)) return malformed("ip-fragment");
  return describeFragment(packet, found, { position, isLast: (field & 1) === 0 });
}

interface FragmentPlace {
  /** Of its first byte in the datagram. */
  readonly position: number;
  readonly isLast: boolean;
}

/**
 * A fragment, in the roles client and gateway (rows 5 and 9): the first has its whole transport header, which no
 * later one can change; none reaches beyond what a packet can be.
 */
function describeFragment(
  packet: Uint8Array,
  found: Pick<PacketDescriptor, "family" | "protocol" | "transportOffset" | "isFragment">,
  { position, isLast }: FragmentPlace,
): Parsed<PacketDescriptor, MalformedPacket> {
  const { family, protocol, transportOffset } = found;
  const transport = packet.subarray(transportOffset);
  const bytes = transport.length;
  if (bytes === 0 || position + bytes > 65_535) return malformed("ip-fragment");
  if (!isLast && bytes % 8 !== 0) return malformed("ip-fragment");
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
  if (isIcmp && (protocol === PROTOCOL.icmp) !== (family === 4)) return malformed("icmp-family");
  const least = protocol === PROTOCOL.tcp ? 20 : 8;
  const portless = { ...found, transportBytes: bytes, totalBytes: packet.length };
  if (position > 0) return position < least ? malformed("ip-fragment") : parsed(portless);
  const ports = identityOf(transport, protocol);
  // An error that comes in pieces cannot be translated, and nobody sends one (TN-7).
  if (bytes < least || (isIcmp && ports === undefined)) return malformed("ip-fragment");
  // The length of UDP is that of the whole datagram.
  if (protocol === PROTOCOL.udp && u16(transport, 4) < 8) return malformed("udp-length");
  if (protocol === PROTOCOL.tcp && checkTransport(transport, family, protocol) !== undefined) {
    return malformed("tcp-length");
  }
  return parsed(ports === undefined ? portless : { ...portless, ports });
}

function isExtension(protocol: number): boolean {
  return Object.values<number>(EXTENSION).includes(protocol);
}

interface ExtensionWalk {
  /** The first header number that is none of the four. */
  readonly protocol: number;
  readonly transportOffset: number;
  /** A routing header has segments left. */
  readonly isRouted: boolean;
  /** A fragment header that is not atomic ended the walk: what follows is not a header. */
  readonly isFragment: boolean;
}

/** Walks extension headers (TN-3 rows 7 to 9); `undefined` if one is malformed or there are too many. */
export function walkExtensions(packet: Uint8Array, first: number, start: number): ExtensionWalk | undefined {
  let protocol = first;
  let transportOffset = start;
  let isRouted = false;
  for (let count = 0; isExtension(protocol); count++) {
    const header = packet.subarray(transportOffset);
    if (count === EXTENSIONS_MAX || header.length < 8) return undefined;
    if (protocol === EXTENSION.hopByHop && count > 0) return undefined;
    const length = protocol === EXTENSION.fragment ? 8 : ((header[1] ?? 0) + 1) * 8;
    if (length > header.length) return undefined;
    const isFragment = protocol === EXTENSION.fragment && (u16(header, 2) & 0xfff9) !== 0;
    if (protocol === EXTENSION.routing && header[3] !== 0) isRouted = true;
    protocol = header[0] ?? 0;
    transportOffset += length;
    if (isFragment) return { protocol, transportOffset, isRouted, isFragment };
  }
  return { protocol, transportOffset, isRouted, isFragment: false };
}

/** Rows 10 to 13, and the transport identity. */
function describe(
  packet: Uint8Array,
  found: Pick<PacketDescriptor, "family" | "protocol" | "transportOffset" | "isFragment">,
): Parsed<PacketDescriptor, MalformedPacket> {
  const { family, protocol, transportOffset, isFragment } = found;
  const transport = packet.subarray(transportOffset);
  const transportBytes = transport.length;
  const totalBytes = packet.length;
  const portless = { family, protocol, transportOffset, transportBytes, totalBytes, isFragment };
  if (isFragment) return parsed(portless);
  const reason = checkTransport(transport, family, protocol);
  if (reason !== undefined) return malformed(reason);
  const ports = identityOf(transport, protocol);
  return parsed(ports === undefined ? portless : { ...portless, ports });
}

function checkTransport(transport: Uint8Array, family: 4 | 6, protocol: number): MalformedPacket | undefined {
  const present = transport.length;
  switch (protocol) {
    case PROTOCOL.udp: {
      if (present < 8) return "udp-length";
      const length = u16(transport, 4);
      return length < 8 || length > present ? "udp-length" : undefined;
    }
    case PROTOCOL.tcp: {
      if (present < 20) return "tcp-length";
      const headerBytes = ((transport[12] ?? 0) >> 4) * 4;
      return headerBytes < 20 || headerBytes > present ? "tcp-length" : undefined;
    }
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      if ((protocol === PROTOCOL.icmp) !== (family === 4)) return "icmp-family";
      return present < 8 ? "icmp-length" : undefined;
    default:
      return undefined;
  }
}

/** TN-6, for a transport header that is complete. */
export function identityOf(transport: Uint8Array, protocol: number): PacketDescriptor["ports"] {
  switch (protocol) {
    case PROTOCOL.udp:
    case PROTOCOL.tcp:
      return { source: u16(transport, 0), destination: u16(transport, 2) };
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6: {
      const echoes = protocol === PROTOCOL.icmp ? [0x0800, 0x0000] : [0x8000, 0x8100];
      if (!echoes.includes(u16(transport, 0))) return undefined;
      return { source: u16(transport, 4), destination: u16(transport, 4) };
    }
    default:
      return undefined;
  }
}

function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}
