/**
 * What a plane worker runs: its own instance of the module on the shared memory, and one loop that never
 * returns to the event loop until it is stopped (D-5, PF-4); then the thread waits for the next run. Nothing
 * is handled here: a trap ends the thread, and `workers.ts` reports it.
 */
import { assert } from "../../src/base/index.ts";
import {
  instantiatePlane,
  type ModuleExports,
  type PlaneExports,
  type RelayExports,
} from "../memory/index.ts";
import { openSysCalls } from "../sys/index.ts";
import { serveThread, type WorkerKind } from "../thread/index.ts";
import { nameThread } from "./thread-name.ts";

/** A module has the loops of its own workers. */
type Loops = Pick<PlaneExports, "egressLoop" | "ingressLoop"> &
  Pick<RelayExports, "relayClientLoop" | "relayPeerLoop">;

const LOOPS: Readonly<Record<WorkerKind, keyof Loops>> = {
  egress: "egressLoop",
  ingress: "ingressLoop",
  "relay-client": "relayClientLoop",
  "relay-peer": "relayPeerLoop",
};

let exports: (ModuleExports & Partial<Loops>) | undefined;

serveThread(({ memory, module, kind, worker }, report) => {
  if (exports === undefined) {
    const sys = openSysCalls(memory);
    nameThread(sys, memory, kind, worker);
    exports = instantiatePlane<ModuleExports & Partial<Loops>>(module, memory, sys);
  }
  const loop = exports[LOOPS[kind]];
  assert(loop !== undefined, `the module has the loop of ${kind}`);
  report({ kind: "ready" });
  const code = loop(worker);
  report({ kind: "ended", code });
});
