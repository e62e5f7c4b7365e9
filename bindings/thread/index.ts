export type { Thread, ThreadBackEnd, ThreadPort } from "./thread.ts";
export {
  type PlaneThread,
  type PlaneThreads,
  serveThread,
  spawnPlaneThreads,
  spawnThread,
  WORKER_KINDS,
  type WorkerKind,
  type WorkerReport,
  type WorkerStart,
} from "./threads.ts";
