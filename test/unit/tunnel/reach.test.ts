import { describe, expect, it } from "vitest";
import { formatPrefix, ip, prefix } from "../../../src/base/index.ts";
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
  it("TN-21: only a network is known by address, and only it can be opened", () => {
    const shown = Object.values(RESOURCES).map((resource) => {
      const { networks, obstacle } = reachOf(resource);
      return [networks.map(formatPrefix), obstacle];
    });
    expect(shown).toEqual([
      [["10.1.0.0/16"], undefined],
      [[], "this version does not serve DNS resources"],
      [[], "this version does not serve the internet resource"],
    ]);
  });

  it("TN-25: each kind and address has an identity of its own", () => {
    const other: GatewayResource = { ...RESOURCES.dns, address: "*.example.net" };
    const all = [...Object.values(RESOURCES), other].map((resource) => reachOf(resource).identity);
    expect(new Set(all).size).toBe(4);
  });

  it("TN-52: what has filters is not opened while they cannot be enforced", () => {
    expect(reachOf(cidr([{ protocol: "icmp" }])).obstacle).toContain("filters");
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
      expect(reachOf(cidr(filters)).allows(what)).toBe(is);
    },
  );

  it("TN-57: nothing outside the network", () => {
    expect(reachOf(cidr([])).allows(flow(6, 80, "10.2.0.1"))).toBe(false);
  });
});
