/** Receiving many messages by one call, and what the kernel says of each (RL-51). */
import { readControl, readSource } from "../arrival";
import { count } from "../counters";
import {
  Counter,
  Forward,
  RELAY_BATCH_BYTES,
  RELAY_BUFFER_BYTES,
  RELAY_CONTROL_BYTES,
  RELAY_MESSAGES,
  RELAY_NAME_BYTES,
  Worker,
} from "../layout";
import {
  EAGAIN,
  EINTR,
  MMSGHDR_BYTES,
  MMSGHDR_LENGTH,
  MSG_DONTWAIT,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_NAME_BYTES,
} from "../linux";
import { noteReceiveError } from "../loop/errno";
import { sysErrno, sysRecvmmsg } from "../sys";

/** Fewer messages per call than this do not pay for the call. */
const READY_MIN: u32 = 4;

/**
 * Receives messages from a socket into the worker's buffers.
 * @returns how many; 0: there is nothing, or the kernel refused
 */
export function receiveMany(worker: usize, fd: i32): u32 {
  const ready = load<u32>(worker, Forward.READY);
  const received = sysRecvmmsg(fd, load<usize>(worker, Forward.IN_HEADERS), ready, MSG_DONTWAIT);
  if (received > 0) {
    store<u32>(worker, 0, Worker.ERRORS);
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
  readSource(worker, name);
  store<usize>(worker, 0, Forward.BINDING);
  store<u32>(worker, 0, Forward.CHANNEL);
  const bytes = bytesOfMessage(worker, i);
  const control = load<usize>(worker, Forward.IN_CONTROLS) + <usize>(i * RELAY_CONTROL_BYTES);
  const controlBytes = <u32>load<u64>(headerOf(worker, i), MSGHDR_CONTROL_BYTES);
  const stride = readControl(worker, control, controlBytes, overflowAt);
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

function handleError(worker: usize, error: i32): void {
  if (error != EAGAIN && error != EINTR) noteReceiveError(worker, error);
}
