/**
 * The threads of the two workers, which may come up before there is anything for them to do: a thread
 * takes as long to start as the rest of the program takes to load (G-15).
 */
import { Worker } from "node:worker_threads";

export const WORKER_KINDS = ["egress", "ingress"] as const;
export type WorkerKind = (typeof WORKER_KINDS)[number];

/** What a thread is told, once. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kind: WorkerKind;
  /** Address of the worker's record. */
  readonly worker: number;
}

/** What a thread says: its code is loaded, its loop is about to begin, its loop has ended. */
export type WorkerReport =
  | { readonly kind: "loaded" | "ready" }
  | { readonly kind: "ended"; readonly code: number };

/** Marks a thread as one that waits for its `WorkerStart`. */
export const WORKER_MARK = "postern plane worker";

/** Compiled code has compiled workers; sources have sources where the runtime can load them. */
const WORKER_URL = new URL(
  `../worker/main${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
  import.meta.url,
);

export interface PlaneThread {
  /** Begins the loop. */
  run(start: WorkerStart): void;
  onReport(handle: (report: WorkerReport) => void): void;
  /** Resolves when the thread has ended, however it did. */
  readonly exited: Promise<void>;
  /** Rejects when it dies of an error; does not resolve. */
  readonly failed: Promise<never>;
}

export interface PlaneThreads {
  /**
   * Resolves when all of them have loaded their code. Wait for it before V8's flags are changed
   * (`bindings/cipher`): they hold for every thread.
   */
  readonly loaded: Promise<void>;
  /** One of them; a new one when it has been taken before. */
  take(kind: WorkerKind): PlaneThread;
}

interface Spawned extends PlaneThread {
  readonly loaded: Promise<void>;
}

export function spawnPlaneThreads(): PlaneThreads {
  const spare = new Map(WORKER_KINDS.map((kind) => [kind, spawnThread(kind)]));
  const loaded = Promise.all([...spare.values()].map((thread) => thread.loaded));
  return {
    loaded: loaded.then(() => undefined),
    take(kind) {
      const thread = spare.get(kind) ?? spawnThread(kind);
      spare.delete(kind);
      return thread;
    },
  };
}

export function spawnThread(kind: WorkerKind): Spawned {
  const worker = new Worker(WORKER_URL, { workerData: WORKER_MARK, name: `postern-${kind}` });
  // A thread that only waits does not keep the process.
  worker.unref();
  const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const failed = new Promise<never>((_resolve, reject) => worker.once("error", reject));
  // Whoever takes the thread hears of it; one that nobody takes does no harm.
  failed.catch(() => undefined);
  const reports: ((report: WorkerReport) => void)[] = [];
  const loaded = new Promise<void>((resolve) => reports.push(({ kind }) => kind === "loaded" && resolve()));
  worker.on("message", (report: WorkerReport) => {
    for (const handle of reports) handle(report);
  });
  return {
    loaded: Promise.race([loaded, failed]),
    exited,
    failed,
    onReport: (handle) => void reports.push(handle),
    run(start) {
      worker.ref();
      worker.postMessage(start);
    },
  };
}
