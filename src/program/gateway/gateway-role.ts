/** What a gateway is, on a host or embedded: its machine, and how it answers to the portal. */
import * as v from "valibot";
import type { SetupQuery, SetupResult } from "../../dns/index.ts";
import { gatewayChannel } from "../../portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../tunnel/index.ts";
import { method } from "../control/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { PeerParts, TunnelRole } from "../endpoint/role.ts";
import { logFlow, toFlowView } from "./flow-views.ts";

export interface GatewaySettings {
  /** `--allow-link-local`: names may lead to link-local addresses (TN-64). */
  readonly isLinkLocalAllowed: boolean;
  /** `--host-access all` (TN-61 row 6). */
  readonly isHostOpen: boolean;
  /** `--flow-logs` (PG-104). */
  readonly areFlowsLogged?: boolean;
}

/** Flows that `flows` answers at once (PG-108): a line of the control socket has its limit. */
const FLOWS_MAX = 1000;
const FLOWS_SHOWN = 100;

export function gatewayRole(
  settings: LinkSettings,
  { isLinkLocalAllowed, isHostOpen, areFlowsLogged = false }: GatewaySettings,
): TunnelRole<TunnelGateway> {
  return {
    name: "gateway",
    createMachine: (parts) =>
      createTunnelGateway({
        ...{ ...parts, isHostOpen, isLinkLocalAllowed, areFlowsLogged },
        log: parts.log.scope("tunnel"),
      }),
    resourcesOf: () => [],
    methodsOf: (machine, _input, now) => ({
      flows: method(
        {
          limit: v.optional(
            v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(FLOWS_MAX)),
            FLOWS_SHOWN,
          ),
        },
        ({ limit }) => machine.runningFlows(limit).map((flow) => toFlowView(now(), flow)),
      ),
    }),
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
            else if (event.kind === "flow-ended") logFlow(log, event.flow);
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
