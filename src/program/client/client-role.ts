/** What a client is, on a host or embedded: its machine, and how it answers to the portal. */
import * as v from "valibot";
import { equalValues, formatPrefix, type Log } from "../../base/index.ts";
import { createResolver } from "../../dns/index.ts";
import { clientChannel } from "../../portal/protocol/index.ts";
import { createTunnelClient, type ResourceStatus, type TunnelClient } from "../../tunnel/index.ts";
import { method, type ResourceView } from "../control/index.ts";
import type { DnsService } from "../dns/index.ts";
import { createPortalLink, type LinkSettings } from "../endpoint/portal-link.ts";
import type { PeerParts, PeerWiring, TunnelRole } from "../endpoint/role.ts";
import { systemRandom } from "../system-random.ts";
import { lookupViews } from "./lookup.ts";

/** Opens the world around the resolver (`src/program/dns`). */
export type OpenDns = (parts: PeerParts<TunnelClient>) => DnsService;

export interface ClientSettings {
  /** Absent: names are not resolved here, as in an embedding without a host. */
  readonly openDns?: OpenDns;
  /** Where the switch of the internet resource stands at the start (TN-23). */
  readonly isInternetOn: boolean;
}

/** Its gateways may have given it up by then, and nobody depends on its key: anew is safe, and as fast. */
const KEEPS_FOR_MS = 0;

export function clientRole(
  settings: LinkSettings,
  { isInternetOn, openDns }: ClientSettings,
): TunnelRole<TunnelClient> {
  let dns: DnsService | undefined;
  return {
    name: "client",
    keepsForMs: KEEPS_FOR_MS,
    createMachine({ connections, flows, features, log }) {
      // Whether each query has a line is decided here, once (DN-111).
      const wire = log.scope("wire.dns").trace;
      const resolver = openDns && createResolver({ random: systemRandom, log: log.scope("dns"), wire });
      return createTunnelClient({
        ...{ connections, flows, isInternetOn, log: log.scope("tunnel") },
        ...(resolver && { resolver }),
        ...(features && { asksWhereProhibited: features.icmpErrorCreatesFlow }),
      });
    },
    dnsView: () => dns?.status(),
    methodsOf: (machine, input) => ({
      lookup: method(LOOKUP, ({ name, type }) => lookupViews(dns, machine, name, type)),
      setInternetResource: method({ active: v.boolean() }, ({ active }) => {
        input((now) => machine.setInternet(now, active));
        return { active, granted: isInternetGranted(machine) };
      }),
    }),
    resourcesOf: (machine) => machine.resources().map(toView),
    purposeOf: (machine, gid) => ({ resources: machine.resourcesOf(gid) }),
    wire(parts) {
      const { machine, tell, log } = parts;
      let present: readonly ResourceStatus[] = [];
      dns = openDns?.(parts);
      const link = createPortalLink({
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
              case "peers":
                parts.surroundings.changePeers(event.change);
                break;
              case "resources":
                tellResources(tell, present, event.resources);
                present = logResources(log, present, event.resources);
                break;
              case "dns":
                dns?.handleEvent(event.event);
                break;
              case "relays-wanted":
                link.reconnect();
                break;
              default:
                logGateway(log, event);
            }
          }
        },
      });
      return dns === undefined ? link : withDns(link, dns);
    },
  };
}

function isInternetGranted(machine: TunnelClient): boolean {
  return machine.resources().some(({ resource }) => resource.kind === "internet");
}

function logGateway(
  log: Log,
  { kind, gid }: { readonly kind: "connected" | "disconnected"; readonly gid: string },
): void {
  log.info?.(`gateway ${kind}`, { gid });
}

/** A presentation name of 255 octets that are all escaped. */
const NAME_CHARACTERS_MAX = 1_024;
const TYPE_CHARACTERS_MAX = 16;
const LOOKUP = {
  name: v.pipe(v.string(), v.maxLength(NAME_CHARACTERS_MAX)),
  type: v.optional(v.pipe(v.string(), v.maxLength(TYPE_CHARACTERS_MAX))),
};

/** Names are served before the portal is reached, and the network's change is theirs, too. */
function withDns(link: PeerWiring, dns: DnsService): PeerWiring {
  return {
    ...link,
    connect() {
      dns.start();
      link.connect();
    },
    reconnect() {
      dns.reset();
      link.reconnect();
    },
    async close() {
      dns.close();
      await link.close();
    },
  };
}

function toView({ resource, status, isEnabled }: ResourceStatus): ResourceView {
  const { kind, rid, name, sites } = resource;
  const isHost = kind === "cidr" && resource.address.bits === resource.address.address.length * 8;
  return {
    rid,
    type: isHost ? "ip" : kind,
    name,
    address: addressOf(resource),
    description: (kind === "internet" ? undefined : resource.description) ?? null,
    sites,
    status,
    enabled: isEnabled,
  };
}

function addressOf(resource: ResourceStatus["resource"]): string | null {
  if (resource.kind === "internet") return null;
  return resource.kind === "dns" ? resource.address : formatPrefix(resource.address);
}

/** A list that is another one, and each status that is (PG-112). */
function tellResources(
  tell: PeerParts<unknown>["tell"],
  before: readonly ResourceStatus[],
  after: readonly ResourceStatus[],
): void {
  const ridsOf = (list: readonly ResourceStatus[]): string[] => list.map(({ resource }) => resource.rid);
  if (!equalValues(ridsOf(before), ridsOf(after))) {
    tell({ event: "resources", data: { count: after.length } });
  }
  for (const { resource, status } of after) {
    const was = before.find((one) => one.resource.rid === resource.rid)?.status;
    if (was !== status) tell({ event: "resource", data: { rid: resource.rid, status } });
  }
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
