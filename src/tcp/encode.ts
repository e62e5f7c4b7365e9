/** TCP segments as they leave: straight into the buffer of whoever carries them (RFC 9293 §3.1, PF-31). */
import type { SocketAddress } from "../base/index.ts";
import { checksumAdd, checksumFinish, PACKET_HOP_LIMIT, PROTOCOL, pseudoHeaderSum } from "../packet/index.ts";
import { FLAG, OPTION, OPTION_BYTES, type Segment, TCP_HEADER_BYTES } from "./segment.ts";

/** `struct virtio_net_hdr` (PF-31), in the order of the machine's bytes. */
export const VNET_HEADER_BYTES = 10;
export const VNET = {
  flags: 0,
  gsoType: 1,
  headerBytes: 2,
  gsoBytes: 4,
  checksumStart: 6,
  checksumOffset: 8,
} as const;
export const VNET_FLAG = { needsChecksum: 1, isValid: 2 } as const;
const GSO_TCP = { 4: 1, 6: 4 } as const;
const TCP_CHECKSUM_AT = 16;
const IP_BYTES = { 4: 20, 6: 40 } as const;
/** What the lengths in IP headers can say; IPv6 itself would take 40 more. */
const IP_BYTES_MAX = 65_535;
/** IP and TCP headers with all options. */
export const HEADERS_BYTES_MAX = 40 + 60;
/** The longest frame: the buffer of `pollFrame` has at least this. */
export const FRAME_BYTES_MAX = VNET_HEADER_BYTES + IP_BYTES_MAX;
/** Payload of the longest super-segment. */
export const SUPER_PAYLOAD_BYTES = IP_BYTES_MAX - HEADERS_BYTES_MAX;

/** A segment whose payload is not in it: the writer copies it from where it is. */
export interface Outgoing {
  /** `payload` is empty if `payloadBytes` octets are to follow from the send queue. */
  readonly segment: Segment;
  readonly payloadBytes: number;
  /** Payload of every packet but the last, if it has to be split. */
  readonly gsoBytes: number;
}

export interface Way {
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
}

type WritePayload = (into: Uint8Array, at: number) => void;

/** A frame for the plane or a TUN device, whose checksum they complete and which they split. @returns its length */
export function writeFrame(
  into: Uint8Array,
  way: Way,
  { segment, payloadBytes, gsoBytes }: Outgoing,
  payload: WritePayload,
): number {
  const ipBytes = way.local.address.length === 4 ? IP_BYTES[4] : IP_BYTES[6];
  const family = way.local.address.length === 4 ? 4 : 6;
  const at = VNET_HEADER_BYTES;
  const headers = writeHeaders(into, at, way, segment, payloadBytes);
  payload(into, at + headers);
  const isSuper = payloadBytes > gsoBytes && gsoBytes > 0;
  into[VNET.flags] = VNET_FLAG.needsChecksum;
  into[VNET.gsoType] = isSuper ? GSO_TCP[family] : 0;
  setLittle16(into, VNET.headerBytes, headers);
  setLittle16(into, VNET.gsoBytes, isSuper ? gsoBytes : 0);
  setLittle16(into, VNET.checksumStart, ipBytes);
  setLittle16(into, VNET.checksumOffset, TCP_CHECKSUM_AT);
  return at + headers + payloadBytes;
}

/** One whole packet with its checksum. */
export function writePacket(
  way: Way,
  { segment, payloadBytes }: Outgoing,
  payload: WritePayload,
): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(HEADERS_BYTES_MAX + payloadBytes);
  const headers = writeHeaders(packet, 0, way, segment, payloadBytes);
  payload(packet, headers);
  const ipBytes = way.local.address.length === 4 ? IP_BYTES[4] : IP_BYTES[6];
  const whole = packet.subarray(0, headers + payloadBytes);
  const at = ipBytes + TCP_CHECKSUM_AT;
  // The field holds the sum of the pseudo-header, so that summing over it adds that.
  setBig16(packet, at, checksumFinish(checksumAdd(whole.subarray(ipBytes))));
  return whole;
}

/** A segment that has its payload in itself. */
export function encodeSegment(
  from: SocketAddress,
  to: SocketAddress,
  segment: Segment,
): Uint8Array<ArrayBuffer> {
  const { payload } = segment;
  const outgoing = { segment, payloadBytes: payload.length, gsoBytes: 0 };
  return writePacket({ local: from, remote: to }, outgoing, (into, at) => into.set(payload, at));
}

/** IP and TCP headers; the checksum field of TCP holds the pseudo-header's sum. @returns their length */
function writeHeaders(
  into: Uint8Array,
  at: number,
  way: Way,
  segment: Segment,
  payloadBytes: number,
): number {
  const { local, remote } = way;
  const isV6 = local.address.length === 16;
  const tcpAt = at + (isV6 ? IP_BYTES[6] : IP_BYTES[4]);
  const tcpBytes = TCP_HEADER_BYTES + writeOptions(into, tcpAt + TCP_HEADER_BYTES, segment);
  const lengthBytes = tcpBytes + payloadBytes;
  if (isV6) writeV6(into, at, way, lengthBytes);
  else writeV4(into, at, way, lengthBytes);
  setBig16(into, tcpAt, local.port);
  setBig16(into, tcpAt + 2, remote.port);
  setBig32(into, tcpAt + 4, segment.seq);
  setBig32(into, tcpAt + 8, segment.ack);
  into[tcpAt + 12] = (tcpBytes / 4) << 4;
  into[tcpAt + 13] =
    (segment.isFin ? FLAG.fin : 0) |
    (segment.isSyn ? FLAG.syn : 0) |
    (segment.isRst ? FLAG.rst : 0) |
    (segment.isAck ? FLAG.ack : 0) |
    (segment.isPush === true ? FLAG.psh : 0);
  setBig16(into, tcpAt + 14, segment.window);
  const pseudo = { source: local.address, destination: remote.address, protocol: PROTOCOL.tcp, lengthBytes };
  setBig16(into, tcpAt + TCP_CHECKSUM_AT, pseudoHeaderSum(pseudo));
  setBig16(into, tcpAt + 18, 0);
  return tcpAt + tcpBytes - at;
}

/** DF, no identification: the plane counts it up where it splits. */
function writeV4(into: Uint8Array, at: number, { local, remote }: Way, transportBytes: number): void {
  into.fill(0, at, at + IP_BYTES[4]);
  into[at] = 0x45;
  setBig16(into, at + 2, IP_BYTES[4] + transportBytes);
  into[at + 6] = 0x40;
  into[at + 8] = PACKET_HOP_LIMIT;
  into[at + 9] = PROTOCOL.tcp;
  into.set(local.address, at + 12);
  into.set(remote.address, at + 16);
  setBig16(into, at + 10, checksumFinish(checksumAdd(into.subarray(at, at + IP_BYTES[4]))));
}

function writeV6(into: Uint8Array, at: number, { local, remote }: Way, transportBytes: number): void {
  into.fill(0, at, at + 8);
  into[at] = 0x60;
  setBig16(into, at + 4, transportBytes);
  into[at + 6] = PROTOCOL.tcp;
  into[at + 7] = PACKET_HOP_LIMIT;
  into.set(local.address, at + 8);
  into.set(remote.address, at + 24);
}

/** In the order of the kernel, so that the plane may join neighbours. @returns a multiple of 4 */
function writeOptions(into: Uint8Array, start: number, segment: Segment): number {
  const { mss, windowShift, isSackPermitted, timestamp, sacks } = segment;
  let at = start;
  if (mss !== undefined) {
    into[at] = OPTION.mss;
    into[at + 1] = OPTION_BYTES.mss;
    setBig16(into, at + 2, mss);
    at += OPTION_BYTES.mss;
  }
  if (isSackPermitted === true) {
    // It fills the place of the two octets that align the time stamp.
    if (timestamp === undefined) at = writeNops(into, at, 2);
    into[at] = OPTION.sackPermitted;
    into[at + 1] = OPTION_BYTES.sackPermitted;
    at += OPTION_BYTES.sackPermitted;
  }
  if (timestamp !== undefined) {
    if (isSackPermitted !== true) at = writeNops(into, at, 2);
    into[at] = OPTION.timestamp;
    into[at + 1] = OPTION_BYTES.timestamp;
    setBig32(into, at + 2, timestamp.value);
    setBig32(into, at + 6, timestamp.echo);
    at += OPTION_BYTES.timestamp;
  }
  if (windowShift !== undefined) {
    at = writeNops(into, at, 1);
    into[at] = OPTION.windowShift;
    into[at + 1] = OPTION_BYTES.windowShift;
    into[at + 2] = windowShift;
    at += OPTION_BYTES.windowShift;
  }
  if (sacks !== undefined && sacks.length > 0) {
    at = writeNops(into, at, 2);
    into[at] = OPTION.sack;
    into[at + 1] = 2 + sacks.length * OPTION_BYTES.sackBlock;
    at += 2;
    for (const { start: from, end } of sacks) {
      setBig32(into, at, from);
      setBig32(into, at + 4, end);
      at += OPTION_BYTES.sackBlock;
    }
  }
  return at - start;
}

function writeNops(into: Uint8Array, at: number, count: number): number {
  into.fill(OPTION.nop, at, at + count);
  return at + count;
}

/** Octets that the options of a segment with these take. */
export function optionBytesOf(hasTimestamp: boolean, sackBlocks: number): number {
  const sacks = sackBlocks === 0 ? 0 : 4 + sackBlocks * OPTION_BYTES.sackBlock;
  return (hasTimestamp ? 2 + OPTION_BYTES.timestamp : 0) + sacks;
}

/** Whether the checksum of a segment in a packet is right (RFC 9293 §3.1). */
export function isChecksumRight(source: Uint8Array, destination: Uint8Array, transport: Uint8Array): boolean {
  const lengthBytes = transport.length;
  const start = pseudoHeaderSum({ source, destination, protocol: PROTOCOL.tcp, lengthBytes });
  return checksumFinish(checksumAdd(transport, start)) === 0;
}

function setBig16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function setBig32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Little-endian like all machines we run on (D-3). */
function setLittle16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
