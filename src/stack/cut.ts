/** Datagrams that do not fit into a packet of the tunnel, cut up as a kernel does (PG-129; RFC 791 §3.2, RFC 8200 §4.5). */
import { concatBytes, type SocketAddress } from "../base/index.ts";
import {
  checksumAdd,
  checksumFinish,
  encodeUdpDatagram,
  FRAGMENT_HEADER_BYTES,
  MAX_IP_SIZE,
  MORE_V4,
  PACKET_HOP_LIMIT,
  PROTOCOL,
  UDP_HEADER_BYTES,
} from "../packet/index.ts";
import { HEADER_BYTES, PACKET_BYTES_MAX } from "./constants.ts";

const FRAGMENT_HEADER = 44;
/** Offsets count units of eight bytes. */
const STEP = {
  4: floor8(MAX_IP_SIZE - HEADER_BYTES[4]),
  6: floor8(MAX_IP_SIZE - HEADER_BYTES[6] - FRAGMENT_HEADER_BYTES),
} as const;

/** Empty: it is longer than a datagram can be. */
export function cutUdp(
  from: SocketAddress,
  to: SocketAddress,
  payload: Uint8Array,
  identification: number,
): Uint8Array<ArrayBuffer>[] {
  const family = from.address.length === 4 ? 4 : 6;
  if (HEADER_BYTES[family] + UDP_HEADER_BYTES + payload.length > PACKET_BYTES_MAX) return [];
  const datagram = encodeUdpDatagram(from, to, payload);
  const packets: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < datagram.length; at += STEP[family]) {
    const octets = datagram.subarray(at, at + STEP[family]);
    const isLast = at + octets.length === datagram.length;
    const header = family === 4 ? headerV4 : headerV6;
    packets.push(
      concatBytes(header(from, to, { at, isLast, identification, length: octets.length }), octets),
    );
  }
  return packets;
}

interface Place {
  readonly at: number;
  readonly isLast: boolean;
  readonly identification: number;
  readonly length: number;
}

/** Without DF, for whoever is on the way to the resource. */
function headerV4(from: SocketAddress, to: SocketAddress, place: Place): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES[4]);
  const view = new DataView(header.buffer);
  header[0] = 0x45;
  view.setUint16(2, header.length + place.length);
  view.setUint16(4, place.identification & 0xffff);
  view.setUint16(6, (place.at / 8) | (place.isLast ? 0 : MORE_V4));
  header.set([PACKET_HOP_LIMIT, PROTOCOL.udp], 8);
  header.set(from.address, 12);
  header.set(to.address, 16);
  view.setUint16(10, checksumFinish(checksumAdd(header)));
  return header;
}

function headerV6(from: SocketAddress, to: SocketAddress, place: Place): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES[6] + FRAGMENT_HEADER_BYTES);
  const view = new DataView(header.buffer);
  header[0] = 0x60;
  view.setUint16(4, FRAGMENT_HEADER_BYTES + place.length);
  header.set([FRAGMENT_HEADER, PACKET_HOP_LIMIT], 6);
  header.set(from.address, 8);
  header.set(to.address, 24);
  header[HEADER_BYTES[6]] = PROTOCOL.udp;
  view.setUint16(HEADER_BYTES[6] + 2, place.at | (place.isLast ? 0 : 1));
  view.setUint32(HEADER_BYTES[6] + 4, place.identification);
  return header;
}

function floor8(bytes: number): number {
  return bytes - (bytes % 8);
}
