/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4). Nothing is handled here: a trap ends the
 * thread, and `workers.ts` reports it.
 */
import { parentPort, workerData } from "node:worker_threads";
import { instantiatePlane } from "../memory/index.ts";
import { openSysCalls } from "../sys/index.ts";
import { WORKER_MARK, type WorkerReport, type WorkerStart } from "../thread/index.ts";

function run({ memory, module, kind, worker }: WorkerStart): void {
  const exports = instantiatePlane(module, memory, openSysCalls(memory));
  report({ kind: "ready" });
  const code = kind === "egress" ? exports.egressLoop(worker) : exports.ingressLoop(worker);
  report({ kind: "ended", code });
}

function report(message: WorkerReport): void {
  parentPort?.postMessage(message);
}

// Only a thread of ours has the mark; importing the file elsewhere, for its types, does nothing.
if (workerData === WORKER_MARK) {
  parentPort?.once("message", run);
  report({ kind: "loaded" });
}
