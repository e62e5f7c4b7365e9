/**
 * Where a receive came from, where it arrived, and how (PF-36): read from its socket address and its control
 * messages, `[length u64][level i32][type i32][data]...`, and told to control with a datagram.
 */
import { count } from "./counters";
import { Sockaddr } from "./header";
import { Counter, Entry, NO_SLOT, Worker } from "./layout";
import {
  AF_INET6,
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
} from "./linux";

const ECN_MASK: u32 = 3;

/** Reads the source, a struct sockaddr_in or sockaddr_in6, into the worker's record. */
export function readSource(worker: usize, name: usize): void {
  const isV6 = <u32>load<u16>(name) == AF_INET6;
  store<u32>(worker, isV6 ? 16 : 4, Worker.FROM_BYTES);
  store<u32>(worker, <u32>bswap<u16>(load<u16>(name, Sockaddr.PORT)), Worker.FROM_PORT);
  store<u32>(worker, isV6 ? load<u32>(name, Sockaddr.SCOPE6) : 0, Worker.FROM_SCOPE);
  writeAddress(worker + Worker.FROM, name + (isV6 ? Sockaddr.ADDRESS6 : Sockaddr.ADDRESS4), isV6);
}

/**
 * Reads what the kernel says about a receive into the worker's record: local address, ECN, datagrams lost.
 * @param bytes length of the control messages
 * @param overflowAt where SO_RXQ_OVFL belongs; 0: nowhere
 * @returns the stride of UDP_GRO, or 0: a single datagram
 */
export function readControl(worker: usize, control: usize, bytes: u32, overflowAt: usize): u32 {
  let stride: u32 = 0;
  store<u32>(worker, 0, Worker.LOCAL_BYTES);
  store<u32>(worker, 0, Worker.OUTER_ECN);
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
      noteOverflow(worker, overflowAt, load<u32>(data));
    else if (level == IPPROTO_IP) readIp4(worker, type, data, dataBytes);
    else if (level == IPPROTO_IPV6) readIp6(worker, type, data, dataBytes);
    at += (length + 7) & ~7;
  }
  return stride;
}

/** Fills an entry of the control ring with a datagram of the receive at hand. */
export function fillDatagram(
  worker: usize,
  entry: usize,
  kind: u32,
  detail: u32,
  channel: u32,
  at: usize,
  bytes: u32,
): void {
  store<u32>(entry, kind, Entry.KIND);
  store<u32>(entry, NO_SLOT, Entry.SLOT);
  store<u32>(entry, 0, Entry.PEER_ID);
  store<u32>(entry, 0, Entry.GENERATION);
  store<u32>(entry, detail, Entry.DETAIL);
  fillSource(worker, entry, channel);
  memory.copy(load<usize>(entry, Entry.AT), at, <usize>bytes);
}

/** Source, local address and channel of the receive at hand. */
export function fillSource(worker: usize, entry: usize, channel: u32): void {
  store<u32>(entry, load<u32>(worker, Worker.FROM_BYTES), Entry.FROM_BYTES);
  store<u32>(entry, load<u32>(worker, Worker.FROM_PORT), Entry.FROM_PORT);
  store<u32>(entry, load<u32>(worker, Worker.FROM_SCOPE), Entry.FROM_SCOPE);
  store<u32>(entry, load<u32>(worker, Worker.LOCAL_BYTES), Entry.LOCAL_BYTES);
  store<u32>(entry, channel, Entry.CHANNEL);
  v128.store(entry, v128.load(worker, Worker.FROM), Entry.FROM);
  v128.store(entry, v128.load(worker, Worker.LOCAL), Entry.LOCAL);
}

/** 16 bytes, zeros behind an IPv4 address. */
function writeAddress(to: usize, from: usize, isV6: bool): void {
  if (isV6) {
    v128.store(to, v128.load(from));
    return;
  }
  v128.store(to, i32x4.splat(0));
  store<u32>(to, load<u32>(from));
}

/** The kernel tells how many it has lost since the socket was opened. */
function noteOverflow(worker: usize, at: usize, lost: u32): void {
  if (at == 0) return;
  const more = lost - load<u32>(at);
  store<u32>(at, lost);
  if (more == 0) return;
  const isFiltered = load<u32>(worker, Worker.IS_FILTERED) != 0;
  count(worker, isFiltered ? Counter.UDP_FILTERED : Counter.UDP_OVERFLOW, <u64>more);
}

function readIp4(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IP_TOS && bytes >= 1) {
    store<u32>(worker, <u32>load<u8>(data) & ECN_MASK, Worker.OUTER_ECN);
  } else if (type == IP_PKTINFO && bytes >= 12) {
    // The local address rather than the header's destination: it can be used as a source.
    store<u32>(worker, 4, Worker.LOCAL_BYTES);
    writeAddress(worker + Worker.LOCAL, data + 4, false);
  }
}

function readIp6(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IPV6_TCLASS && bytes >= 4) {
    store<u32>(worker, load<u32>(data) & ECN_MASK, Worker.OUTER_ECN);
  } else if (type == IPV6_PKTINFO && bytes >= 20) {
    store<u32>(worker, 16, Worker.LOCAL_BYTES);
    writeAddress(worker + Worker.LOCAL, data, true);
  }
}
