/** The choice of the back end that makes system calls: one file per runtime. */
import { openKoffiCalls } from "./koffi.ts";
import { currentRuntime, type Runtime } from "./runtime.ts";
import type { SysCalls } from "./sys-calls.ts";

export type OpenSysCalls = (memory: WebAssembly.Memory) => SysCalls;

/** koffi loads in all three by Node-API (PF-28). */
const BACK_ENDS: Readonly<Record<Runtime, OpenSysCalls>> = {
  node: openKoffiCalls,
  deno: openKoffiCalls,
  bun: openKoffiCalls,
};

/**
 * Opens the C library for a shared memory. Each thread opens its own: `errno` belongs to the thread that
 * called.
 *
 * @throws PosternError `host` when the library cannot be loaded (PG-134).
 */
export function openSysCalls(memory: WebAssembly.Memory): SysCalls {
  return BACK_ENDS[currentRuntime()](memory);
}
