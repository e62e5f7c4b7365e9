/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4); then the thread waits for the next run. Nothing
 * is handled here: a trap ends the thread, and `workers.ts` reports it.
 */
import { instantiatePlane, type PlaneExports } from "../memory/index.ts";
import { openSysCalls } from "../sys/index.ts";
import { serveThread } from "../thread/index.ts";

let exports: PlaneExports | undefined;

serveThread(({ memory, module, kind, worker }, report) => {
  exports ??= instantiatePlane(module, memory, openSysCalls(memory));
  report({ kind: "ready" });
  const code = kind === "egress" ? exports.egressLoop(worker) : exports.ingressLoop(worker);
  report({ kind: "ended", code });
});
