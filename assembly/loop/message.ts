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
 * Fills the worker's header for one buffer.
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
  const control = worker + Worker.CONTROL;
  writeHeader(worker + Worker.MESSAGE, worker + Worker.VECTOR, at, bytes, control, controlBytes);
  writeName(worker + Worker.MESSAGE, name, nameBytes);
}

/** Fills a header for one buffer, which `vector` points to. */
export function writeHeader(
  header: usize,
  vector: usize,
  at: usize,
  bytes: u32,
  control: usize,
  controlBytes: u32,
): void {
  const base = load<u64>(PLANE_ADDRESS, Plane.BASE);
  store<u64>(vector, base + <u64>at);
  store<u64>(vector, <u64>bytes, 8);
  store<u64>(header, base + <u64>vector, MSGHDR_IOV);
  store<u64>(header, 1, MSGHDR_IOV_COUNT);
  store<u64>(header, controlBytes == 0 ? 0 : base + <u64>control, MSGHDR_CONTROL);
  store<u64>(header, <u64>controlBytes, MSGHDR_CONTROL_BYTES);
  store<i32>(header, 0, MSGHDR_FLAGS);
}

export function writeName(header: usize, name: usize, nameBytes: u32): void {
  store<u64>(header, load<u64>(PLANE_ADDRESS, Plane.BASE) + <u64>name, MSGHDR_NAME);
  store<u32>(header, nameBytes, MSGHDR_NAME_BYTES);
}

/** Length of the control messages that the kernel wrote. */
export function controlBytesOf(worker: usize): u32 {
  return <u32>load<u64>(worker, Worker.MESSAGE + MSGHDR_CONTROL_BYTES);
}

/** Where receives put the source. */
export function nameOf(worker: usize): usize {
  return worker + Worker.NAME;
}
