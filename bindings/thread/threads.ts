/**
 * The threads of the two workers, which may come up before there is anything for them to do: a thread
 * takes as long to start as the rest of the program takes to load (G-15).
 */
import { entryFile } from "../runtime/index.ts";
import { threadBackEnd } from "./back-end.ts";
import type { ThreadBackEnd } from "./thread.ts";

/** The workers of a tunnel's plane, and of a relay's (RL-48). */
export const TUNNEL_WORKERS = ["egress", "ingress"] as const;
export const RELAY_WORKERS = ["relay-client", "relay-peer"] as const;
export type WorkerKind = (typeof TUNNEL_WORKERS)[number] | (typeof RELAY_WORKERS)[number];

/** What a thread is told for each run of its loop. Memory and module are always the same ones. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kind: WorkerKind;
  /** Address of the worker's record. */
  readonly worker: number;
}

/** Instead of a start: there will be no other. */
const END = "end";
type WorkerOrder = WorkerStart | typeof END;

/** What a thread says: its code is loaded, its loop is about to begin, its loop has ended. */
export type WorkerReport =
  | { readonly kind: "loaded" | "ready" }
  | { readonly kind: "ended"; readonly code: number };

/** Built code has built workers; sources have sources where the runtime can load them. */
const WORKER_URL = entryFile("worker");

export interface PlaneThread {
  /** Begins the loop; again only after it has ended. */
  run(start: WorkerStart): void;
  /** Lets the thread end, once its loop has. */
  end(): void;
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
  /** Ends those that nobody has taken. */
  endSpare(): void;
}

interface Spawned extends PlaneThread {
  readonly loaded: Promise<void>;
}

export function spawnPlaneThreads(
  kinds: readonly WorkerKind[] = TUNNEL_WORKERS,
  backEnd: ThreadBackEnd = threadBackEnd(),
): PlaneThreads {
  const spare = new Map(kinds.map((kind) => [kind, spawnThread(kind, backEnd)]));
  const loaded = Promise.all([...spare.values()].map((thread) => thread.loaded));
  return {
    loaded: loaded.then(() => undefined),
    take(kind) {
      const thread = spare.get(kind) ?? spawnThread(kind, backEnd);
      spare.delete(kind);
      return thread;
    },
    endSpare() {
      for (const thread of spare.values()) thread.end();
      spare.clear();
    },
  };
}

export function spawnThread(kind: WorkerKind, backEnd: ThreadBackEnd = threadBackEnd()): Spawned {
  const thread = backEnd.start<WorkerOrder, WorkerReport>(WORKER_URL, `postern-${kind}`);
  const reports: ((report: WorkerReport) => void)[] = [];
  const loaded = new Promise<void>((resolve) => reports.push(({ kind }) => kind === "loaded" && resolve()));
  thread.onMessage((report) => {
    for (const handle of reports) handle(report);
  });
  return {
    loaded: Promise.race([loaded, thread.failed]),
    exited: thread.exited,
    failed: thread.failed,
    onReport: (handle) => void reports.push(handle),
    run(start) {
      thread.keepAlive();
      thread.post(start);
    },
    end: () => thread.post(END),
  };
}

/** The thread's side: says that its code is loaded, and calls `run` whenever it is told to. */
export function serveThread(run: (start: WorkerStart, report: (report: WorkerReport) => void) => void): void {
  const port = threadBackEnd().port<WorkerReport, WorkerOrder>();
  // Importing the file elsewhere, for its types, does nothing.
  if (port === undefined) return;
  port.onMessage((order) => {
    if (order === END) port.close();
    else run(order, (report) => port.post(report));
  });
  port.post({ kind: "loaded" });
}
