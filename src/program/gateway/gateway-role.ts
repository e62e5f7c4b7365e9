/** What a gateway is, on a host or embedded: its machine, and how it answers to the portal. */
import type { SetupQuery, SetupResult } from "../../dns/index.ts";
import { gatewayChannel } from "../../portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../tunnel/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { PeerParts, TunnelRole } from "../endpoint/role.ts";

export interface GatewaySettings {
  /** `--allow-link-local`: names may lead to link-local addresses (TN-64). */
  readonly isLinkLocalAllowed: boolean;
  /** `--host-access all` (TN-61 row 6). */
  readonly isHostOpen: boolean;
}

export function gatewayRole(
  settings: LinkSettings,
  { isLinkLocalAllowed, isHostOpen }: GatewaySettings,
): TunnelRole<TunnelGateway> {
  return {
    name: "gateway",
    createMachine: (parts) =>
      createTunnelGateway({ ...parts, isHostOpen, isLinkLocalAllowed, log: parts.log.scope("tunnel") }),
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
            else if (event.kind === "resolve-setup") void lookUp(parts, event.query);
            else log.info?.(`client ${event.kind}`, { cid: event.cid });
          }
        },
      });
      return link;
    },
  };
}

/** Without a resolver, or when it fails on its own account, nobody knows the name. */
async function lookUp(
  { machine, surroundings, input, log }: PeerParts<TunnelGateway>,
  { token, domain }: SetupQuery,
): Promise<void> {
  const unknown: SetupResult = { kind: "error" };
  const result = await (surroundings.lookUp?.(domain) ?? Promise.resolve(unknown)).catch((error: unknown) => {
    log.debug?.("name not looked up", { error });
    return unknown;
  });
  input((now) => machine.handleSetupResult(now, token, result));
}
