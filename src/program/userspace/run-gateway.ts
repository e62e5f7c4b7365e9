/** `postern gateway --mode userspace`: the host's own sockets serve what is granted, without root (PG-129). */
import type { ProgramIo } from "../io.ts";
import type { GatewayOptions } from "../options.ts";
import { openUserspaceGateway } from "./gateway.ts";
import { runProgram } from "./program.ts";

export function runUserspaceGateway(options: GatewayOptions, io: ProgramIo): Promise<number> {
  const { maxPartitionTime, allowLinkLocal, flowLogs } = options;
  return runProgram({
    ...{ role: "gateway", options, io },
    async open(common) {
      const gateway = await openUserspaceGateway({
        ...common,
        ...{ maxPartitionMs: maxPartitionTime },
        ...{ isLinkLocalAllowed: allowLinkLocal, areFlowsLogged: flowLogs },
      });
      return { peer: gateway.peer, status: gateway.status, methods: gateway.methods, close: gateway.close };
    },
  });
}
