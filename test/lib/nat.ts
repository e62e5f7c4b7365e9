/**
 * Routers with the NATs that people have, as nftables rules (TS-27). What each claims to be is measured in
 * `test/system/nat.test.ts` (TS-29), since a scenario whose NAT is another than it says proves nothing.
 *
 * Devices of a router: `wan` outside, `lan` inside.
 */
import type { Namespace } from "../../src/program/lab/index.ts";

/** Mapping and filtering by RFC 4787: endpoint-independent, address-dependent, address-and-port-dependent. */
export type Dependence = "endpoint-independent" | "address-dependent" | "address-and-port-dependent";

export interface NatBehaviour {
  readonly mapping: Dependence;
  readonly filtering: Dependence;
  readonly isPortKept: boolean;
  /** What a host inside sees as the source when it reaches another one by the outside address. */
  readonly hairpin: "none" | "outside";
}

export const NAT_KINDS = {
  "port-restricted": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    isPortKept: true,
    hairpin: "none",
  },
  symmetric: {
    mapping: "address-and-port-dependent",
    filtering: "address-and-port-dependent",
    isPortKept: false,
    hairpin: "none",
  },
  "port-not-kept": {
    mapping: "endpoint-independent",
    filtering: "address-and-port-dependent",
    isPortKept: false,
    hairpin: "none",
  },
  "address-dependent": {
    mapping: "address-dependent",
    filtering: "address-and-port-dependent",
    isPortKept: false,
    hairpin: "none",
  },
  "full-cone": {
    mapping: "endpoint-independent",
    filtering: "endpoint-independent",
    isPortKept: true,
    hairpin: "none",
  },
  "address-restricted": {
    mapping: "endpoint-independent",
    filtering: "address-dependent",
    isPortKept: true,
    hairpin: "none",
  },
  hairpin: {
    mapping: "endpoint-independent",
    filtering: "endpoint-independent",
    isPortKept: true,
    hairpin: "outside",
  },
} as const satisfies Record<string, NatBehaviour>;
export type NatKind = keyof typeof NAT_KINDS;

export interface Nat {
  readonly kind: NatKind;
  /** UDP port 52625 from outside goes to this address inside. */
  readonly forwardTo?: string;
  /** What goes out is dropped in silence: all UDP, or all but TCP to these ports. */
  readonly blocks?: "udp" | { readonly allBut: readonly number[] };
  /** When mappings end, in seconds: without an answer, and after the last packet with one. */
  readonly expiry?: { readonly unanswered: number; readonly answered: number };
}

/** Mappings that end while a test waits. */
export const SHORT_EXPIRY = { unanswered: 3, answered: 5 } as const;

/** Where the router stands. */
export interface NatPlace {
  readonly outside: string;
  /** With prefix length. */
  readonly inside: string;
  /** What an address-dependent NAT keeps apart, two at least. */
  readonly destinations: readonly string[];
}

/** Loads the rules into the router's namespace, and makes it forward. */
export async function installNat(router: Namespace, nat: Nat, place: NatPlace): Promise<void> {
  await router.sysctl("net/ipv4/ip_forward", "1");
  await router.sysctl("net/ipv6/conf/all/forwarding", "1");
  await router.run("nft", ["--", natRules(nat, place)]);
}

function natRules(nat: Nat, place: NatPlace): string {
  return `
    table inet filter {
      chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        meta l4proto { icmp, ipv6-icmp } accept
        iifname "lan" accept
      }
      chain forward {
        type filter hook forward priority filter; policy accept;
        ${blockRules(nat)}
        meta nfproto ipv6 iifname "wan" ct state new drop
      }
      ${expiryRules(nat)}
    }
    table ip nat {
      ${learningRules(nat.kind)}
      chain prerouting {
        type nat hook prerouting priority dstnat;
        ${forwardRule(nat)}
        ${incomingRule(nat.kind, place)}
      }
      chain postrouting {
        type nat hook postrouting priority srcnat;
        ${outgoingRules(nat.kind, place)}
      }
    }`;
}

function blockRules({ blocks }: Nat): string {
  if (blocks === undefined) return "";
  if (blocks === "udp") return 'oifname "wan" meta l4proto udp drop';
  const ports = blocks.allBut.join(", ");
  const allowed = ports === "" ? "" : `oifname "wan" tcp dport { ${ports} } accept\n`;
  return `${allowed}oifname "wan" meta l4proto { tcp, udp } ct state new drop`;
}

function forwardRule({ forwardTo }: Nat): string {
  return forwardTo === undefined ? "" : `iifname "wan" udp dport 52625 dnat ip to ${forwardTo}`;
}

function expiryRules({ expiry }: Nat): string {
  if (expiry === undefined) return "";
  return `
      ct timeout short {
        protocol udp; l3proto ip
        policy = { unreplied : ${expiry.unanswered}, replied : ${expiry.answered} }
      }
      chain expire {
        type filter hook prerouting priority -150;
        meta l4proto udp ct timeout set "short"
      }`;
}

/**
 * Linux's own NAT filters by address and port. For the kinder ones the router remembers who sent from which
 * port, which presumes that ports are kept: one inside host per port.
 */
function learningRules(kind: NatKind): string {
  if (kind !== "full-cone" && kind !== "address-restricted" && kind !== "hairpin") return "";
  return `
      map back { type inet_service : ipv4_addr; flags dynamic,timeout; timeout 120s; }
      set seen { type inet_service . ipv4_addr; flags dynamic,timeout; timeout 120s; }
      chain learn {
        type filter hook forward priority mangle;
        oifname "wan" meta l4proto udp update @back { udp sport : ip saddr }
        oifname "wan" meta l4proto udp update @seen { udp sport . ip daddr }
      }`;
}

function incomingRule(kind: NatKind, { outside }: NatPlace): string {
  const toOutside = `ip daddr ${outside} meta l4proto udp`;
  if (kind === "full-cone") return `iifname "wan" ${toOutside} dnat ip to udp dport map @back`;
  if (kind === "hairpin") return `${toOutside} dnat ip to udp dport map @back`;
  if (kind !== "address-restricted") return "";
  return `iifname "wan" ${toOutside} udp dport . ip saddr @seen dnat ip to udp dport map @back`;
}

function outgoingRules(kind: NatKind, { outside, inside, destinations }: NatPlace): string {
  const rest = 'oifname "wan" masquerade';
  if (kind === "symmetric") return 'oifname "wan" masquerade random';
  if (kind === "port-not-kept") {
    return `meta l4proto udp oifname "wan" snat ip to ${outside}:20000-29999\n${rest}`;
  }
  if (kind === "address-dependent") {
    const pools = destinations.map(
      (to, i) => `${to} : ${outside} . ${20_000 + 1000 * i}-${20_999 + 1000 * i}`,
    );
    return `meta l4proto udp oifname "wan" snat ip to ip daddr map { ${pools.join(", ")} }\n${rest}`;
  }
  if (kind !== "hairpin") return rest;
  return `ip saddr ${inside} ip daddr ${inside} oifname "lan" snat ip to ${outside}\n${rest}`;
}
