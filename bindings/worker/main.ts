/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4). Nothing is handled here: a trap ends the
 * thread, and `workers.ts` reports it.
 */
import { instantiatePlane } from "../memory/index.ts";
import { openSysCalls } from "../sys/index.ts";
import { serveThread } from "../thread/index.ts";

serveThread(({ memory, module, kind, worker }, report) => {
  const exports = instantiatePlane(module, memory, openSysCalls(memory));
  report({ kind: "ready" });
  const code = kind === "egress" ? exports.egressLoop(worker) : exports.ingressLoop(worker);
  report({ kind: "ended", code });
});
