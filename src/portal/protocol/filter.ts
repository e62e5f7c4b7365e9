/** What a resource's filters let through (TN-56): one judgement for client, gateway and portal. */
import { unreachable } from "../../base/index.ts";
import type { Filter } from "./resource.ts";

/** What filters see of a packet; `other` is everything that has neither ports nor is ICMP. */
export type Service =
  | { readonly protocol: "tcp" | "udp"; readonly port: number }
  | { readonly protocol: "icmp" | "other" };

/** An empty list permits everything. */
export function permitsService(filters: readonly Filter[], service: Service): boolean {
  return filters.length === 0 || filters.some((filter) => isMatch(filter, service));
}

function isMatch(filter: Filter, service: Service): boolean {
  switch (filter.protocol) {
    case "tcp":
    case "udp":
      // A range that ends before it begins permits nothing.
      return (
        service.protocol === filter.protocol &&
        filter.firstPort <= service.port &&
        service.port <= filter.lastPort
      );
    case "icmp":
      return service.protocol === "icmp";
    case "unknown":
      // Fails closed, and makes the list not empty.
      return false;
    default:
      return unreachable(filter);
  }
}
