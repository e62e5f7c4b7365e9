/** The choice of the back end that makes threads: one file per runtime. */
import { currentRuntime, type Runtime } from "../runtime/index.ts";
import { DENO_THREADS } from "./deno.ts";
import { NODE_THREADS } from "./node.ts";
import type { ThreadBackEnd } from "./thread.ts";

const BACK_ENDS: Readonly<Record<Runtime, ThreadBackEnd>> = {
  node: NODE_THREADS,
  deno: DENO_THREADS,
  bun: NODE_THREADS,
};

export function threadBackEnd(): ThreadBackEnd {
  return BACK_ENDS[currentRuntime()];
}
