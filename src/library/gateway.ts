/** `startGateway`: a gateway in this process, which serves what it is granted to (PG-129). */
import { openUserspaceGateway } from "../program/userspace/index.ts";
import { rethrow } from "./client.ts";
import { createEventBus, createInstance, type Instance, untilReady } from "./instance.ts";
import { type GatewayOptions, readOptions } from "./options.ts";

export type Gateway = Instance;

/**
 * Signs in at the portal; resolves when clients can be sent here.
 *
 * @throws PosternError `auth`, `portal_unreachable`, `portal_tls`, `host`
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { signal, resolver, onFlow, maxPartitionMs, ca, flowLogs = false } = options;
  signal?.throwIfAborted();
  const bus = createEventBus();
  const read = await readOptions(flowLogs ? { ...options, logFilter: withFlows(options) } : options);
  const running = await openUserspaceGateway({
    ...read,
    ...{ resolver, onFlow, maxPartitionMs, ca, areFlowsLogged: flowLogs, tell: bus.emit },
  }).catch(rethrow);
  await untilReady(running, { signal });
  return createInstance(running, bus, { signal });
}

/** Whatever is logged besides (PG-104). */
export function withFlows({ logFilter = "info" }: Pick<GatewayOptions, "logFilter">): string {
  return `${logFilter},flow_logs=trace`;
}
