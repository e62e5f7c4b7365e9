/** Filters of a resource, as packets meet them (TN-56, TN-60). */
import { PROTOCOL } from "../../packet/index.ts";
import { type Filter, permitsService, type Service } from "../../portal/protocol/index.ts";
import type { Flow } from "./face.ts";

/** An empty list permits everything. */
export function permits(filters: readonly Filter[], flow: Flow): boolean {
  return permitsService(filters, serviceOf(flow));
}

/** Why filters refused a flow, for the log. */
export function refusalCause({ protocol, ports }: Pick<Flow, "protocol" | "ports">): string {
  if (ports === undefined) return `filter could not be evaluated: ${protocolText(protocol)}`;
  switch (protocol) {
    case PROTOCOL.tcp:
      return "TCP port not allowed";
    case PROTOCOL.udp:
      return "UDP port not allowed";
    default:
      return "ICMP not allowed";
  }
}

function protocolText(protocol: number): string {
  return protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6
    ? "an ICMP message that is no echo"
    : `protocol ${protocol}`;
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
