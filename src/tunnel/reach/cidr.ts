/** A network (TN-21 no. 2, TN-57). */
import { formatPrefix, type Prefix } from "../../base/index.ts";
import type { Filter } from "../../portal/protocol/index.ts";
import type { Reach } from "./face.ts";
import { permits } from "./filters.ts";

export interface CidrResource {
  readonly address: Prefix;
  readonly filters: readonly Filter[];
}

export function cidrReach({ address, filters }: CidrResource): Reach {
  return {
    networks: [address],
    routes: [address],
    isRest: false,
    permits: (flow) => permits(filters, flow),
    isFiltered: filters.length > 0,
    identity: `cidr ${formatPrefix(address)}`,
    rank: 1,
  };
}
