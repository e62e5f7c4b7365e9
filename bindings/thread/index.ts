export {
  type PlaneThread,
  type PlaneThreads,
  spawnPlaneThreads,
  spawnThread,
  WORKER_KINDS,
  WORKER_MARK,
  type WorkerKind,
  type WorkerReport,
  type WorkerStart,
} from "./threads.ts";
