import { describe, expect, it } from "vitest";
import { contains, ip, prefix } from "../../../src/base/index.ts";
import type { Filter, GatewayResource } from "../../../src/portal/protocol/index.ts";
import type { Flow } from "../../../src/tunnel/reach/face.ts";
import { reachOf } from "../../../src/tunnel/reach/reach.ts";

const RESOURCES = {
  cidr: cidr([]),
  dns: { kind: "dns", rid: "d", name: "d", address: "*.example.com", filters: [] },
  internet: { kind: "internet", rid: "i" },
} satisfies Record<GatewayResource["kind"], GatewayResource>;

function cidr(filters: readonly Filter[]): GatewayResource {
  return { kind: "cidr", rid: "c", name: "c", address: prefix("10.1.0.0/16"), filters };
}

const flow = (protocol: number, port?: number, destination = "10.1.2.3"): Flow => ({
  destination: ip(destination),
  protocol,
  ...(port !== undefined && { ports: { source: 40_000, destination: port } }),
});

describe("the reach of a resource", () => {
  it("TN-21: networks are known by address, names by their pattern; the internet is the rest", () => {
    const { cidr: network, dns, internet } = RESOURCES;
    expect(reachOf(network)).toMatchObject({ networks: [prefix("10.1.0.0/16")], isRest: false });
    expect(reachOf(dns)).toMatchObject({ networks: [], pattern: "*.example.com", isRest: false });
    expect(reachOf(internet)).toMatchObject({ routes: [prefix("0.0.0.0/0"), prefix("::/0")], isRest: true });
    expect(reachOf(network).pattern).toBeUndefined();
  });

  it("TN-59: what the internet is not", () => {
    const { networks } = reachOf(RESOURCES.internet);
    const isInternet = (text: string): boolean => networks.some((one) => contains(one, ip(text)));
    const inside = ["1.0.0.0", "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "223.255.255.255"];
    const inside6 = ["::2", "2001:db8::1", "fbff::1", "fe00::1", "fec0::1"];
    const outside = ["0.0.0.1", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.0.1", "172.16.0.1"];
    const outside4 = ["192.168.0.1", "224.0.0.1", "255.255.255.255", "100.127.255.255"];
    const outside6 = ["::", "::1", "::ffff:1.1.1.1", "fc00::1", "fd00:2021:1111::1", "fe80::1", "ff02::1"];
    expect([...inside, ...inside6].filter((text) => !isInternet(text))).toEqual([]);
    expect([...outside, ...outside4, ...outside6].filter(isInternet)).toEqual([]);
  });

  it("TN-25: each kind and address has an identity of its own", () => {
    const other: GatewayResource = { ...RESOURCES.dns, address: "*.example.net" };
    const all = [...Object.values(RESOURCES), other].map((resource) => reachOf(resource).identity);
    expect(new Set(all).size).toBe(4);
  });

  it.each([
    ["an empty list permits everything", [], flow(253), true],
    [
      "a port at the beginning of the range",
      [{ protocol: "tcp", firstPort: 80, lastPort: 90 }],
      flow(6, 80),
      true,
    ],
    ["a port at its end", [{ protocol: "tcp", firstPort: 80, lastPort: 90 }], flow(6, 90), true],
    ["a port before it", [{ protocol: "tcp", firstPort: 80, lastPort: 90 }], flow(6, 79), false],
    ["a port behind it", [{ protocol: "tcp", firstPort: 80, lastPort: 90 }], flow(6, 91), false],
    ["another protocol", [{ protocol: "tcp", firstPort: 80, lastPort: 90 }], flow(17, 80), false],
    [
      "a range that ends before it begins",
      [{ protocol: "udp", firstPort: 9, lastPort: 8 }],
      flow(17, 8),
      false,
    ],
    ["icmp by its presence", [{ protocol: "icmp" }], flow(1), true],
    ["icmp for version 6", [{ protocol: "icmp" }], flow(58), true],
    ["portless packets and a list that is not empty", [{ protocol: "icmp" }], flow(253), false],
    ["an unknown protocol alone", [{ protocol: "unknown" }], flow(6, 80), false],
    [
      "any filter of the list",
      [{ protocol: "unknown" }, { protocol: "udp", firstPort: 0, lastPort: 65_535 }],
      flow(17, 1),
      true,
    ],
  ] satisfies readonly (readonly [string, readonly Filter[], Flow, boolean])[])(
    "TN-56: %s",
    (_, filters, what, is) => {
      expect(reachOf(cidr(filters)).permits(what)).toBe(is);
    },
  );
});
