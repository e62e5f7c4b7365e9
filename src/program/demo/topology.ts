/**
 * The machines of the demo, each a network namespace.
 *
 * ```
 *   client 10.30.0.2 ──┐                      ┌── gateway 10.31.0.2 | 172.20.0.1 ── resource 172.20.0.100
 *                      ├── router (Internet) ─┤
 *                      └── portal 203.0.113.10 ┘
 * ```
 *
 * The resource has no route back and the client none to it: what passes, passes the tunnel and the
 * gateway's masquerading (PG-69).
 */
import type { Lab, Namespace } from "../lab/index.ts";

export const PORTAL_ADDRESS = "203.0.113.10";
export const PORTAL_PORT = 8080;
export const RESOURCE_ADDRESS = "172.20.0.100";
export const RESOURCE_NETWORK = "172.20.0.0/16";

export interface Machines {
  readonly router: Namespace;
  readonly portal: Namespace;
  readonly client: Namespace;
  readonly gateway: Namespace;
  readonly resource: Namespace;
}

export async function buildMachines(lab: Lab): Promise<Machines> {
  const machines: Machines = {
    router: await lab.add("router"),
    portal: await lab.add("portal"),
    client: await lab.add("client"),
    gateway: await lab.add("gateway"),
    resource: await lab.add("resource"),
  };
  const { router, portal, client, gateway, resource } = machines;
  await router.sysctl("net/ipv4/ip_forward", "1");
  await lab.connect(
    { namespace: portal, device: "wan", addresses: [`${PORTAL_ADDRESS}/24`] },
    { namespace: router, device: "portal", addresses: ["203.0.113.1/24"] },
  );
  await lab.connect(
    { namespace: client, device: "wan", addresses: ["10.30.0.2/24"] },
    { namespace: router, device: "client", addresses: ["10.30.0.1/24"] },
  );
  await lab.connect(
    { namespace: gateway, device: "wan", addresses: ["10.31.0.2/24"] },
    { namespace: router, device: "gateway", addresses: ["10.31.0.1/24"] },
  );
  await lab.connect(
    { namespace: gateway, device: "lan", addresses: ["172.20.0.1/16"] },
    { namespace: resource, device: "lan", addresses: [`${RESOURCE_ADDRESS}/16`] },
  );
  await portal.ip("route add default via 203.0.113.1");
  await client.ip("route add default via 10.30.0.1");
  await gateway.ip("route add default via 10.31.0.1");
  return machines;
}
