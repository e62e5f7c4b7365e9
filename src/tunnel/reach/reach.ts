/**
 * What a resource reaches: the one place that knows its kind. Everybody else asks for networks, or
 * whether a flow may pass.
 */

import type { Prefix } from "../../base/index.ts";
import { unreachable } from "../../base/index.ts";
import type { PacketView } from "../../packet/index.ts";
import type { ClientResource, GatewayResource } from "../../portal/protocol/index.ts";
import { cidrReach } from "./cidr.ts";
import { dnsReach } from "./dns.ts";
import { internetReach } from "./internet.ts";

/** A packet as filters see it, from the client's side (TN-58). */
export type Flow = Pick<PacketView, "protocol" | "ports"> & {
  readonly destination: PacketView["destination"];
};

export interface Reach {
  /** Where packets of the resource go; empty while nothing is known by address. */
  readonly networks: readonly Prefix[];
  /** Whether the resource lets the flow pass (TN-21, TN-56). */
  allows(flow: Flow): boolean;
  /** What access was granted to; if it becomes another, access ends (TN-25, TN-51). */
  readonly identity: string;
  /** Where it stands in a list (TN-19). */
  readonly rank: number;
  /** Why this version cannot open it at a gateway; absent: it can. */
  readonly obstacle?: string;
}

export function reachOf(resource: ClientResource | GatewayResource): Reach {
  switch (resource.kind) {
    case "cidr":
      return cidrReach(resource);
    case "dns":
      return dnsReach(resource);
    case "internet":
      return internetReach();
    default:
      return unreachable(resource);
  }
}
