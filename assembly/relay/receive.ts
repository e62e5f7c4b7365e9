/** Receiving many messages by one call, and what the kernel says of each (RL-51). */
import { count } from "../counters";
import { Sockaddr } from "../header";
import {
  Counter,
  ENDED_SOCKET,
  Forward,
  RELAY_BATCH_BYTES,
  RELAY_BUFFER_BYTES,
  RELAY_CONTROL_BYTES,
  RELAY_MESSAGES,
  RELAY_NAME_BYTES,
  Worker,
} from "../layout";
import {
  AF_INET6,
  CMSGHDR_BYTES,
  EAGAIN,
  EBADF,
  EINTR,
  ENOTSOCK,
  IP_PKTINFO,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  MMSGHDR_BYTES,
  MMSGHDR_LENGTH,
  MSG_DONTWAIT,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_NAME_BYTES,
  SO_RXQ_OVFL,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from "../linux";
import { countErrno } from "../loop/errno";
import { sysErrno, sysRecvmmsg } from "../sys";

const ECN_MASK: u32 = 3;
/** Fewer messages per call than this do not pay for the call. */
const READY_MIN: u32 = 4;
/** More failures than this in a row within a second: the socket is broken. */
const ERRORS_MAX: u32 = 100;
const ERRORS_WINDOW_MS: u64 = 1000;

/**
 * Receives messages from a socket into the worker's buffers.
 * @returns how many; 0: there is nothing, or the kernel refused
 */
export function receiveMany(worker: usize, fd: i32): u32 {
  const ready = load<u32>(worker, Forward.READY);
  const received = sysRecvmmsg(fd, load<usize>(worker, Forward.IN_HEADERS), ready, MSG_DONTWAIT);
  if (received > 0) {
    store<u32>(worker, 0, Forward.ERRORS);
    return <u32>received;
  }
  handleError(worker, sysErrno());
  return 0;
}

/** Whether the last receive took all that it was ready for, so that more may wait. */
export function wasFull(worker: usize, received: u32): bool {
  return received == load<u32>(worker, Forward.READY);
}

/**
 * Makes the headers of a receive ready for the next, whose size follows from this one's: what is received
 * should still be in the cache when it is sent, and many small messages should come by one call.
 */
export function afterReceive(worker: usize, received: u32, bytes: u32): void {
  const headers = load<usize>(worker, Forward.IN_HEADERS);
  for (let i: u32 = 0; i < received; i++) {
    // The kernel has written what it used of them (PF-36).
    const header = headers + <usize>i * MMSGHDR_BYTES;
    store<u32>(header, RELAY_NAME_BYTES, MSGHDR_NAME_BYTES);
    store<u64>(header, <u64>RELAY_CONTROL_BYTES, MSGHDR_CONTROL_BYTES);
  }
  const average = bytes / received + 1;
  const ready = min<u32>(RELAY_MESSAGES, max<u32>(READY_MIN, RELAY_BATCH_BYTES / average));
  store<u32>(worker, ready, Forward.READY);
}

export function bytesOfMessage(worker: usize, i: u32): u32 {
  return load<u32>(headerOf(worker, i), MMSGHDR_LENGTH);
}

export function bufferOf(worker: usize, i: u32): usize {
  return load<usize>(worker, Worker.INPUT) + <usize>i * <usize>RELAY_BUFFER_BYTES;
}

function headerOf(worker: usize, i: u32): usize {
  return load<usize>(worker, Forward.IN_HEADERS) + <usize>i * MMSGHDR_BYTES;
}

/**
 * Reads source, local address and ECN of message `i` into the worker's record.
 * @param overflowAt where SO_RXQ_OVFL belongs; 0: nowhere
 * @returns the length of its datagrams but for the last: all of it, or the stride of a train
 */
export function readArrival(worker: usize, i: u32, overflowAt: usize): u32 {
  const name = load<usize>(worker, Forward.IN_NAMES) + <usize>(i * RELAY_NAME_BYTES);
  const isV6 = <u32>load<u16>(name) == AF_INET6;
  store<u32>(worker, isV6 ? 16 : 4, Forward.FROM_BYTES);
  store<u32>(worker, <u32>bswap<u16>(load<u16>(name, Sockaddr.PORT)), Forward.FROM_PORT);
  store<u32>(worker, isV6 ? load<u32>(name, Sockaddr.SCOPE6) : 0, Forward.FROM_SCOPE);
  writeAddress(worker + Forward.FROM, name + (isV6 ? Sockaddr.ADDRESS6 : Sockaddr.ADDRESS4), isV6);
  store<u32>(worker, 0, Forward.LOCAL_BYTES);
  store<u32>(worker, 0, Forward.ECN);
  store<usize>(worker, 0, Forward.BINDING);
  store<u32>(worker, 0, Forward.CHANNEL);
  const bytes = bytesOfMessage(worker, i);
  const stride = readControl(worker, i, overflowAt);
  count(worker, Counter.READS, 1);
  count(worker, Counter.BYTES_IN, <u64>bytes);
  if (stride == 0 || stride >= bytes) {
    count(worker, Counter.PACKETS_IN, 1);
    return bytes;
  }
  count(worker, Counter.PACKETS_IN, <u64>((bytes + stride - 1) / stride));
  count(worker, Counter.SUPER_FRAMES_IN, 1);
  return stride;
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

/** Reads the control messages. Returns the stride of UDP_GRO, 0: none. */
function readControl(worker: usize, i: u32, overflowAt: usize): u32 {
  const control = load<usize>(worker, Forward.IN_CONTROLS) + <usize>(i * RELAY_CONTROL_BYTES);
  const bytes = <u32>load<u64>(headerOf(worker, i), MSGHDR_CONTROL_BYTES);
  let stride: u32 = 0;
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

/** The kernel tells how many it has lost since the socket was opened. */
function noteOverflow(worker: usize, at: usize, lost: u32): void {
  if (at == 0) return;
  const more = lost - load<u32>(at);
  store<u32>(at, lost);
  if (more != 0) count(worker, Counter.UDP_OVERFLOW, <u64>more);
}

function readIp4(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IP_TOS && bytes >= 1) {
    store<u32>(worker, <u32>load<u8>(data) & ECN_MASK, Forward.ECN);
  } else if (type == IP_PKTINFO && bytes >= 12) {
    store<u32>(worker, 4, Forward.LOCAL_BYTES);
    writeAddress(worker + Forward.LOCAL, data + 4, false);
  }
}

function readIp6(worker: usize, type: i32, data: usize, bytes: u32): void {
  if (type == IPV6_TCLASS && bytes >= 4) {
    store<u32>(worker, load<u32>(data) & ECN_MASK, Forward.ECN);
  } else if (type == IPV6_PKTINFO && bytes >= 20) {
    store<u32>(worker, 16, Forward.LOCAL_BYTES);
    writeAddress(worker + Forward.LOCAL, data, true);
  }
}

function handleError(worker: usize, error: i32): void {
  if (error == EAGAIN || error == EINTR) return;
  count(worker, Counter.UDP_RECEIVE_ERRORS, 1);
  countErrno(worker, Worker.RECEIVE_ERRNOS, error);
  store<u32>(worker, <u32>error, Worker.LAST_ERRNO);
  const now = load<u64>(worker, Worker.NOW);
  const errors = load<u32>(worker, Forward.ERRORS) + 1;
  if (errors == 1) store<u64>(worker, now, Forward.ERRORS_SINCE);
  store<u32>(worker, errors, Forward.ERRORS);
  const isFlood = errors > ERRORS_MAX && now - load<u64>(worker, Forward.ERRORS_SINCE) < ERRORS_WINDOW_MS;
  if (isFlood || error == EBADF || error == ENOTSOCK) store<u32>(worker, ENDED_SOCKET, Worker.ENDED);
}
