/**
 * A chain that drops packets for networks behind the tunnel which would leave by another device (PG-154).
 *
 * Routing sends them into the tunnel. When somebody deletes a rule or a route, or takes the device down,
 * they would leave in the clear until it is repaired. The networks stand in sets whose elements run out:
 * when the program is killed, the tunnel's routes go with its device, and the chain lets everything pass
 * soon after.
 */
import { covers, equalPrefix, formatPrefix, type Prefix } from "../base/index.ts";
import { FWMARK } from "./constants.ts";
import { quoteInterface } from "./nft.ts";

/** How long the sets live without being filled again. */
const LIFETIME_S = 180;

/** One table for each device: several instances may run. A name is made of letters, digits and `_`. */
export function guardTable(tunName: string): string {
  return `postern_guard_${tunName.replace(/[^a-zA-Z0-9]/g, "_")}`;
}

/** The table in one transaction that replaces an earlier one. */
export function guardRuleset(tunName: string, networks: readonly Prefix[]): string {
  const table = guardTable(tunName);
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  counter stopped {
  }
${setText("networks4", "ipv4_addr", elementsOf(networks, 4))}
${setText("networks6", "ipv6_addr", elementsOf(networks, 16))}
  chain leaving {
    meta mark 0x${FWMARK.toString(16)} return
    oifname { ${quoteInterface(tunName)}, "lo" } return
    fib daddr type != unicast return
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } return
    udp dport { 67, 68, 546, 547 } return
    ip daddr @networks4 counter name stopped drop
    ip6 daddr @networks6 counter name stopped drop
  }
  chain output {
    type filter hook output priority filter; policy accept;
    jump leaving
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    jump leaving
  }
}
`;
}

/** Fills the sets again, so that they live on; refused when the table is gone. */
export function guardRefresh(tunName: string, networks: readonly Prefix[]): string {
  const table = guardTable(tunName);
  return (["networks4", "networks6"] as const)
    .flatMap((set) => {
      const elements = elementsOf(networks, set === "networks4" ? 4 : 16);
      if (elements === "") return [];
      return [`flush set inet ${table} ${set}\n`, `add element inet ${table} ${set} { ${elements} }\n`];
    })
    .join("");
}

export function guardRemoval(tunName: string): string {
  const table = guardTable(tunName);
  // `add` first: deleting a table that is not there is an error.
  return `add table inet ${table}\ndelete table inet ${table}\n`;
}

function setText(name: string, type: string, elements: string): string {
  const content = elements === "" ? "" : `\n    elements = { ${elements} }`;
  return `  set ${name} {
    type ${type}; flags interval, timeout; timeout ${LIFETIME_S}s${content}
  }`;
}

/** Of one family. Intervals of a set must not overlap: what another one covers is left out. */
function elementsOf(networks: readonly Prefix[], addressBytes: 4 | 16): string {
  return networks
    .filter(({ address }) => address.length === addressBytes)
    .filter(
      (one, i, all) => !all.some((other, j) => covers(other, one) && (!equalPrefix(other, one) || j < i)),
    )
    .map(formatPrefix)
    .join(", ");
}
