/** IP packets that the program itself makes (TN-8). */
import {
  concatBytes,
  type IpAddress,
  malformed,
  type Parsed,
  parsed,
  type SocketAddress,
} from "../base/index.ts";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "./checksum.ts";
import { PROTOCOL } from "./ip.ts";

/** The largest IP packet, and the MTU of the TUN device (tunnel.md §1). */
export const MAX_IP_SIZE = 1280;
/** No packet is longer, whole: length fields have 16 bits (RFC 791 §3.1, RFC 8200 §3). */
export const PACKET_BYTES_MAX = 65_535;
/** In front of a datagram in a packet (RFC 768). */
export const UDP_HEADER_BYTES = 8;
/** Hop limit of packets that we make, other than ICMP errors. */
export const PACKET_HOP_LIMIT = 64;

export interface Addresses {
  readonly source: IpAddress;
  /** Of the same family as the source. */
  readonly destination: IpAddress;
}

export type PacketTooBig = "ip-too-big";

/**
 * An IP packet around `transport`: IHL 5, DSCP and ECN 0, identification 0, DF; traffic class and flow
 * label 0. The transport's checksum is its maker's business.
 *
 * @param options.limitBytes of the packet; more than MAX_IP_SIZE is for who cuts it up
 */
export function encodeIp(
  options: Addresses & {
    readonly protocol: number;
    readonly transport: Uint8Array;
    readonly hopLimit?: number;
    readonly limitBytes?: number;
  },
): Parsed<Uint8Array<ArrayBuffer>, PacketTooBig> {
  const { source, destination, protocol, transport } = options;
  const { hopLimit = PACKET_HOP_LIMIT, limitBytes = MAX_IP_SIZE } = options;
  const isV6 = source.length === 16;
  const header = new Uint8Array(isV6 ? 40 : 20);
  if (header.length + transport.length > limitBytes) return malformed("ip-too-big");
  const view = new DataView(header.buffer);
  if (isV6) {
    header[0] = 0x60;
    view.setUint16(4, transport.length);
    header.set([protocol, hopLimit], 6);
    header.set(source, 8);
    header.set(destination, 24);
  } else {
    header[0] = 0x45;
    view.setUint16(2, header.length + transport.length);
    header[6] = 0x40;
    header.set([hopLimit, protocol], 8);
    header.set(source, 12);
    header.set(destination, 16);
    view.setUint16(10, checksumFinish(checksumAdd(header)));
  }
  return parsed(concatBytes(header, transport));
}

/** A UDP datagram in an IP packet, with its checksum. */
export function encodeUdp(
  from: SocketAddress,
  to: SocketAddress,
  payload: Uint8Array,
  hopLimit = PACKET_HOP_LIMIT,
): Parsed<Uint8Array<ArrayBuffer>, PacketTooBig> {
  const addresses = { source: from.address, destination: to.address };
  const transport = encodeUdpDatagram(from, to, payload);
  return encodeIp({ ...addresses, protocol: PROTOCOL.udp, transport, hopLimit });
}

/** UDP header and payload, with the checksum over its pseudo-header. */
export function encodeUdpDatagram(
  from: SocketAddress,
  to: SocketAddress,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const datagram = new Uint8Array(UDP_HEADER_BYTES + payload.length);
  const view = new DataView(datagram.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint16(4, datagram.length);
  datagram.set(payload, UDP_HEADER_BYTES);
  const addresses = { source: from.address, destination: to.address };
  const pseudo = { ...addresses, protocol: PROTOCOL.udp, lengthBytes: datagram.length };
  const checksum = checksumFinish(checksumAdd(datagram, pseudoHeaderSum(pseudo)));
  // Zero on the wire means that there is no checksum (RFC 768).
  view.setUint16(6, checksum === 0 ? 0xffff : checksum);
  return datagram;
}

/** An ICMP or ICMPv6 message (type, code, checksum, rest of header, body) in an IP packet. */
export function encodeIcmp(
  options: Addresses & {
    readonly type: number;
    readonly code: number;
    /** The four bytes behind the checksum; zero if absent. */
    readonly rest?: Uint8Array;
    readonly body: Uint8Array;
    readonly hopLimit?: number;
  },
): Parsed<Uint8Array<ArrayBuffer>, PacketTooBig> {
  const { source, destination, type, code, rest, body } = options;
  const isV6 = source.length === 16;
  const protocol = isV6 ? PROTOCOL.icmpv6 : PROTOCOL.icmp;
  const transport = new Uint8Array(8 + body.length);
  transport.set([type, code]);
  if (rest !== undefined) transport.set(rest, 4);
  transport.set(body, 8);
  const lengthBytes = transport.length;
  // ICMPv6 sums a pseudo-header, ICMP does not (RFC 4443 §2.3).
  const start = isV6 ? pseudoHeaderSum({ source, destination, protocol, lengthBytes }) : 0;
  new DataView(transport.buffer).setUint16(2, checksumFinish(checksumAdd(transport, start)));
  const { hopLimit } = options;
  return encodeIp({ source, destination, protocol, transport, ...(hopLimit !== undefined && { hopLimit }) });
}

/** An echo request (`ping`) with identifier and sequence number. */
export function encodeEchoRequest(
  options: Addresses & {
    readonly identifier: number;
    readonly sequence: number;
    readonly body: Uint8Array;
  },
): Parsed<Uint8Array<ArrayBuffer>, PacketTooBig> {
  const { source, destination, identifier, sequence, body } = options;
  const rest = Uint8Array.of(identifier >> 8, identifier, sequence >> 8, sequence);
  const type = source.length === 16 ? 128 : 8;
  return encodeIcmp({ source, destination, type, code: 0, rest, body });
}
