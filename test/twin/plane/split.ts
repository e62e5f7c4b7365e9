/** The readable twin of `assembly/segment/split.ts`: every segment is a new packet made from scratch. */
import { concatBytes, malformed, type Parsed, parsed } from "../../../src/base/index.ts";
import { checksumAdd, checksumFinish, pseudoHeaderSum } from "../../../src/packet/checksum.ts";
import {
  type MalformedPacket,
  type PacketDescriptor,
  type PacketLimits,
  PROTOCOL,
  parsePacket,
} from "../../../src/packet/ip.ts";

export type MalformedFrame = MalformedPacket | "tun-header" | "tun-gso-type";

const VNET_BYTES = 10;
const HEADER_BYTES_MAX = 512;

/** Fields of `struct virtio_net_hdr` (PF-31). */
export interface VnetHeader {
  readonly needsChecksum: boolean;
  readonly gsoType: number;
  readonly headerBytes: number;
  readonly gsoBytes: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

export function encodeVnet(header: VnetHeader): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(VNET_BYTES));
  view.setUint8(0, header.needsChecksum ? 1 : 0);
  view.setUint8(1, header.gsoType);
  view.setUint16(2, header.headerBytes, true);
  view.setUint16(4, header.gsoBytes, true);
  view.setUint16(6, header.checksumStart, true);
  view.setUint16(8, header.checksumOffset, true);
  return new Uint8Array(view.buffer);
}

export function parseVnet(frame: Uint8Array): VnetHeader {
  const view = new DataView(frame.slice(0, VNET_BYTES).buffer);
  return {
    needsChecksum: (view.getUint8(0) & 1) === 1,
    gsoType: view.getUint8(1),
    headerBytes: view.getUint16(2, true),
    gsoBytes: view.getUint16(4, true),
    checksumStart: view.getUint16(6, true),
    checksumOffset: view.getUint16(8, true),
  };
}

/** The IP packets that a frame read from the TUN device stands for (PF-32, TN-4). */
export function splitFrame(
  frame: Uint8Array,
  limits: PacketLimits,
): Parsed<readonly Uint8Array[], MalformedFrame> {
  if (frame.length < VNET_BYTES || frame.length - VNET_BYTES > 65535) return malformed("tun-header");
  const vnet = parseVnet(frame);
  const isSingle = vnet.gsoType === 0;
  const bytes = frame.slice(VNET_BYTES);
  const validated = parsePacket(bytes, isSingle ? limits : { ...limits, limitBytes: 65535 });
  if (!validated.ok) return validated;
  const packet = bytes.subarray(0, validated.value.totalBytes);
  return isSingle
    ? completeChecksum(packet, vnet, validated.value)
    : splitSuper(packet, vnet, validated.value, limits.limitBytes);
}

function completeChecksum(
  packet: Uint8Array,
  vnet: VnetHeader,
  { transportOffset, totalBytes }: PacketDescriptor,
): Parsed<readonly Uint8Array[], MalformedFrame> {
  if (!vnet.needsChecksum) return parsed([packet]);
  const field = vnet.checksumStart + vnet.checksumOffset;
  if (vnet.checksumStart < transportOffset || field + 2 > totalBytes) return malformed("tun-header");
  const checksum = checksumFinish(checksumAdd(packet.subarray(vnet.checksumStart)));
  setU16(packet, field, checksum === 0 ? 0xffff : checksum);
  return parsed([packet]);
}

function splitSuper(
  packet: Uint8Array,
  vnet: VnetHeader,
  found: PacketDescriptor,
  limitBytes: number,
): Parsed<readonly Uint8Array[], MalformedFrame> {
  const kind = { 1: [6, 4], 4: [6, 6], 5: [17, found.family] }[vnet.gsoType & 0x7f];
  if (kind === undefined) return malformed("tun-gso-type");
  if (found.isFragment || kind[0] !== found.protocol || kind[1] !== found.family) {
    return malformed("tun-header");
  }
  const isUdp = found.protocol === PROTOCOL.udp;
  const start = found.transportOffset;
  if (vnet.needsChecksum && (vnet.checksumStart !== start || vnet.checksumOffset !== (isUdp ? 6 : 16))) {
    return malformed("tun-header");
  }
  const headerBytes = start + (isUdp ? 8 : ((packet[start + 12] ?? 0) >> 4) * 4);
  if (vnet.gsoBytes === 0 || headerBytes > HEADER_BYTES_MAX) return malformed("tun-header");
  const payload = packet.subarray(headerBytes);
  if (headerBytes + Math.min(vnet.gsoBytes, payload.length) > limitBytes) return malformed("ip-too-big");
  const count = Math.max(1, Math.ceil(payload.length / vnet.gsoBytes));
  return parsed(
    Array.from({ length: count }, (_, i) => {
      const part = payload.subarray(i * vnet.gsoBytes, (i + 1) * vnet.gsoBytes);
      const segment = concatBytes(packet.subarray(0, headerBytes), part);
      rewrite(segment, found, { index: i, count, before: i * vnet.gsoBytes });
      return segment;
    }),
  );
}

/** What differs from segment to segment: lengths, identification, sequence, flags and checksums. */
function rewrite(
  segment: Uint8Array<ArrayBuffer>,
  { family, protocol, transportOffset }: PacketDescriptor,
  place: { readonly index: number; readonly count: number; readonly before: number },
): void {
  const view = new DataView(segment.buffer);
  const transport = segment.subarray(transportOffset);
  const isUdp = protocol === PROTOCOL.udp;
  if (family === 6) {
    view.setUint16(4, segment.length - 40);
  } else {
    view.setUint16(2, segment.length);
    view.setUint16(4, view.getUint16(4) + place.index);
    view.setUint16(10, 0);
    view.setUint16(10, checksumFinish(checksumAdd(segment.subarray(0, transportOffset))));
  }
  if (isUdp) {
    setU16(transport, 4, transport.length);
  } else {
    view.setUint32(transportOffset + 4, view.getUint32(transportOffset + 4) + place.before);
    const isLast = place.index === place.count - 1;
    const kept = (isLast ? 0xff : 0xff & ~0x09) & (place.index === 0 ? 0xff : 0xff & ~0x80);
    transport[13] = (transport[13] ?? 0) & kept;
  }
  const field = isUdp ? 6 : 16;
  setU16(transport, field, 0);
  const checksum = checksumFinish(checksumAdd(transport, pseudoSumOf(segment, transport.length, protocol)));
  setU16(transport, field, isUdp && checksum === 0 ? 0xffff : checksum);
}

export function pseudoSumOf(packet: Uint8Array, lengthBytes: number, protocol: number): number {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  return pseudoHeaderSum({
    source: isV6 ? packet.subarray(8, 24) : packet.subarray(12, 16),
    destination: isV6 ? packet.subarray(24, 40) : packet.subarray(16, 20),
    protocol,
    lengthBytes,
  });
}

export function setU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >> 8;
  bytes[offset + 1] = value & 0xff;
}
