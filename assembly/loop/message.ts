/** `struct msghdr` and `struct iovec` in a worker's record (PF-37); pointers in them are absolute (PF-20). */
import { PLANE_ADDRESS, Plane, Worker } from "../layout";
import {
  MSGHDR_CONTROL,
  MSGHDR_CONTROL_BYTES,
  MSGHDR_FLAGS,
  MSGHDR_IOV,
  MSGHDR_IOV_COUNT,
  MSGHDR_NAME,
  MSGHDR_NAME_BYTES,
} from "../linux";

/**
 * Fills the header for one buffer.
 * @param name address of the socket address, of `nameBytes` bytes
 * @param controlBytes bytes of the worker's control buffer; 0: none
 */
export function writeMessage(
  worker: usize,
  name: usize,
  nameBytes: u32,
  at: usize,
  bytes: u32,
  controlBytes: u32,
): void {
  const base = load<u64>(PLANE_ADDRESS, Plane.BASE);
  const message = worker + Worker.MESSAGE;
  store<u64>(worker, base + <u64>at, Worker.VECTOR);
  store<u64>(worker, <u64>bytes, Worker.VECTOR + 8);
  store<u64>(message, base + <u64>name, MSGHDR_NAME);
  store<u32>(message, nameBytes, MSGHDR_NAME_BYTES);
  store<u64>(message, base + <u64>(worker + Worker.VECTOR), MSGHDR_IOV);
  store<u64>(message, 1, MSGHDR_IOV_COUNT);
  store<u64>(message, controlBytes == 0 ? 0 : base + <u64>(worker + Worker.CONTROL), MSGHDR_CONTROL);
  store<u64>(message, <u64>controlBytes, MSGHDR_CONTROL_BYTES);
  store<i32>(message, 0, MSGHDR_FLAGS);
}

/** Length of the control messages that the kernel wrote. */
export function controlBytesOf(worker: usize): u32 {
  return <u32>load<u64>(worker, Worker.MESSAGE + MSGHDR_CONTROL_BYTES);
}

/** Where receives put the source. */
export function nameOf(worker: usize): usize {
  return worker + Worker.NAME;
}
