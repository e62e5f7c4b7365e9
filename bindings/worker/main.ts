/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4); then the thread waits for the next run. Nothing
 * is handled here: a trap ends the thread, and `workers.ts` reports it.
 */
import { instantiatePlane, type PlaneExports } from "../memory/index.ts";
import { openSysCalls } from "../sys/index.ts";
import { serveThread, type WorkerKind } from "../thread/index.ts";

const LOOPS: Readonly<Record<WorkerKind, (exports: PlaneExports, worker: number) => number>> = {
  egress: (exports, worker) => exports.egressLoop(worker),
  ingress: (exports, worker) => exports.ingressLoop(worker),
  "relay-client": (exports, worker) => exports.relayClientLoop(worker),
  "relay-peer": (exports, worker) => exports.relayPeerLoop(worker),
};

let exports: PlaneExports | undefined;

serveThread(({ memory, module, kind, worker }, report) => {
  exports ??= instantiatePlane(module, memory, openSysCalls(memory));
  report({ kind: "ready" });
  const code = LOOPS[kind](exports, worker);
  report({ kind: "ended", code });
});
