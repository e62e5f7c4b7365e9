export { readWorkerCounters, type WorkerCounters } from "./counters.ts";
export { createWorkerRecords, setOffloads, type WorkerRecords } from "./records.ts";
export { createPlaneWorkers, type PlaneDescriptors, type PlaneEnd, type PlaneWorkers } from "./workers.ts";
