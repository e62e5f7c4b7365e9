export { readWorkerCounters, sumOfCounters, type WorkerCounters, type WorkerHistogram } from "./counters.ts";
export type { PairDescriptors, PlaneDescriptors } from "./descriptors.ts";
export { createWorkerPairs, setOffloads, type WorkerPairs, type WorkerRecords } from "./records.ts";
export { createPlaneWorkers, type PlaneEnd, type PlaneWorkers } from "./workers.ts";
