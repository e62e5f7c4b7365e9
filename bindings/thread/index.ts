export type { Thread, ThreadBackEnd, ThreadPort } from "./thread.ts";
export {
  type PlaneThread,
  type PlaneThreads,
  RELAY_WORKERS,
  serveThread,
  spawnPlaneThreads,
  spawnThread,
  TUNNEL_WORKERS,
  type WorkerKind,
  type WorkerReport,
  type WorkerStart,
} from "./threads.ts";
