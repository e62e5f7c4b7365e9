/** The records, buffers and rings of the workers. */

import { assert } from "../../src/base/index.ts";
import { BYTES, CONSTANTS, OFFSETS, type PlaneExports, type SharedMemory } from "../memory/index.ts";
import { createRing, RING_SIZES } from "../ring/index.ts";
import type { PlaneDescriptors } from "./descriptors.ts";

const { plane: PLANE, worker: WORKER, ingress: INGRESS } = OFFSETS;
/** No worker sends 2^56 replies. */
const REPLIES_BITS = 56n;
/** In a worker's record: there is none. */
export const NO_DESCRIPTOR = -1;

/** Addresses of a pair's records. */
export interface WorkerRecords {
  readonly egress: number;
  readonly ingress: number;
}

/** Of all pairs; there is at least one. */
export type WorkerPairs = readonly [WorkerRecords, ...WorkerRecords[]];

/** Makes the records of so many pairs and names the first in the plane's record (PG-176). */
export function createWorkerPairs(shared: SharedMemory, exports: PlaneExports, pairs: number): WorkerPairs {
  assert(pairs >= 1 && pairs <= CONSTANTS.MOST_PAIRS, `between 1 and ${CONSTANTS.MOST_PAIRS} pairs`);
  const at = CONSTANTS.PLANE_ADDRESS;
  const first = createPair(shared, exports, 0);
  const others = Array.from({ length: pairs - 1 }, (_, i) => createPair(shared, exports, i + 1));
  shared.words[(at + PLANE.pairs) >> 2] = pairs;
  shared.words[(at + PLANE.egress) >> 2] = first.egress;
  shared.words[(at + PLANE.ingress) >> 2] = first.ingress;
  return [first, ...others];
}

function createPair(shared: SharedMemory, exports: PlaneExports, number: number): WorkerRecords {
  const egress = createWorker(shared, BYTES.egress);
  const ingress = createWorker(shared, BYTES.ingress);
  const set = (at: number, value: number) => {
    shared.words[at >> 2] = value;
  };
  set(egress + WORKER.number, number);
  set(ingress + WORKER.number, number);
  set(egress + WORKER.output, shared.allocate(CONSTANTS.BUFFER_BYTES));
  set(egress + WORKER.injectRing, createRing(shared, ...RING_SIZES.inject));
  set(ingress + WORKER.output, shared.allocate(2 * CONSTANTS.ARENA_HALF_BYTES));
  // The nonces of cookie replies end with this number, and all workers have one key and one beginning (WG-33).
  shared.longs[(ingress + INGRESS.replyCounter) >> 3] = BigInt(number) << REPLIES_BITS;
  setOffloads(shared, exports, ingress, { hasTcpOffload: true, hasUdpOffload: true });
  return { egress, ingress };
}

function createWorker(shared: SharedMemory, bytes: number): number {
  const worker = shared.allocate(bytes);
  const set = (field: number, value: number) => {
    shared.words[(worker + field) >> 2] = value;
  };
  for (const field of [WORKER.tun, WORKER.udp4, WORKER.udp6, WORKER.wakeFd]) set(field, NO_DESCRIPTOR);
  set(WORKER.controlRing, createRing(shared, ...RING_SIZES.control));
  set(WORKER.dataRing, createRing(shared, ...RING_SIZES.data));
  set(WORKER.input, shared.allocate(CONSTANTS.BUFFER_BYTES));
  set(WORKER.fragments, shared.allocate(CONSTANTS.FRAGMENTS * BYTES.fragment));
  return worker;
}

/** What the TUN device takes as super-frames. Not while the ingress worker runs. */
export function setOffloads(
  shared: SharedMemory,
  exports: PlaneExports,
  ingress: number,
  { hasTcpOffload, hasUdpOffload }: Pick<PlaneDescriptors, "hasTcpOffload" | "hasUdpOffload">,
): void {
  const features =
    (hasTcpOffload ? CONSTANTS.COALESCE_TCP : 0) | (hasUdpOffload ? CONSTANTS.COALESCE_UDP : 0);
  const arena = shared.words[(ingress + WORKER.output) >> 2] ?? 0;
  exports.coalesceInit(ingress + INGRESS.coalesce, arena, 2 * CONSTANTS.ARENA_HALF_BYTES, features);
}
