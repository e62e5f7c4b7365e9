/** `postern client`: the headless client (PG-2, PG-9). */
import { unreachable } from "../../base/index.ts";
import { clientChannel } from "../../portal/protocol/index.ts";
import { createTunnelClient, type TunnelClient } from "../../tunnel/index.ts";
import type { ProgramIo } from "../io.ts";
import type { ClientOptions } from "../options.ts";
import { type PeerRole, runPeer } from "../peer/peer.ts";
import { createPortalLink } from "../peer/portal-link.ts";

export function runClient(options: ClientOptions, io: ProgramIo): Promise<number> {
  return runPeer(clientRole(options), options, io);
}

function clientRole(options: ClientOptions): PeerRole<TunnelClient> {
  return {
    name: "client",
    createMachine: (node, log) => createTunnelClient({ node, log: log.scope("tunnel") }),
    setUpHost() {
      // DNS control comes with DNS resources; until then the host's resolvers stay as they are.
    },
    wire(parts) {
      const { machine, log } = parts;
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
                log.info?.("resources", { count: event.resources.length });
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
