/** The choice of the back end that makes system calls: one file per runtime. */

import { currentRuntime, type Runtime } from "../runtime/index.ts";
import { openBun } from "./bun.ts";
import type { CLibrary } from "./c-library.ts";
import { bindCalls } from "./calls.ts";
import { openDeno } from "./deno.ts";
import { openKoffi } from "./koffi.ts";
import type { SysCalls } from "./sys-calls.ts";

const BACK_ENDS: Readonly<Record<Runtime, (memory: WebAssembly.Memory) => CLibrary>> = {
  node: openKoffi,
  deno: openDeno,
  bun: openBun,
};

/**
 * Opens the C library for a shared memory. Each thread opens its own: `errno` belongs to the thread that
 * called.
 *
 * @throws PosternError `host` when the library cannot be loaded (PG-134).
 */
export function openSysCalls(memory: WebAssembly.Memory): SysCalls {
  return bindCalls(BACK_ENDS[currentRuntime()](memory));
}
