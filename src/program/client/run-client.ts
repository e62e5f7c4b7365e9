/** `postern client`: the headless client (PG-2, PG-9). */
import type { PlaneThreads } from "../../../bindings/thread/index.ts";
import { type Log, unreachable } from "../../base/index.ts";
import { clientChannel } from "../../portal/protocol/index.ts";
import { createTunnelClient, type ResourceStatus, type TunnelClient } from "../../tunnel/index.ts";
import { runPeer } from "../endpoint/peer.ts";
import { createPortalLink } from "../endpoint/portal-link.ts";
import type { PeerRole } from "../endpoint/role.ts";
import type { ProgramIo } from "../io.ts";
import type { ClientOptions } from "../options.ts";

export function runClient(options: ClientOptions, io: ProgramIo, threads: PlaneThreads): Promise<number> {
  return runPeer(clientRole(options), options, io, threads);
}

function clientRole(options: ClientOptions): PeerRole<TunnelClient> {
  return {
    name: "client",
    createMachine: (connections, log) => createTunnelClient({ connections, log: log.scope("tunnel") }),
    setUpHost() {
      // DNS control comes with DNS resources; until then the host's resolvers stay as they are.
      return { parameters: [], tables: [], isGuarded: true };
    },
    wire(parts) {
      const { machine, log } = parts;
      let present: readonly ResourceStatus[] = [];
      return createPortalLink({
        parts,
        component: "headless-client",
        channel: clientChannel,
        maxPartitionTime: options.maxPartitionTime,
        caFile: options.caFile,
        handleMessage: (now, message) => machine.handlePortalMessage(now, message),
        drainEvents(_now, request) {
          for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
            switch (event.kind) {
              case "request":
                request(event.request);
                break;
              case "interface":
                parts.applyInterface(event.interface);
                break;
              case "resources":
                present = logResources(log, present, event.resources);
                break;
              case "connected":
              case "disconnected":
                log.info?.(`gateway ${event.kind}`, { gid: event.gid });
                break;
              default:
                unreachable(event);
            }
          }
        },
      });
    },
  };
}

/** One line when resources come or go (PG-97); whether their gateways are online is no news. */
function logResources(
  log: Log,
  before: readonly ResourceStatus[],
  after: readonly ResourceStatus[],
): readonly ResourceStatus[] {
  const missingFrom = (these: readonly ResourceStatus[], those: readonly ResourceStatus[]): string[] =>
    those
      .filter(({ resource }) => !these.some((one) => one.resource.rid === resource.rid))
      .map(({ resource }) => resource.name);
  const activated = missingFrom(before, after);
  const deactivated = missingFrom(after, before);
  if (activated.length > 0) log.info?.("resources activated", { names: activated });
  if (deactivated.length > 0) log.info?.("resources deactivated", { names: deactivated });
  return after;
}
