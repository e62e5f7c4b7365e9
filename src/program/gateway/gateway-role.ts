/** What a gateway is, on a host or embedded: its machine, and how it answers to the portal. */
import * as v from "valibot";
import type { Log } from "../../base/index.ts";
import {
  createNameServer,
  type NameServer,
  type NameServerOptions,
  type SetupQuery,
  type SetupResult,
} from "../../dns/index.ts";
import { gatewayChannel } from "../../portal/protocol/index.ts";
import { createTunnelGateway, type TunnelGateway } from "../../tunnel/index.ts";
import { REJECT_AFTER_TIME_MS } from "../../wireguard/index.ts";
import { method } from "../control/index.ts";
import type { NameService } from "../dns/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { PeerParts, PeerWiring, TunnelRole } from "../endpoint/role.ts";
import { systemRandom } from "../system-random.ts";
import { logFlow, toFlowView } from "./flow-views.ts";

/** Opens the world around the name server for clients (`src/program/dns`). */
export type OpenNameService = (parts: PeerParts<TunnelGateway>) => NameService;

export interface GatewaySettings {
  /** Absent: clients' questions about names are not answered, as in an embedding without a host. */
  readonly openNameService?: OpenNameService;
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
  { isLinkLocalAllowed, isHostOpen, areFlowsLogged = false, openNameService }: GatewaySettings,
): TunnelRole<TunnelGateway> {
  let names: NameService | undefined;
  return {
    name: "gateway",
    // Older sessions are dead for both ends.
    keepsForMs: REJECT_AFTER_TIME_MS,
    createMachine: (parts) =>
      createTunnelGateway({
        ...{ ...parts, isHostOpen, isLinkLocalAllowed, areFlowsLogged },
        log: parts.log.scope("tunnel"),
        ...(openNameService && { openNameServer: (permit) => openServer(permit, parts.log.scope("dns")) }),
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
      names = openNameService?.(parts);
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
            else if (event.kind === "interface") {
              parts.surroundings.applyInterface(event.interface);
              names?.listen(event.interface.addresses);
            } else if (event.kind === "peers") parts.surroundings.changePeers(event.change);
            else if (event.kind === "dns") names?.handleEvent(event.event);
            else if (event.kind === "relays-wanted") link.reconnect();
            else if (event.kind === "resolve-setup") void lookUp(parts, event.query);
            else if (event.kind === "flow-ended") logFlow(log, event.flow);
            else log.info?.(`client ${event.kind}`, { cid: event.cid });
          }
        },
      });
      return names === undefined ? link : withNames(link, names);
    },
  };
}

function openServer(permit: NameServerOptions["permit"], log: Log): NameServer {
  return createNameServer({ random: systemRandom, permit, log });
}

function withNames(link: PeerWiring, names: NameService): PeerWiring {
  return {
    ...link,
    connect() {
      names.start();
      link.connect();
    },
    async close() {
      names.close();
      await link.close();
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
