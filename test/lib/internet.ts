/**
 * A small Internet of namespaces (TS-26): public hosts on one network, and sites behind routers with NAT.
 *
 * ```
 *   host 172.30.0.100 ── lan [router] wan ── 203.0.113.30 ┐
 *                                                         ├─ internet 203.0.113.0/24, 2001:db8:113::/64
 *   host 172.31.0.100 ── lan [router] wan ── 203.0.113.31 ┘       │
 *                                                   public hosts 203.0.113.N
 * ```
 *
 * Inside addresses are not routed outside. IPv6 of a site is its own and public, behind a router that lets
 * in only what was asked for.
 */
import { existsSync } from "node:fs";
import type { Lab, Namespace } from "../../src/program/lab/index.ts";
import { installNat, type Nat } from "./nat.ts";

const NETWORK = "203.0.113";
const NETWORK_6 = "2001:db8:113:";

export type Families = "both" | "ipv4" | "ipv6";

export interface Site {
  readonly router: Namespace;
  /** As the Internet sees it. */
  readonly outside: string;
  /** A further host inside; its addresses end in `last`. */
  addHost(role: string, last: number, options?: { readonly families?: Families }): Promise<Namespace>;
}

export interface Internet {
  /** A host at 203.0.113.`last` and 2001:db8:113::`last`. */
  addPublic(role: string, last: number, options?: { readonly families?: Families }): Promise<Namespace>;
  /** Inside are 172.`last`.0.0/24 and 2001:db8:113:`last`::/64; `last` is below 256. */
  addSite(role: string, last: number, nat: Nat): Promise<Site>;
}

/** Mappings of an address-dependent NAT differ between these. */
const SERVERS = [10, 11, 12, 101, 102].map((last) => `${NETWORK}.${last}`);

export async function createInternet(lab: Lab): Promise<Internet> {
  const internet = await lab.add("internet");
  await internet.ip("link add middle type bridge", "link set middle up");
  const sites: { readonly router: Namespace; readonly network6: string; readonly via6: string }[] = [];
  const publicHosts: Namespace[] = [];

  const plug = async (namespace: Namespace, last: number, families: Families): Promise<void> => {
    const v4 = families === "ipv6" ? [] : [`${NETWORK}.${last}/24`];
    const v6 = families === "ipv4" ? [] : [`${NETWORK_6}:${last}/64`];
    const device = `host${last}`;
    await lab.connect(
      { namespace, device: "wan", addresses: [...v4, ...v6] },
      { namespace: internet, device, addresses: [] },
    );
    await internet.ip(`link set ${device} master middle`);
  };
  return {
    async addPublic(role, last, { families = "both" } = {}) {
      const host = await lab.add(role);
      await plug(host, last, families);
      publicHosts.push(host);
      for (const { network6, via6 } of sites) await host.ip(`route add ${network6} via ${via6}`);
      return host;
    },
    async addSite(role, last, nat) {
      const router = await lab.add(`${role}-rt`);
      await plug(router, last, "both");
      const site = { router, network6: `${NETWORK_6}${last}::/64`, via6: `${NETWORK_6}:${last}` };
      const others = [...publicHosts, ...sites.map((other) => other.router)];
      for (const other of others) await other.ip(`route add ${site.network6} via ${site.via6}`);
      for (const { network6, via6 } of sites) await router.ip(`route add ${network6} via ${via6}`);
      sites.push(site);
      const outside = `${NETWORK}.${last}`;
      await buildInside(router, last);
      await installNat(router, nat, { outside, inside: `172.${last}.0.0/24`, destinations: SERVERS });
      return { router, outside, addHost: (...args) => addHost(lab, router, last, ...args) };
    },
  };
}

/** The hosts of a site share a bridge, the router's `lan`. */
async function buildInside(router: Namespace, last: number): Promise<void> {
  // Otherwise the rules see frames on the bridge too, and translate what has not reached the router yet.
  if (existsSync("/proc/sys/net/bridge")) {
    for (const call of ["iptables", "ip6tables"])
      await router.sysctl(`net/bridge/bridge-nf-call-${call}`, "0");
  }
  await router.ip(
    "link add lan type bridge",
    `addr add 172.${last}.0.254/24 dev lan`,
    `addr add ${NETWORK_6}${last}::fe/64 dev lan nodad`,
    "link set lan up",
  );
}

async function addHost(
  lab: Lab,
  router: Namespace,
  site: number,
  role: string,
  last: number,
  { families = "both" }: { readonly families?: Families } = {},
): Promise<Namespace> {
  const host = await lab.add(role);
  const v4 = families === "ipv6" ? [] : [`172.${site}.0.${last}/24`];
  const v6 = families === "ipv4" ? [] : [`${NETWORK_6}${site}::${last}/64`];
  const device = `lan${last}`;
  await lab.connect(
    { namespace: host, device: "wan", addresses: [...v4, ...v6] },
    { namespace: router, device, addresses: [] },
  );
  await router.ip(`link set ${device} master lan`);
  if (v4.length > 0) await host.ip(`route add default via 172.${site}.0.254`);
  if (v6.length > 0) await host.ip(`route add ::/0 via ${NETWORK_6}${site}::fe`);
  return host;
}
