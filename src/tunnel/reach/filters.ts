/** Filters of a resource, as packets meet them (TN-56). */
import { PROTOCOL } from "../../packet/index.ts";
import { type Filter, permitsService, type Service } from "../../portal/protocol/index.ts";
import type { Flow } from "./face.ts";

/** An empty list permits everything. */
export function permits(filters: readonly Filter[], flow: Flow): boolean {
  return permitsService(filters, serviceOf(flow));
}

function serviceOf({ protocol, ports }: Flow): Service {
  switch (protocol) {
    case PROTOCOL.tcp:
      return ports === undefined ? { protocol: "other" } : { protocol: "tcp", port: ports.destination };
    case PROTOCOL.udp:
      return ports === undefined ? { protocol: "other" } : { protocol: "udp", port: ports.destination };
    case PROTOCOL.icmp:
    case PROTOCOL.icmpv6:
      return { protocol: "icmp" };
    default:
      return { protocol: "other" };
  }
}
