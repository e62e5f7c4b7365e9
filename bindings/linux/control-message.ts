/**
 * Control messages of a UDP socket: what goes with a datagram besides its bytes.
 *
 * Each is `[length u64][level i32][type i32][payload…]`, padded to 8. The length counts header and
 * payload without the padding. The plane has its own reader; this one is its readable counterpart.
 */
import { copyOf, type IpAddress, malformed, type Parsed, parsed } from "../../src/base/index.ts";
import {
  CMSGHDR_BYTES,
  IP_PKTINFO,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  SO_RXQ_OVFL,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from "./socket-constants.ts";

/** What a sender can ask for (PG-45). */
export interface SendControl {
  /** Fixed source address, of the socket's family. */
  readonly source?: IpAddress;
  /** Traffic class of the outer header; only its two ECN bits are ever set by us (WG-56). */
  readonly trafficClass?: number;
  /** Size of every datagram but the last, when one send carries several. */
  readonly segmentBytes?: number;
}

/** What the kernel tells about a received datagram or GRO run. */
export interface ReceivedControl {
  /** Our address to which it was sent. */
  readonly local?: IpAddress;
  readonly trafficClass?: number;
  /** Size of every datagram but the last of a GRO run; absent for a single one. */
  readonly segmentBytes?: number;
  /** Datagrams that this socket has lost so far for want of buffer. */
  readonly overflow?: number;
}

/** Room for everything that we ask to be told; less gives MSG_CTRUNC. */
export const CONTROL_BYTES_MAX = 256;

/** Writes the wanted messages at the start of `into`; returns their length, 0 when there are none. */
export function encodeControl(family: 4 | 6, control: SendControl, into: Uint8Array): number {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  let end = 0;
  const open = (level: number, type: number, payloadBytes: number): number => {
    const at = end;
    end += align(CMSGHDR_BYTES + payloadBytes);
    into.fill(0, at, end);
    view.setBigUint64(at, BigInt(CMSGHDR_BYTES + payloadBytes), true);
    view.setInt32(at + 8, level, true);
    view.setInt32(at + 12, type, true);
    return at + CMSGHDR_BYTES;
  };
  if (control.source !== undefined) {
    // in_pktinfo: [interface i32][source 4][destination 4]; in6_pktinfo: [source 16][interface u32].
    const at = family === 4 ? open(IPPROTO_IP, IP_PKTINFO, 12) : open(IPPROTO_IPV6, IPV6_PKTINFO, 20);
    into.set(control.source, family === 4 ? at + 4 : at);
  }
  if (control.trafficClass !== undefined) {
    const at = family === 4 ? open(IPPROTO_IP, IP_TOS, 4) : open(IPPROTO_IPV6, IPV6_TCLASS, 4);
    view.setInt32(at, control.trafficClass, true);
  }
  if (control.segmentBytes !== undefined) {
    view.setUint16(open(SOL_UDP, UDP_SEGMENT, 2), control.segmentBytes, true);
  }
  return end;
}

export type MalformedControl = "short" | "bad-length";

/** Reads the messages of a received datagram; ones that we did not ask for are skipped. */
export function parseControl(bytes: Uint8Array): Parsed<ReceivedControl, MalformedControl> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let told: ReceivedControl = {};
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < CMSGHDR_BYTES) return malformed("short");
    const length = Number(view.getBigUint64(at, true));
    if (length < CMSGHDR_BYTES || length > bytes.length - at) return malformed("bad-length");
    const payload = bytes.subarray(at + CMSGHDR_BYTES, at + length);
    const fact = readFact(view.getInt32(at + 8, true), view.getInt32(at + 12, true), payload);
    if (fact === undefined) return malformed("bad-length");
    told = { ...told, ...fact };
    at += align(length);
  }
  return parsed(told);
}

/** One message's content; `undefined` when it is too short for its type. */
function readFact(level: number, type: number, payload: Uint8Array): ReceivedControl | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  if (level === IPPROTO_IP && type === IP_PKTINFO) {
    return payload.length < 12 ? undefined : { local: copyOf(payload.subarray(4, 8)) };
  }
  if (level === IPPROTO_IPV6 && type === IPV6_PKTINFO) {
    return payload.length < 20 ? undefined : { local: copyOf(payload.subarray(0, 16)) };
  }
  // IPv4 reports one byte where it takes an int.
  if (level === IPPROTO_IP && type === IP_TOS) {
    return payload.length < 1 ? undefined : { trafficClass: view.getUint8(0) };
  }
  if (payload.length < 4) return isOurs(level, type) ? undefined : {};
  if (level === IPPROTO_IPV6 && type === IPV6_TCLASS) return { trafficClass: view.getInt32(0, true) };
  if (level === SOL_UDP && type === UDP_GRO) return { segmentBytes: view.getInt32(0, true) };
  if (level === SOL_SOCKET && type === SO_RXQ_OVFL) return { overflow: view.getUint32(0, true) };
  return {};
}

function isOurs(level: number, type: number): boolean {
  return (
    (level === IPPROTO_IPV6 && type === IPV6_TCLASS) ||
    (level === SOL_UDP && type === UDP_GRO) ||
    (level === SOL_SOCKET && type === SO_RXQ_OVFL)
  );
}

function align(bytes: number): number {
  return (bytes + 7) & ~7;
}
