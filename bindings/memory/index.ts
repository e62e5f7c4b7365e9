export { BYTES, CONSTANTS, LAYOUT_HASH, OFFSETS, RECORDS, type RecordName } from "./layout.ts";
export { placeFields, type RecordLayout, roundUp } from "./layout-record.ts";
export {
  instantiatePlane,
  type ModuleExports,
  type PlaneExports,
  type RelayExports,
} from "./plane-module.ts";
export { COUNTERS, type Counter, REASON_NAMES, REASONS, type Reason, reasonNumber } from "./reasons.ts";
export {
  createPlaneMemory,
  createSharedMemory,
  type PlaneMemory,
  type SharedMemory,
} from "./shared-memory.ts";
