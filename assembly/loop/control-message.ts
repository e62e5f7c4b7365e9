/** Control messages of sends (PF-37): `[length u64][level i32][type i32][data]...`. Those of receives: `arrival.ts`. */
import { Egress, Worker } from "../layout";
import {
  CMSGHDR_BYTES,
  IP_PKTINFO,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  SOL_UDP,
  UDP_SEGMENT,
} from "../linux";

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
