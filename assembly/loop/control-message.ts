/** Control messages of sendmsg and recvmsg (PF-36, PF-37): `[length u64][level i32][type i32][data]...`. */
import { Egress, Ingress, Worker } from "../layout";
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
} from "../linux";

const ECN_MASK: u32 = 3;

/**
 * Writes what the send under construction needs: segment size, ECN, fixed source.
 * @param segment length of each datagram; 0: a single datagram
 * @returns length of the control messages in bytes
 */
export function writeControl(worker: usize, isV6: bool, segment: u32): u32 {
  const control = worker + Worker.CONTROL;
  let used: u32 = 0;
  if (segment != 0) used = writeSegment(control, used, segment);
  const ecn = load<u32>(worker, Egress.SEND_ECN);
  if (ecn != 0) used = writeTrafficClass(control, used, isV6, ecn);
  const sourceBytes = load<u32>(worker, Egress.SEND_SOURCE_BYTES);
  if (sourceBytes != (isV6 ? 16 : 4)) return used;
  return writeSource(control, used, isV6, worker + Egress.SEND_SOURCE);
}

/**
 * Writes what an answer to the receive at hand needs: that it is sent from the address that was asked.
 * @returns length of the control messages in bytes
 */
export function writeAnswerControl(worker: usize, isV6: bool): u32 {
  return writeSource(worker + Worker.CONTROL, 0, isV6, worker + Ingress.LOCAL);
}

/** Asks for segments of that length; returns where the next message begins. */
export function writeSegment(control: usize, used: u32, segment: u32): u32 {
  store<u16>(control + <usize>(used + CMSGHDR_BYTES), <u16>segment);
  return begin(control, used, SOL_UDP, UDP_SEGMENT, 2);
}

/** Sets DSCP and ECN; returns where the next message begins. */
export function writeTrafficClass(control: usize, used: u32, isV6: bool, bits: u32): u32 {
  store<u32>(control + <usize>(used + CMSGHDR_BYTES), bits);
  return begin(control, used, isV6 ? IPPROTO_IPV6 : IPPROTO_IP, isV6 ? IPV6_TCLASS : IP_TOS, 4);
}

/** Fixes the source address; returns where the next message begins. */
export function writeSource(control: usize, used: u32, isV6: bool, source: usize): u32 {
  const data = control + <usize>(used + CMSGHDR_BYTES);
  if (isV6) {
    // struct in6_pktinfo: address, interface index (0: any).
    v128.store(data, v128.load(source));
    store<u32>(data, 0, 16);
    return begin(control, used, IPPROTO_IPV6, IPV6_PKTINFO, 20);
  }
  // struct in_pktinfo: interface index (0: any), source, header destination (ignored).
  store<u32>(data, 0);
  store<u32>(data, load<u32>(source), 4);
  store<u32>(data, 0, 8);
  return begin(control, used, IPPROTO_IP, IP_PKTINFO, 12);
}

/** Writes a header at `used`; returns where the next message begins. */
function begin(control: usize, used: u32, level: i32, type: i32, bytes: u32): u32 {
  const at = control + <usize>used;
  store<u64>(at, <u64>(CMSGHDR_BYTES + bytes));
  store<i32>(at, level, 8);
  store<i32>(at, type, 12);
  return used + ((CMSGHDR_BYTES + bytes + 7) & ~7);
}

/**
 * Reads what the kernel says about a receive into the ingress worker's record: local address, ECN.
 * @param bytes length of the control messages
 * @param overflowAt where SO_RXQ_OVFL belongs, if it comes
 * @returns the stride of UDP_GRO, or 0: a single datagram
 */
export function readControl(worker: usize, bytes: u32, overflowAt: usize): u32 {
  const control = worker + Worker.CONTROL;
  let stride: u32 = 0;
  store<u32>(worker, 0, Ingress.LOCAL_BYTES);
  store<u32>(worker, 0, Ingress.OUTER_ECN);
  let at: u32 = 0;
  while (at + CMSGHDR_BYTES <= bytes) {
    const message = control + <usize>at;
    const length = <u32>load<u64>(message);
    if (length < CMSGHDR_BYTES || length > bytes - at) break;
    const level = load<i32>(message, 8);
    const type = load<i32>(message, 12);
    const data = message + <usize>CMSGHDR_BYTES;
    const dataBytes = length - CMSGHDR_BYTES;
    if (level == SOL_UDP && type == UDP_GRO && dataBytes >= 4) stride = load<u32>(data);
    else if (level == SOL_SOCKET && type == SO_RXQ_OVFL && dataBytes >= 4)
      store<u32>(overflowAt, load<u32>(data));
    else if (level == IPPROTO_IP) readIp4(worker, type, data, dataBytes);
    else if (level == IPPROTO_IPV6) readIp6(worker, type, data, dataBytes);
    at += (length + 7) & ~7;
  }
  return stride;
}

function readIp4(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IP_TOS && bytes >= 1) {
    store<u32>(worker, <u32>load<u8>(data) & ECN_MASK, Ingress.OUTER_ECN);
  } else if (type == IP_PKTINFO && bytes >= 12) {
    // The local address rather than the header's destination: it can be used as a source.
    store<u32>(worker, 4, Ingress.LOCAL_BYTES);
    v128.store(worker, i32x4.splat(0), Ingress.LOCAL);
    store<u32>(worker, load<u32>(data, 4), Ingress.LOCAL);
  }
}

function readIp6(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IPV6_TCLASS && bytes >= 4) {
    store<u32>(worker, load<u32>(data) & ECN_MASK, Ingress.OUTER_ECN);
  } else if (type == IPV6_PKTINFO && bytes >= 20) {
    store<u32>(worker, 16, Ingress.LOCAL_BYTES);
    v128.store(worker, v128.load(data), Ingress.LOCAL);
  }
}
