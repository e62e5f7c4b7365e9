/**
 * Packets cut up: to what a path carries, where nobody would cut the datagrams around them (TN-121), and to what the
 * tunnel carries, as a kernel does with datagrams of its host (PG-129). Fragments of RFC 791 §3.2 and RFC 8200 §4.5,
 * in the form that TN-111 takes.
 */
import type { SocketAddress } from "../base/index.ts";
import { encodeIp, encodeUdpDatagram, MAX_IP_SIZE, PACKET_BYTES_MAX } from "./build.ts";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "./checksum.ts";
import { PROTOCOL, V6_HEADER_BYTES, walkExtensions } from "./ip.ts";
import { type PacketView, viewPacket } from "./view.ts";

/** Fragments count in eights. */
const UNIT_BYTES = 8;
export const FRAGMENT_HEADER_BYTES = 8;
const FRAGMENT = 44;
const DONT_FRAGMENT = 0x4000;
/** Of the field of flags and offset. */
const MORE_V4 = 0x2000;
const OFFSET_V4 = 0x1fff;
const MORE_V6 = 1;
const OFFSET_V6 = 0xfff8;
/** ICMP but for these two carries what was not sent whole, and need not be whole itself. */
const ECHOES = { 4: [0, 8], 6: [128, 129] } as const;
/** From here on ICMPv6 informs (RFC 4443 §2.1). */
const ICMPV6_INFORMS = 128;

/**
 * `packet` in pieces of at most `mtu` bytes. An ICMP error, which TN-111 takes only whole, quotes less instead.
 *
 * @param packet a validated IP packet (TN-1)
 * @param identification 32 random bits, for a packet that has no identification of its own
 */
export function cutPacket<Bytes extends Uint8Array>(
  packet: Bytes,
  mtu: number,
  identification: number,
): readonly (Bytes | Uint8Array<ArrayBuffer>)[] {
  if (packet.length <= mtu) return [packet];
  const view = viewPacket(packet);
  if (view.family === 4) return cutV4(packet, view, mtu, identification);
  return cutV6(packet, view, mtu, identification);
}

/**
 * A UDP datagram in packets of at most MAX_IP_SIZE bytes. Empty: it is longer than a datagram can be.
 *
 * @param identification as above; in pieces it may be cut up again on its way to the resource (no DF)
 */
export function cutUdp(
  from: SocketAddress,
  to: SocketAddress,
  payload: Uint8Array,
  identification: number,
): readonly Uint8Array<ArrayBuffer>[] {
  const whole = encodeIp({
    ...{ source: from.address, destination: to.address, protocol: PROTOCOL.udp },
    ...{ transport: encodeUdpDatagram(from, to, payload), limitBytes: PACKET_BYTES_MAX },
  });
  return whole.ok ? cutPacket(whole.value, MAX_IP_SIZE, identification) : [];
}

function cutV4(
  packet: Uint8Array,
  view: PacketView,
  mtu: number,
  identification: number,
): readonly Uint8Array<ArrayBuffer>[] {
  const headerBytes = packet.length - view.transport.length;
  const field = u16(packet, 6);
  const isWhole = (field & (MORE_V4 | OFFSET_V4)) === 0;
  const isIcmp = view.protocol === PROTOCOL.icmp && isWhole;
  if (isIcmp && !isOneOf(ECHOES[4], view.transport[0])) return [withShorterQuote(packet, view, mtu)];
  return pieces(packet.length - headerBytes, mtu - headerBytes).map(({ from, bytes, isLast }) => {
    const piece = new Uint8Array(headerBytes + bytes);
    piece.set(packet.subarray(0, headerBytes));
    piece.set(packet.subarray(headerBytes + from, headerBytes + from + bytes), headerBytes);
    const out = new DataView(piece.buffer);
    // Whoever forbids fragments need not number its packets (RFC 6864 §4.1).
    if ((field & DONT_FRAGMENT) !== 0) out.setUint16(4, identification & 0xffff);
    const more = isLast ? field & MORE_V4 : MORE_V4;
    out.setUint16(6, more | ((field & OFFSET_V4) + from / UNIT_BYTES));
    finishV4(piece, headerBytes);
    return piece;
  });
}

/** The fragment header stands right in front of the transport, behind all other headers (TN-111). */
function cutV6<Bytes extends Uint8Array>(
  packet: Bytes,
  view: PacketView,
  mtu: number,
  identification: number,
): readonly (Bytes | Uint8Array<ArrayBuffer>)[] {
  const walk = walkExtensions(packet, packet[6] ?? 0, V6_HEADER_BYTES);
  if (walk === undefined) return [packet];
  const { protocol, transportOffset, isFragment } = walk;
  // Headers that leave no room for a piece make no sense, but any host may send them.
  if (mtu < transportOffset + FRAGMENT_HEADER_BYTES + UNIT_BYTES) return [packet];
  const type = view.transport[0] ?? 0;
  if (protocol === PROTOCOL.icmpv6 && !isFragment && !isOneOf(ECHOES[6], type)) {
    return type < ICMPV6_INFORMS ? [withShorterQuote(packet, view, mtu)] : [packet];
  }
  const head = isFragment
    ? packet.slice(0, transportOffset)
    : withFragmentHeader(packet.subarray(0, transportOffset), protocol, identification);
  const field = isFragment ? u16(head, head.length - 6) : 0;
  return pieces(packet.length - transportOffset, mtu - head.length).map(({ from, bytes, isLast }) => {
    const piece = new Uint8Array(head.length + bytes);
    piece.set(head);
    piece.set(packet.subarray(transportOffset + from, transportOffset + from + bytes), head.length);
    const out = new DataView(piece.buffer);
    out.setUint16(4, piece.length - V6_HEADER_BYTES);
    const more = isLast ? field & MORE_V6 : MORE_V6;
    out.setUint16(head.length - 6, more | ((field & OFFSET_V6) + from));
    return piece;
  });
}

/** All headers in front of the transport, the last of which names the fragment header now. */
function withFragmentHeader(before: Uint8Array, protocol: number, identification: number): Uint8Array {
  const head = new Uint8Array(before.length + FRAGMENT_HEADER_BYTES);
  head.set(before);
  head[lastNextHeader(before)] = FRAGMENT;
  head[before.length] = protocol;
  new DataView(head.buffer).setUint32(before.length + 4, identification);
  return head;
}

/** Where the last header in front of the transport says what follows. */
function lastNextHeader(before: Uint8Array): number {
  let place = 6;
  for (let next = V6_HEADER_BYTES; next < before.length; ) {
    const bytes = before[place] === FRAGMENT ? FRAGMENT_HEADER_BYTES : ((before[next + 1] ?? 0) + 1) * 8;
    place = next;
    next += bytes;
  }
  return place;
}

interface Piece {
  readonly from: number;
  readonly bytes: number;
  readonly isLast: boolean;
}

/** As few as `room` bytes in each allow. */
function pieces(bytes: number, room: number): Piece[] {
  const most = room - (room % UNIT_BYTES);
  const all: Piece[] = [];
  for (let from = 0; from < bytes; from += most) {
    all.push({ from, bytes: Math.min(most, bytes - from), isLast: from + most >= bytes });
  }
  return all;
}

/** An ICMP error of `mtu` bytes. As much is quoted as fits, which is all that anybody may rely on. */
function withShorterQuote(packet: Uint8Array, view: PacketView, mtu: number): Uint8Array<ArrayBuffer> {
  const { family, source, destination, protocol } = view;
  const at = packet.length - view.transport.length;
  const error = packet.slice(0, mtu);
  const out = new DataView(error.buffer);
  const transport = error.subarray(at);
  out.setUint16(at + 2, 0);
  const pseudo = { source, destination, protocol, lengthBytes: transport.length };
  const start = family === 6 ? pseudoHeaderSum(pseudo) : 0;
  out.setUint16(at + 2, checksumFinish(checksumAdd(transport, start)));
  if (family === 4) finishV4(error, at);
  else out.setUint16(4, error.length - V6_HEADER_BYTES);
  return error;
}

/** Total length and checksum of an IPv4 header. */
function finishV4(packet: Uint8Array, headerBytes: number): void {
  const view = new DataView(packet.buffer);
  view.setUint16(2, packet.length);
  view.setUint16(10, 0);
  view.setUint16(10, checksumFinish(checksumAdd(packet.subarray(0, headerBytes))));
}

function isOneOf(types: readonly number[], type: number | undefined): boolean {
  return type !== undefined && types.includes(type);
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
