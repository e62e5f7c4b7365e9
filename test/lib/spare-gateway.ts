/** A second gateway of the office's site, with its own way to the resource. */
import type { Child, Namespace } from "../../src/program/lab/index.ts";
import { API_URL, type Office, START_WITHIN_MS } from "./office.ts";

/** At 10.32.0.2. */
export async function addSpareGateway({ lab, router, resource }: Office): Promise<Namespace> {
  const gateway = await lab.add("gateway2");
  await lab.connect(
    { namespace: gateway, device: "wan", addresses: ["10.32.0.2/24"] },
    { namespace: router, device: "gateway2", addresses: ["10.32.0.1/24"] },
  );
  await lab.connect(
    { namespace: gateway, device: "lan", addresses: ["172.22.0.1/24"] },
    { namespace: resource, device: "lan2", addresses: ["172.22.0.2/24"] },
  );
  await gateway.ip("route add default via 10.32.0.1", "route add 172.20.0.0/16 via 172.22.0.2");
  return gateway;
}

export async function startSpareGateway(office: Office, where: Namespace): Promise<Child> {
  const args = ["gateway", "--api-url", API_URL, "--id", "lab-gateway-2"];
  const child = office.postern(where, args, { POSTERN_TOKEN: office.tokens.gateway });
  await child.waitForLine(/INFO postern: ready /, { withinMs: START_WITHIN_MS });
  return child;
}
