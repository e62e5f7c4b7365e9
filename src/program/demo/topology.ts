/**
 * The machines of the demo, each a network namespace.
 *
 * ```
 *   client 10.30.0.2 ──── home 203.0.113.130 ───┐          ┌─ portal 203.0.113.10
 *                                               ├─ internet ─┤
 *   gateway 10.31.0.2 ── office 203.0.113.194 ──┘          └─ relay 203.0.113.70
 *      └ 172.20.0.1 ── resource 172.20.0.100
 * ```
 *
 * A café, 198.51.100.2 with 10.32.0.0/24 behind it, is built when the client first moves there (`--script`).
 *
 * Home and office are routers that translate addresses and let nobody in. The resource has no route back
 * and the client none to it: what passes, passes the tunnel and the gateway's masquerading (PG-69).
 */
import type { Lab, Namespace } from "../lab/index.ts";

export const PORTAL_ADDRESS = "203.0.113.10";
export const PORTAL_PORT = 8080;
export const RELAY_ADDRESS = "203.0.113.70";
export const RESOURCE_ADDRESS = "172.20.0.100";
/** Of the web server, as its other one; the filters do not permit it. */
export const FILTERED_PORT = 81;
export const RESOURCE_NETWORK = "172.20.0.0/16";

const HOME_ADDRESS = "203.0.113.130";
const OFFICE_ADDRESS = "203.0.113.194";
/** The first three bytes of a /24 each. */
const HOME_NETWORK = "10.30.0";
const CAFE_NETWORK = "10.32.0";
const CAFE_ADDRESS = "198.51.100.2";

/** What the client's network lets out: everything, UDP to the relay but not to the office, or no UDP. */
export type Obstacle = "none" | "direct-udp" | "udp";

export interface Machines {
  readonly internet: Namespace;
  readonly portal: Namespace;
  readonly relay: Namespace;
  readonly home: Namespace;
  readonly office: Namespace;
  readonly client: Namespace;
  readonly gateway: Namespace;
  readonly resource: Namespace;
  /** The router of the network where the client goes; absent until then. */
  cafe?: Namespace;
}

const ROLES = ["internet", "portal", "relay", "home", "office", "client", "gateway", "resource"] as const;

export async function buildMachines(lab: Lab, obstacle: Obstacle): Promise<Machines> {
  const added = await Promise.all(ROLES.map(async (role) => [role, await lab.add(role)] as const));
  const machines = Object.fromEntries(added) as Record<(typeof ROLES)[number], Namespace>;
  const { internet, portal, relay, home, office, client, gateway, resource } = machines;
  await Promise.all([
    forward(internet),
    plug(lab, internet, { host: portal, role: "portal", address: PORTAL_ADDRESS, router: "203.0.113.1" }),
    plug(lab, internet, { host: relay, role: "relay", address: RELAY_ADDRESS, router: "203.0.113.65" }),
    plug(lab, internet, { host: home, role: "home", address: HOME_ADDRESS, router: "203.0.113.129" }),
    plug(lab, internet, { host: office, role: "office", address: OFFICE_ADDRESS, router: "203.0.113.193" }),
    shelter(lab, { router: home, host: client, network: HOME_NETWORK, dropped: dropRule(obstacle) }),
    shelter(lab, { router: office, host: gateway, network: "10.31.0", dropped: "" }),
    lab.connect(
      { namespace: gateway, device: "lan", addresses: ["172.20.0.1/16"] },
      { namespace: resource, device: "lan", addresses: [`${RESOURCE_ADDRESS}/16`] },
    ),
  ]);
  return machines;
}

/**
 * Takes the client's cable out and puts it in at home or in the café, which the first move builds.
 *
 * @returns when the old cable was gone, as `performance.now()` has it
 */
export async function moveClient(
  {
    lab,
    machines,
    obstacle,
  }: { readonly lab: Lab; readonly machines: Machines; readonly obstacle: Obstacle },
  isToHome: boolean,
): Promise<number> {
  const router = isToHome ? machines.home : (machines.cafe ?? (await buildCafe(lab, machines, obstacle)));
  await machines.client.ip("link del wan");
  const goneAt = performance.now();
  await cable(lab, { router, host: machines.client, network: isToHome ? HOME_NETWORK : CAFE_NETWORK });
  return goneAt;
}

async function buildCafe(lab: Lab, machines: Machines, obstacle: Obstacle): Promise<Namespace> {
  const cafe = await lab.add("cafe");
  machines.cafe = cafe;
  const router = "198.51.100.1";
  await lab.connect(
    { namespace: cafe, device: "wan", addresses: [`${CAFE_ADDRESS}/26`] },
    { namespace: machines.internet, device: "cafe", addresses: [`${router}/26`] },
  );
  await cafe.ip(`route add default via ${router}`);
  await translate(cafe, dropRule(obstacle));
  return cafe;
}

interface Plug {
  readonly host: Namespace;
  readonly role: string;
  readonly address: string;
  /** The internet's end of the cable. */
  readonly router: string;
}

async function plug(lab: Lab, internet: Namespace, { host, role, address, router }: Plug): Promise<void> {
  await lab.connect(
    { namespace: host, device: "wan", addresses: [`${address}/26`] },
    { namespace: internet, device: role, addresses: [`${router}/26`] },
  );
  await host.ip(`route add default via ${router}`);
}

interface Cable {
  readonly router: Namespace;
  readonly host: Namespace;
  /** The first three bytes of a /24. */
  readonly network: string;
}

interface Shelter extends Cable {
  /** A rule about what comes from inside; empty: everything passes. */
  readonly dropped: string;
}

/** A host behind a router with NAT, as at home and in most offices. */
async function shelter(lab: Lab, { dropped, ...ends }: Shelter): Promise<void> {
  await cable(lab, ends);
  await translate(ends.router, dropped);
}

async function cable(lab: Lab, { router, host, network }: Cable): Promise<void> {
  await lab.connect(
    { namespace: host, device: "wan", addresses: [`${network}.2/24`] },
    { namespace: router, device: "lan", addresses: [`${network}.1/24`] },
  );
  await host.ip(`route add default via ${network}.1`);
}

async function translate(router: Namespace, dropped: string): Promise<void> {
  await forward(router);
  await router.run("nft", ["--", natRules(dropped)]);
}

async function forward(router: Namespace): Promise<void> {
  await router.sysctl("net/ipv4/ip_forward", "1");
}

function dropRule(obstacle: Obstacle): string {
  if (obstacle === "none") return "";
  return obstacle === "udp"
    ? 'iifname "lan" meta l4proto udp drop'
    : `iifname "lan" ip daddr ${OFFICE_ADDRESS} meta l4proto udp drop`;
}

/**
 * What comes unasked is dropped on both ways: a flow that the router took for its own would make it give the same
 * ports to nobody inside.
 */
function natRules(dropped: string): string {
  return `
    table ip nat {
      chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
      }
    }
    table ip filter {
      chain input {
        type filter hook input priority filter;
        iifname "wan" ct state new drop
      }
      chain forward {
        type filter hook forward priority filter;
        iifname "wan" ct state new drop
        ${dropped}
      }
    }`;
}
