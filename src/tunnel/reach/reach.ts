/**
 * What a resource reaches: the one place that knows its kind. Everybody else asks for networks, or
 * whether a flow may pass.
 */

import { unreachable } from "../../base/index.ts";
import type { ClientResource, GatewayResource } from "../../portal/protocol/index.ts";
import { cidrReach } from "./cidr.ts";
import { dnsReach } from "./dns.ts";
import type { Reach } from "./face.ts";
import { internetReach } from "./internet.ts";

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
