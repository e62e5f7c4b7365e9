/** TCP segments in IP packets (RFC 9293 §3.1). */
import { concatBytes, type SocketAddress } from "../base/index.ts";
import {
  checksumAdd,
  checksumFinish,
  encodeIp,
  type PacketView,
  PROTOCOL,
  pseudoHeaderSum,
} from "../packet/index.ts";

export interface Segment {
  readonly seq: number;
  readonly ack: number;
  readonly isSyn: boolean;
  readonly isAck: boolean;
  readonly isFin: boolean;
  readonly isRst: boolean;
  readonly window: number;
  /** Only of a SYN. */
  readonly mss?: number;
  readonly payload: Uint8Array;
}

const FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;
const TCP_HEADER_BYTES = 20;
const OPTION = { end: 0, nop: 1, mss: 2 } as const;
const MSS_OPTION_BYTES = 4;

/** Behind a validated packet nothing is malformed (TN-3 row 11); checksums of the TUN device may be unfinished. */
export function readSegment({ transport }: Pick<PacketView, "transport">): Segment {
  const view = new DataView(transport.buffer, transport.byteOffset, transport.byteLength);
  const headerBytes = (view.getUint8(12) >> 4) * 4;
  const flags = view.getUint8(13);
  const isSyn = (flags & FLAG.syn) !== 0;
  const mss = isSyn ? readMss(transport.subarray(TCP_HEADER_BYTES, headerBytes)) : undefined;
  return {
    seq: view.getUint32(4),
    ack: view.getUint32(8),
    isSyn,
    isAck: (flags & FLAG.ack) !== 0,
    isFin: (flags & FLAG.fin) !== 0,
    isRst: (flags & FLAG.rst) !== 0,
    window: view.getUint16(14),
    ...(mss !== undefined && { mss }),
    payload: transport.subarray(headerBytes),
  };
}

function readMss(options: Uint8Array): number | undefined {
  for (let at = 0; at < options.length; ) {
    const kind = options[at];
    if (kind === OPTION.end) return undefined;
    const length = kind === OPTION.nop ? 1 : (options[at + 1] ?? 0);
    if (kind !== OPTION.nop && length < 2) return undefined;
    if (kind === OPTION.mss && length === MSS_OPTION_BYTES && at + length <= options.length) {
      return ((options[at + 2] ?? 0) << 8) | (options[at + 3] ?? 0);
    }
    at += length;
  }
  return undefined;
}

/** Octets of sequence space: data, and one each for SYN and FIN. */
export function spaceOf({ payload, isSyn, isFin }: Segment): number {
  return payload.length + (isSyn ? 1 : 0) + (isFin ? 1 : 0);
}

/** A whole packet, with its checksum. */
export function encodeSegment(
  from: SocketAddress,
  to: SocketAddress,
  segment: Segment,
): Uint8Array<ArrayBuffer> {
  const { seq, ack, isSyn, isAck, isFin, isRst, window, mss, payload } = segment;
  const options = mss === undefined ? [] : [OPTION.mss, MSS_OPTION_BYTES, mss >> 8, mss & 0xff];
  const header = new Uint8Array(TCP_HEADER_BYTES + options.length);
  const view = new DataView(header.buffer);
  view.setUint16(0, from.port);
  view.setUint16(2, to.port);
  view.setUint32(4, seq);
  view.setUint32(8, ack);
  header[12] = (header.length / 4) << 4;
  header[13] =
    (isFin ? FLAG.fin : 0) |
    (isSyn ? FLAG.syn : 0) |
    (isRst ? FLAG.rst : 0) |
    (isAck ? FLAG.ack : 0) |
    (payload.length > 0 ? FLAG.psh : 0);
  view.setUint16(14, window);
  header.set(options, TCP_HEADER_BYTES);
  const transport = concatBytes(header, payload);
  const addresses = { source: from.address, destination: to.address };
  const start = pseudoHeaderSum({ ...addresses, protocol: PROTOCOL.tcp, lengthBytes: transport.length });
  new DataView(transport.buffer).setUint16(16, checksumFinish(checksumAdd(transport, start)));
  const packet = encodeIp({ ...addresses, protocol: PROTOCOL.tcp, transport });
  // Segments are no longer than the MSS, which the MTU has room for.
  if (!packet.ok) throw new Error(packet.reason);
  return packet.value;
}

/** The reset that answers what belongs to no connection (RFC 9293 §3.5.2). */
export function resetFor(segment: Segment): Segment {
  const plain = { isSyn: false, isFin: false, isRst: true, window: 0, payload: new Uint8Array(0) };
  if (segment.isAck) return { ...plain, seq: segment.ack, ack: 0, isAck: false };
  return { ...plain, seq: 0, ack: (segment.seq + spaceOf(segment)) >>> 0, isAck: true };
}
