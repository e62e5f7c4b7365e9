/**
 * How configured things look to clients and gateways (PT §4).
 */
import { unreachable } from "../../base/index.ts";
import {
  type ClientInterface,
  type ClientResource,
  clientChannel,
  type GatewayResource,
} from "../protocol/index.ts";
import type { ConfiguredResource, PortalModel } from "./model.ts";
import type { ShownResource } from "./sockets.ts";
import type { StoredPeer } from "./stored-state.ts";

export function clientInterfaceOf(model: PortalModel, device: StoredPeer): ClientInterface {
  const { do53, doh, searchDomain } = model.dns;
  return {
    ipv4: device.ipv4,
    ipv6: device.ipv6,
    upstreamDo53: do53,
    upstreamDoh: doh,
    ...(searchDomain === undefined ? {} : { searchDomain }),
  };
}

export function clientResourceOf(model: PortalModel, resource: ConfiguredResource): ClientResource {
  const site = model.sites.get(resource.siteId);
  const common = {
    rid: resource.id,
    name: resource.name,
    sites: site === undefined ? [] : [{ id: site.id, name: site.name }],
    ...(resource.description === undefined ? {} : { description: resource.description }),
  };
  switch (resource.kind) {
    case "cidr":
      return { ...common, kind: "cidr", address: resource.address, filters: resource.filters };
    case "dns":
      return {
        ...common,
        kind: "dns",
        address: resource.address,
        ipStack: resource.ipStack,
        filters: resource.filters,
      };
    case "internet":
      return {
        kind: "internet",
        rid: resource.id,
        name: resource.name,
        sites: common.sites,
        canBeDisabled: true,
      };
    default:
      return unreachable(resource);
  }
}

export function gatewayResourceOf(resource: ConfiguredResource): GatewayResource {
  const { id: rid, name, filters } = resource;
  switch (resource.kind) {
    case "cidr":
      return { kind: "cidr", rid, name, address: resource.address, filters };
    case "dns":
      return { kind: "dns", rid, name, address: resource.address, filters };
    case "internet":
      return { kind: "internet", rid };
    default:
      return unreachable(resource);
  }
}

/** What decides between an update and "deleted, then created" (PT-90). */
export function identityOf(resource: ConfiguredResource): string {
  switch (resource.kind) {
    case "cidr":
      return `cidr|${resource.address.address.join(".")}/${resource.address.bits}|${resource.siteId}`;
    case "dns":
      return `dns|${resource.address}|${resource.ipStack}|${resource.siteId}`;
    case "internet":
      return `internet|${resource.siteId}`;
    default:
      return unreachable(resource);
  }
}

export function shownResourceOf(model: PortalModel, resource: ConfiguredResource): ShownResource {
  const view = clientResourceOf(model, resource);
  const { payload } = clientChannel.toMessageEvent({ kind: "resource-created-or-updated", resource: view });
  return { identity: identityOf(resource), text: JSON.stringify(payload) };
}
