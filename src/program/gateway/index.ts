import type { ProgramIo } from "../io.ts";
import { loadWithThreads, refusePairs } from "../load-with-threads.ts";
import type { GatewayOptions } from "../options.ts";

/** `postern gateway` (`run-gateway.ts`). */
export async function runGateway(options: GatewayOptions, io: ProgramIo): Promise<number> {
  if (options.word === "setup" || options.word === "teardown") {
    const { setUpForwarding, tearDownForwarding } = await import("./set-up.ts");
    return options.word === "setup" ? setUpForwarding(options, io) : tearDownForwarding(io);
  }
  if (options.mode === "userspace") {
    refusePairs(options);
    const { runUserspaceGateway } = await import("../userspace/run-gateway.ts");
    return await runUserspaceGateway(options, io);
  }
  const { program, threads } = await loadWithThreads(() => import("./run-gateway.ts"));
  return await program.runGateway(options, io, threads);
}
