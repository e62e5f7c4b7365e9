import { describe, expect, it } from "vitest";
import type { KernelRoute, Link } from "../../../bindings/linux/index.ts";
import { contains, covers, formatPrefix, ip, prefix } from "../../../src/base/index.ts";
import { tunnelNetworks } from "../../../src/host/index.ts";

const ETH = 2;
const TUN = 9;
const LINK: Link = {
  index: ETH,
  name: "eth0",
  mtu: 1500,
  isUp: true,
  isLoopback: false,
  isOperational: true,
  txQueueLength: 1000,
};
const RANGE = prefix("100.64.0.0/11");
const RESERVED = [prefix("100.96.0.0/11"), prefix("100.100.111.0/24")];
const ROUTES = [RANGE, prefix("fd00:2021:1111::/107"), ...RESERVED, prefix("172.20.0.0/16")];

function linkRoute(network: string, changes: Partial<KernelRoute> = {}): KernelRoute {
  const destination = prefix(network);
  const scope = destination.address.length === 4 ? 253 : 0;
  return {
    destination,
    table: 254,
    outputIndex: ETH,
    protocol: 2,
    scope,
    type: 1,
    hasNextHops: false,
    ...changes,
  };
}

function on(routes: readonly KernelRoute[], peers: readonly string[] = []) {
  return tunnelNetworks({
    routes: ROUTES,
    reserved: RESERVED,
    peers: peers.map(ip),
    network: { links: [LINK], addresses: [], routes },
    tunIndex: TUN,
  });
}

const leadsIn = (result: ReturnType<typeof on>, address: string): boolean =>
  result.networks.some((network) => contains(network, ip(address)));

describe("networks of a host inside the tunnel's ranges", () => {
  it("TN-16: on an ordinary host every range goes into the tunnel as it is", () => {
    const result = on([linkRoute("192.0.2.0/24")]);
    expect(result).toEqual({ networks: ROUTES, shadowed: [], captured: [] });
  });

  it("TN-16: a connected network wins over the range, to its last address and no further", () => {
    const result = on([linkRoute("100.70.0.0/24")]);
    expect(result.shadowed.map(formatPrefix)).toEqual(["100.70.0.0/24"]);
    for (const address of ["100.70.0.0", "100.70.0.1", "100.70.0.255"])
      expect(leadsIn(result, address), address).toBe(false);
    for (const address of ["100.69.255.255", "100.70.1.0", "100.64.0.0", "100.95.255.255"])
      expect(leadsIn(result, address), address).toBe(true);
  });

  it("TN-16: a connected peer's address wins over the network", () => {
    const result = on([linkRoute("100.70.0.0/24")], ["100.70.0.9", "100.64.0.9", "192.0.2.9"]);
    expect(leadsIn(result, "100.70.0.9")).toBe(true);
    expect(leadsIn(result, "100.70.0.8")).toBe(false);
    const apart = result.networks.filter(({ bits }) => bits === 32).map(formatPrefix);
    expect(apart, "what the range holds anyway needs no route").toEqual(["100.70.0.9/32"]);
  });

  it("TN-16: so does the way to the default gateway, where it lies in no connected network", () => {
    const gateway = { gateway: ip("100.80.0.1"), scope: 0 };
    const result = on([linkRoute("0.0.0.0/0", gateway)]);
    expect(result.shadowed.map(formatPrefix)).toEqual(["100.80.0.1/32"]);
    expect(leadsIn(result, "100.80.0.1")).toBe(false);
    expect(leadsIn(result, "100.80.0.2")).toBe(true);
    const inside = on([linkRoute("100.80.0.0/24"), linkRoute("0.0.0.0/0", gateway)]);
    expect(inside.shadowed.map(formatPrefix)).toEqual(["100.80.0.0/24"]);
  });

  it("TN-16, PG-33: a network as wide as the carrier's takes the range, never proxies and sentinels", () => {
    const result = on([linkRoute("100.64.0.0/10")]);
    expect(leadsIn(result, "100.64.0.1")).toBe(false);
    expect(leadsIn(result, "100.96.0.1")).toBe(true);
    expect(leadsIn(result, "100.100.111.1")).toBe(true);
    expect(result.captured.map(formatPrefix)).toEqual(["100.64.0.0/10"]);
  });

  it("TN-18: a network that a resource covers goes into the tunnel, and is named", () => {
    expect(on([linkRoute("172.20.0.0/16")]).captured.map(formatPrefix)).toEqual(["172.20.0.0/16"]);
    expect(on([linkRoute("172.20.7.0/24")]).captured.map(formatPrefix)).toEqual(["172.20.7.0/24"]);
    expect(on([linkRoute("172.16.0.0/12")]).captured, "part of it only").toEqual([]);
  });

  it("TN-16: routes via a gateway do not win: a network could pull addresses out with them", () => {
    const result = on([linkRoute("100.70.0.0/24", { scope: 0, gateway: ip("192.0.2.1") })]);
    expect(result.networks).toEqual(ROUTES);
    expect(result.networks.some((network) => covers(network, RANGE))).toBe(true);
  });
});
