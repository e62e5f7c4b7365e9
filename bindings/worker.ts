/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4). Nothing is handled here: a trap ends the
 * thread, and `plane-workers.ts` reports it.
 */
import { parentPort, workerData } from "node:worker_threads";
import { instantiatePlane } from "./plane-module.ts";
import { openSysCalls } from "./sys/index.ts";

/** Given by `plane-workers.ts`. */
export interface WorkerStart {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kind: "egress" | "ingress";
  /** Address of the worker's record. */
  readonly worker: number;
}

/** The first word before the loop, the second behind it. */
export type WorkerReport = { readonly kind: "ready" } | { readonly kind: "ended"; readonly code: number };

function run({ memory, module, kind, worker }: WorkerStart): void {
  const exports = instantiatePlane(module, memory, openSysCalls(memory));
  report({ kind: "ready" });
  const code = kind === "egress" ? exports.egressLoop(worker) : exports.ingressLoop(worker);
  report({ kind: "ended", code });
}

function report(message: WorkerReport): void {
  parentPort?.postMessage(message);
}

// Only a worker of ours has these data; importing the file elsewhere, for its types, does nothing.
const start: WorkerStart | undefined = workerData?.worker === undefined ? undefined : workerData;
if (start !== undefined) run(start);
