/** Starting and stopping the two worker threads (D-13, PF-23). */
import { Worker } from "node:worker_threads";
import { assert, PosternError } from "../src/base/index.ts";
import { CONSTANTS, OFFSETS } from "./layout.ts";
import { EFD_CLOEXEC, EFD_NONBLOCK } from "./linux/file-constants.ts";
import type { PlaneDescriptors, PlaneEnd } from "./plane-face.ts";
import type { SharedMemory } from "./shared-memory.ts";
import type { SysCalls } from "./sys/index.ts";
import type { WorkerReport, WorkerStart } from "./worker.ts";

const { worker: WORKER } = OFFSETS;
const NO_DESCRIPTOR = -1;
const KINDS = ["egress", "ingress"] as const;
type Kind = (typeof KINDS)[number];

/** Compiled code has compiled workers; sources have sources where the runtime can load them. */
const WORKER_URL = new URL(
  `./worker${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
  import.meta.url,
);

export interface PlaneWorkers {
  start(descriptors: PlaneDescriptors): Promise<void>;
  stop(): Promise<void>;
  /** Wakes the egress worker if it waits: something was injected. */
  nudge(): void;
  onEnd(ended: (end: PlaneEnd) => void): void;
}

export interface PlaneWorkersOptions {
  readonly shared: SharedMemory;
  readonly module: WebAssembly.Module;
  readonly sys: SysCalls | undefined;
  /** Addresses of the worker records. */
  readonly workers: Readonly<Record<Kind, number>>;
}

interface Running {
  readonly thread: Worker;
  readonly wakeFd: number;
  readonly exited: Promise<void>;
}

export function createPlaneWorkers({ shared, module, sys, workers }: PlaneWorkersOptions): PlaneWorkers {
  const running = new Map<Kind, Running>();
  /** Eight bytes with the number 1, which signals an eventfd. */
  const one = shared.allocate(8);
  shared.longs[one >> 3] = 1n;
  let ended: (end: PlaneEnd) => void = () => undefined;
  let isStopping = false;

  function setWord(kind: Kind, field: number, value: number): void {
    Atomics.store(shared.words, (workers[kind] + field) >> 2, value >>> 0);
  }

  function report(kind: Kind, end: PlaneEnd): void {
    setWord(kind, WORKER.running, 0);
    if (!isStopping) ended(end);
  }

  /** Starts one thread; resolves when its loop is about to begin. */
  function launch(kind: Kind, calls: SysCalls, descriptors: PlaneDescriptors): Promise<void> {
    const wakeFd = calls.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wakeFd < 0) throw new PosternError("eventfd", `cannot open an eventfd: errno ${calls.errno()}`);
    for (const [field, value] of wordsToStart(wakeFd, descriptors)) setWord(kind, field, value);
    const data: WorkerStart = { memory: shared.memory, module, kind, worker: workers[kind] };
    const thread = new Worker(WORKER_URL, { workerData: data, name: `postern-${kind}` });
    const exited = new Promise<void>((resolve) => thread.once("exit", () => resolve()));
    running.set(kind, { thread, wakeFd, exited });
    return new Promise((resolve, reject) => {
      thread.on("message", (message: WorkerReport) => {
        if (message.kind === "ready") resolve();
        else if (message.code !== CONSTANTS.ENDED_STOPPED) {
          const isTun = message.code === CONSTANTS.ENDED_TUN_REMOVED;
          report(kind, { worker: kind, reason: isTun ? "tun-removed" : "socket-failed" });
        }
      });
      thread.on("error", (error) => {
        reject(error);
        report(kind, { worker: kind, reason: "crashed", error });
      });
    });
  }

  return {
    async start(descriptors) {
      assert(sys !== undefined, "workers need system calls");
      assert(running.size === 0, "the workers are stopped before they are started");
      isStopping = false;
      await Promise.all(KINDS.map((kind) => launch(kind, sys, descriptors)));
    },
    async stop() {
      isStopping = true;
      for (const [kind, { wakeFd }] of running) {
        setWord(kind, WORKER.stop, 1);
        sys?.write(wakeFd, one, 8);
      }
      // Threads are never terminated: one that sits in a system call would hold up the process (PF-23).
      await Promise.all([...running.values()].map(({ exited }) => exited));
      for (const [kind, { wakeFd }] of running) {
        setWord(kind, WORKER.running, 0);
        sys?.close(wakeFd);
      }
      running.clear();
    },
    nudge() {
      const egress = running.get("egress");
      if (egress === undefined) return;
      const isParked = Atomics.load(shared.words, (workers.egress + WORKER.parked) >> 2) === 1;
      if (isParked) sys?.write(egress.wakeFd, one, 8);
    },
    onEnd(listener) {
      ended = listener;
    },
  };
}

/** The words of a worker's record before its loop begins. */
function wordsToStart(
  wakeFd: number,
  { tun, udp4, udp6, hasSegmentation }: PlaneDescriptors,
): readonly (readonly [field: number, value: number])[] {
  return [
    [WORKER.tun, tun],
    [WORKER.udp4, udp4 ?? NO_DESCRIPTOR],
    [WORKER.udp6, udp6 ?? NO_DESCRIPTOR],
    [WORKER.wakeFd, wakeFd],
    [WORKER.isGsoOff, hasSegmentation ? 0 : 1],
    [WORKER.stop, 0],
    [WORKER.ended, 0],
    // Parked until its loop begins, so that nobody waits for it.
    [WORKER.parked, 1],
    [WORKER.running, 1],
  ];
}
