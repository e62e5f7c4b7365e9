export { createPlaneMemory, type PlaneMemory } from "../memory/index.ts";
export type { PlaneQueues } from "../ring/index.ts";
export type {
  PairDescriptors,
  PlaneDescriptors,
  PlaneEnd,
  WorkerCounters,
  WorkerHistogram,
} from "../worker/index.ts";
export type {
  FlowOptions,
  Plane,
  PlaneCounters,
  PlaneDatagrams,
  PlaneDrive,
  PlaneMode,
  PlaneOptions,
  PlaneReceive,
  PlaneSend,
} from "./face.ts";
export { createPlane } from "./plane.ts";
