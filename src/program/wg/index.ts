import type { ProgramIo } from "../io.ts";
import { loadWithThreads } from "../load-with-threads.ts";
import type { WgOptions } from "../options.ts";

/** `postern wg` (`run-wg.ts`). */
export async function runWg(options: WgOptions, io: ProgramIo): Promise<number> {
  const { program, threads } = await loadWithThreads(() => import("./run-wg.ts"));
  return await program.runWg(options, io, threads);
}
