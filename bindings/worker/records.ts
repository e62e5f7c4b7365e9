/** The records, buffers and rings of the two workers. */

import { BYTES, CONSTANTS, OFFSETS, type PlaneExports, type SharedMemory } from "../memory/index.ts";
import { createRing, RING_SIZES } from "../ring/index.ts";
import type { PlaneDescriptors } from "./descriptors.ts";

const { plane: PLANE, worker: WORKER, ingress: INGRESS } = OFFSETS;
/** In a worker's record: there is none. */
export const NO_DESCRIPTOR = -1;

export interface WorkerRecords {
  readonly egress: number;
  readonly ingress: number;
}

/** Makes both and names them in the plane's record. */
export function createWorkerRecords(shared: SharedMemory, exports: PlaneExports): WorkerRecords {
  const egress = createWorker(shared, BYTES.egress);
  const ingress = createWorker(shared, BYTES.ingress);
  const set = (at: number, value: number) => {
    shared.words[at >> 2] = value;
  };
  set(egress + WORKER.output, shared.allocate(CONSTANTS.BUFFER_BYTES));
  set(egress + WORKER.injectRing, createRing(shared, ...RING_SIZES.inject));
  set(ingress + WORKER.output, shared.allocate(2 * CONSTANTS.ARENA_HALF_BYTES));
  set(CONSTANTS.PLANE_ADDRESS + PLANE.egress, egress);
  set(CONSTANTS.PLANE_ADDRESS + PLANE.ingress, ingress);
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
