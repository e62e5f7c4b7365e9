/** Filters of a resource (TN-56). An empty list permits everything. */
import { unreachable } from "../../base/index.ts";
import { PROTOCOL } from "../../packet/index.ts";
import type { Filter } from "../../portal/protocol/index.ts";
import type { Flow } from "./face.ts";

export function permits(filters: readonly Filter[], flow: Flow): boolean {
  return filters.length === 0 || filters.some((filter) => isMatch(filter, flow));
}

function isMatch(filter: Filter, { protocol, ports }: Flow): boolean {
  switch (filter.protocol) {
    case "tcp":
    case "udp": {
      if (protocol !== PROTOCOL[filter.protocol] || ports === undefined) return false;
      // A range that ends before it begins permits nothing.
      return filter.firstPort <= ports.destination && ports.destination <= filter.lastPort;
    }
    case "icmp":
      return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6;
    case "unknown":
      // Fails closed, and makes the list not empty.
      return false;
    default:
      return unreachable(filter);
  }
}
