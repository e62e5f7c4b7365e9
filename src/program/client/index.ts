import type { ProgramIo } from "../io.ts";
import { loadWithThreads, refusePairs } from "../load-with-threads.ts";
import type { ClientOptions } from "../options.ts";

/** `postern client` (`run-client.ts`). */
export async function runClient(options: ClientOptions, io: ProgramIo): Promise<number> {
  if (options.mode === "userspace") {
    refusePairs(options);
    const { runUserspaceClient } = await import("../userspace/run-client.ts");
    return await runUserspaceClient(options, io);
  }
  const { program, threads } = await loadWithThreads(() => import("./run-client.ts"));
  return await program.runClient(options, io, threads);
}
