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
  const isFragment = (u16(bytes, 6) & 0x3fff) !== 0;
  if (limits.mode === "strict") {
    if (isFragment) return malformed("ip-fragment");
    if (hasSourceRoute(bytes.subarray(HEADER_BYTES[4], headerBytes))) return malformed("ip-source-route");
  }
  const packet = bytes.subarray(0, totalBytes);
  return describe(packet, { family: 4, protocol: bytes[9] ?? 0, transportOffset: headerBytes, isFragment });
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
  if (limits.mode === "strict") {
    if (walk.isRouted) return malformed("ip-source-route");
    if (walk.isFragment) return malformed("ip-fragment");
  }
  return describe(packet, { family: 6, ...walk });
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
  for (let count = 0; Object.values<number>(EXTENSION).includes(protocol); count++) {
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
