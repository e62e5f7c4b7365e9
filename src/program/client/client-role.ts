/** What a client is, on a host or embedded: its machine, and how it answers to the portal. */
import { type Log, unreachable } from "../../base/index.ts";
import { clientChannel } from "../../portal/protocol/index.ts";
import { createTunnelClient, type ResourceStatus, type TunnelClient } from "../../tunnel/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { TunnelRole } from "../endpoint/role.ts";

export function clientRole(settings: LinkSettings): TunnelRole<TunnelClient> {
  return {
    name: "client",
    createMachine: (connections, log) => createTunnelClient({ connections, log: log.scope("tunnel") }),
    wire(parts) {
      const { machine, log } = parts;
      let present: readonly ResourceStatus[] = [];
      return createPortalLink({
        parts,
        component: "headless-client",
        channel: clientChannel,
        settings,
        handleMessage: (now, message) => machine.handlePortalMessage(now, message),
        drainEvents(_now, request) {
          for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
            switch (event.kind) {
              case "request":
                request(event.request);
                break;
              case "interface":
                parts.surroundings.applyInterface(event.interface);
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
