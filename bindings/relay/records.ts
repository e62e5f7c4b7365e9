/** The records of the relay's two workers, with the arrays for their system calls (RL-51, RL-52). */
import {
  IOVEC_BYTES,
  MMSGHDR_BYTES,
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
} from "../linux/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type SharedMemory } from "../memory/index.ts";
import { createRing, RING_SIZES } from "../ring/index.ts";

const { worker: WORKER, forward: FORWARD } = OFFSETS;
const MESSAGES = CONSTANTS.RELAY_MESSAGES;
/** `struct epoll_event` where it is longest. */
const EPOLL_EVENT_BYTES_MAX = 16;
const NO_DESCRIPTOR = 0xffff_ffff;

/** @param base absolute address of the memory's first byte */
export function createRelayWorker(shared: SharedMemory, base: bigint): number {
  const worker = shared.allocate(BYTES.forward);
  const set = (field: number, value: number): void => {
    shared.words[(worker + field) >> 2] = value;
  };
  const array = (field: number, bytesEach: number): number => {
    const at = shared.allocate(MESSAGES * bytesEach);
    set(field, at);
    return at;
  };
  for (const field of [WORKER.tun, WORKER.udp4, WORKER.udp6, WORKER.wakeFd]) set(field, NO_DESCRIPTOR);
  set(WORKER.controlRing, createRing(shared, ...RING_SIZES.control));
  const buffers = array(WORKER.input, CONSTANTS.RELAY_BUFFER_BYTES);
  const headers = array(FORWARD.inHeaders, MMSGHDR_BYTES);
  const vectors = array(FORWARD.inVectors, IOVEC_BYTES);
  const names = array(FORWARD.inNames, CONSTANTS.RELAY_NAME_BYTES);
  const controls = array(FORWARD.inControls, CONSTANTS.RELAY_CONTROL_BYTES);
  array(FORWARD.outHeaders, MMSGHDR_BYTES);
  array(FORWARD.outVectors, CONSTANTS.RELAY_VECTORS_BYTES);
  array(FORWARD.outControls, CONSTANTS.RELAY_CONTROL_BYTES);
  array(FORWARD.outHeads, CONSTANTS.RELAY_HEADS_BYTES);
  array(FORWARD.outSends, BYTES.relaySend);
  array(FORWARD.splitHeaders, MMSGHDR_BYTES);
  array(FORWARD.splitSends, BYTES.relaySend);
  array(FORWARD.epollEvents, EPOLL_EVENT_BYTES_MAX);
  set(FORWARD.ready, MESSAGES);
  set(FORWARD.outFd, NO_DESCRIPTOR);
  for (let i = 0; i < MESSAGES; i++) {
    prepareReceive(shared, base, headers + i * MMSGHDR_BYTES, {
      buffer: buffers + i * CONSTANTS.RELAY_BUFFER_BYTES,
      vector: vectors + i * IOVEC_BYTES,
      name: names + i * CONSTANTS.RELAY_NAME_BYTES,
      control: controls + i * CONSTANTS.RELAY_CONTROL_BYTES,
    });
  }
  return worker;
}

interface ReceiveParts {
  readonly buffer: number;
  readonly vector: number;
  readonly name: number;
  readonly control: number;
}

/** One `struct mmsghdr`; the pointers in it are absolute (PF-20) and stay. */
function prepareReceive(
  { longs, words }: SharedMemory,
  base: bigint,
  header: number,
  parts: ReceiveParts,
): void {
  const point = (at: number, offset: number): void => {
    longs[at >> 3] = base + BigInt(offset);
  };
  point(parts.vector, parts.buffer);
  longs[(parts.vector + 8) >> 3] = BigInt(CONSTANTS.RELAY_BUFFER_BYTES);
  point(header + MSGHDR_NAME, parts.name);
  words[(header + MSGHDR_NAME_BYTES) >> 2] = CONSTANTS.RELAY_NAME_BYTES;
  point(header + MSGHDR_IOV, parts.vector);
  longs[(header + MSGHDR_IOV_COUNT) >> 3] = 1n;
  point(header + MSGHDR_CONTROL, parts.control);
  longs[(header + MSGHDR_CONTROL_BYTES) >> 3] = BigInt(CONSTANTS.RELAY_CONTROL_BYTES);
}
