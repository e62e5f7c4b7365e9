/** A name pattern (TN-21 no. 1). Not served yet: no address belongs to it. */
import type { Reach } from "./face.ts";

export function dnsReach({
  address,
  ipStack,
}: {
  readonly address: string;
  readonly ipStack?: string;
}): Reach {
  return {
    networks: [],
    allows: () => false,
    identity: `dns ${address} ${ipStack ?? ""}`,
    rank: 1,
    obstacle: "this version does not serve DNS resources",
  };
}
