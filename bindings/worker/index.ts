export { readWorkerCounters, type WorkerCounters, type WorkerHistogram } from "./counters.ts";
export type { PlaneDescriptors } from "./descriptors.ts";
export { createWorkerRecords, setOffloads, type WorkerRecords } from "./records.ts";
export { createPlaneWorkers, type PlaneEnd, type PlaneWorkers } from "./workers.ts";
