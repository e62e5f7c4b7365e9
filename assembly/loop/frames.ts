/**
 * The network's side of the workers: the TUN device, or rings of frames between them and a stack that takes the
 * kernel's place (PG-122). What is read and written is the same, a packet or super-frame behind its virtio_net_hdr.
 */
import { BUFFER_LEAD, Entry, FRAME_MAX_BYTES, PLANE_ADDRESS, Plane, Ring, Worker } from "../layout";
import { EAGAIN, ENOBUFS } from "../linux";
import { ringCommit, ringPeek, ringReserve, ringTake } from "../ring";
import { sysErrno, sysRead, sysWrite, sysYield } from "../sys";
import { isStopping, pause } from "./wait";

/** How long a frame waits until control has taken others: some turns of its loop. */
const ROOM_YIELDS: u32 = 16;
const ROOM_WAITS: u32 = 100;

/**
 * Puts the next frame where the plane reads it, or, of a ring, leaves it where it lies.
 * @returns its length; 0 or less: there is none, as a negated error number
 */
export function readFrame(worker: usize): i32 {
  const ring = load<usize>(worker, Worker.FRAME_RING);
  if (ring == 0) {
    const at = load<usize>(worker, Worker.INPUT) + BUFFER_LEAD;
    const bytes = sysRead(load<i32>(worker, Worker.TUN), at, FRAME_MAX_BYTES);
    return bytes < 0 ? -sysErrno() : bytes;
  }
  const entry = ringPeek(ring);
  if (entry == 0) return -EAGAIN;
  store<usize>(worker, load<usize>(entry, Entry.AT) - BUFFER_LEAD, Worker.INPUT);
  return load<i32>(entry, Entry.LENGTH);
}

/** Whether a ring has something to read; of a device poll(2) tells. */
export function hasFrame(worker: usize): bool {
  const ring = load<usize>(worker, Worker.FRAME_RING);
  return ring != 0 && ringPeek(ring) != 0;
}

/** The frame read last is done with. Control is told of room when there is enough that it is worth a turn. */
export function releaseFrame(worker: usize): void {
  const ring = load<usize>(worker, Worker.FRAME_RING);
  if (ring == 0) return;
  ringTake(ring, ringPeek(ring));
  if (atomic.load<u32>(worker, Worker.IS_ROOM_WANTED) == 0) return;
  // It says so before it looks for room once more, and we take before we look: one of the two sees the other.
  const used = atomic.load<u32>(ring, Ring.AREA_HEAD) - load<u32>(ring, Ring.AREA_TAIL);
  if (used > load<u32>(ring, Ring.AREA_BYTES) / 2) return;
  atomic.store<u32>(worker, 0, Worker.IS_ROOM_WANTED);
  atomic.add<u32>(PLANE_ADDRESS, 1, Plane.WAKE);
  atomic.notify(PLANE_ADDRESS + Plane.WAKE, 1);
}

/** Hands a frame to the device or the stack. Returns 0, or the error number. */
export function putFrame(worker: usize, frame: usize, bytes: u32): i32 {
  const ring = load<usize>(worker, Worker.FRAME_RING);
  if (ring == 0) return sysWrite(load<i32>(worker, Worker.TUN), frame, bytes) < 0 ? sysErrno() : 0;
  // Meanwhile the socket takes what comes, as it does while a device is slow.
  for (let waits: u32 = 0; waits < ROOM_WAITS && !isStopping(worker); waits++) {
    const entry = ringReserve(ring, bytes);
    if (entry != 0) {
      memory.copy(load<usize>(entry, Entry.AT), frame, <usize>bytes);
      ringCommit(ring, entry);
      return 0;
    }
    if (waits < ROOM_YIELDS) sysYield();
    else pause(worker, 1);
  }
  return ENOBUFS;
}
