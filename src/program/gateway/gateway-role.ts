/** What a gateway is, on a host or embedded: its machine, and how it answers to the portal. */
import { gatewayChannel } from "../../portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../tunnel/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { TunnelRole } from "../endpoint/role.ts";

export function gatewayRole(settings: LinkSettings): TunnelRole<TunnelGateway> {
  return {
    name: "gateway",
    createMachine: (parts) =>
      createTunnelGateway({ ...parts, isHostOpen: false, log: parts.log.scope("tunnel") }),
    resourcesOf: () => [],
    purposeOf: (machine, cid, now) => ({
      authorizations: machine.grantsOf(cid, now).map(({ resource, expiresInMs }) => ({
        rid: resource.rid,
        name: resource.kind === "internet" ? null : resource.name,
        expires_in_s: expiresInMs === undefined ? null : Math.round(expiresInMs / 1000),
      })),
    }),
    wire(parts) {
      const { machine, log } = parts;
      const link = createPortalLink({
        parts,
        component: "gateway",
        channel: gatewayChannel,
        settings,
        accountOf: (message) => (message.kind === "init" ? message.accountSlug : undefined),
        handleMessage: (now, message) => machine.handlePortalMessage(now, message),
        drainEvents(_now, request) {
          for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) {
            if (event.kind === "request") request(event.request);
            else if (event.kind === "interface") parts.surroundings.applyInterface(event.interface);
            else if (event.kind === "relays-wanted") link.reconnect();
            else log.info?.(`client ${event.kind}`, { cid: event.cid });
          }
        },
      });
      return link;
    },
  };
}
