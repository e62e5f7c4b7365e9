/** A name pattern (TN-21 no. 1): its addresses are those that the client's resolver gives out. */
import type { Filter } from "../../portal/protocol/index.ts";
import type { Reach } from "./face.ts";
import { permits } from "./filters.ts";

export interface DnsResource {
  readonly address: string;
  /** Only clients are told of it. */
  readonly ipStack?: string;
  readonly filters: readonly Filter[];
}

export function dnsReach({ address, ipStack, filters }: DnsResource): Reach {
  return {
    networks: [],
    routes: [],
    pattern: address,
    isRest: false,
    permits: (flow) => permits(filters, flow),
    isFiltered: filters.length > 0,
    identity: `dns ${address} ${ipStack ?? ""}`,
    rank: 1,
  };
}
