import { describe, expect, it } from "vitest";
import {
  contains,
  createWallClock,
  formatPrefix,
  type IpAddress,
  instant,
  ip,
  type Prefix,
  prefix,
  subtract,
  unixMs,
} from "../../../src/base/index.ts";
import type { PolicyTables } from "../../../src/plane/index.ts";
import { createGrants } from "../../../src/tunnel/grants.ts";
import { clientPolicy, GATEWAY_TABLES, policyOfClient } from "../../../src/tunnel/policy.ts";
import fc from "../../lib/property.ts";

/** What the longest matching route says. */
function routed(tables: PolicyTables, destination: string): unknown {
  const matching = tables.routes.filter((route) => contains(route.prefix, ip(destination)));
  return matching.sort((a, b) => b.prefix.bits - a.prefix.bits)[0]?.target;
}

const permits = (prefixes: readonly Prefix[] | undefined, address: string): boolean | undefined =>
  prefixes?.some((one) => contains(one, ip(address)));

describe("policy of a client", () => {
  const tables = clientPolicy({
    ownAddresses: [ip("100.64.0.2")],
    gateways: [{ slot: 4, addresses: [ip("100.64.0.1")], networks: [prefix("172.20.0.0/16")] }],
    networks: [
      { network: prefix("172.20.0.0/16"), slot: 4, isByFlow: false },
      { network: prefix("172.20.7.0/24"), slot: undefined, isByFlow: false },
    ],
    hasInternet: false,
    hasResolver: false,
  });

  it.each([
    ["172.20.0.9", { kind: "peer", slot: 4 }],
    ["172.20.7.9", { kind: "punt" }],
    ["100.64.0.1", { kind: "peer", slot: 4 }],
    ["100.64.0.77", { kind: "drop", reason: "unknown-peer" }],
    ["100.96.0.1", { kind: "refuse" }],
    ["192.0.2.1", { kind: "drop", reason: "unknown-resource" }],
    ["2001:db8::1", { kind: "drop", reason: "unknown-resource" }],
  ])("TN-20, TN-21: %s", (destination, target) => {
    expect(routed(tables, destination)).toEqual(target);
  });

  it("TN-38: a gateway may speak for itself and for what is authorised on it, for nothing else", () => {
    const sources = tables.permits[0]?.sources;
    expect(permits(sources, "100.64.0.1")).toBe(true);
    expect(permits(sources, "172.20.255.255")).toBe(true);
    expect(permits(sources, "172.21.0.0")).toBe(false);
    expect(permits(sources, "100.64.0.2")).toBe(false);
  });

  it("TN-18: a resource that covers the tunnel range leaves that range alone", () => {
    const all = clientPolicy({
      ownAddresses: [ip("100.64.0.2")],
      gateways: [],
      networks: [{ network: prefix("0.0.0.0/0"), slot: undefined, isByFlow: false }],
      hasInternet: false,
      hasResolver: false,
    });
    expect(routed(all, "192.0.2.1")).toEqual({ kind: "punt" });
    expect(routed(all, "100.64.0.9")).toEqual({ kind: "drop", reason: "unknown-peer" });
  });
});

describe("policy of a gateway", () => {
  const grants = createGrants(createWallClock(instant(0), unixMs(0)));
  const addresses = [ip("100.64.0.2"), ip("fd00:2021:1111::2")];
  grants.insert("alice", addresses, {
    resource: { kind: "cidr", rid: "o", name: "o", address: prefix("172.20.0.0/16"), filters: [] },
  });
  grants.insert("alice", addresses, {
    resource: { kind: "cidr", rid: "w", name: "w", address: prefix("100.0.0.0/8"), filters: [] },
  });
  grants.insert("alice", addresses, {
    resource: {
      rid: "f",
      name: "f",
      kind: "cidr",
      address: prefix("10.0.0.0/8"),
      filters: [{ protocol: "icmp" }],
    },
  });
  grants.insert("bob", [ip("100.64.0.3")], {
    resource: { kind: "cidr", rid: "o", name: "o", address: prefix("172.20.0.0/16"), filters: [] },
  });
  const input = { ownAddresses: [ip("100.64.0.1")], reals: [] as readonly IpAddress[], isHostOpen: false };
  const policyOf = (
    from: ReturnType<typeof createGrants>,
    change: Partial<typeof input> & { isLogged?: boolean } = {},
  ) => {
    const client = from.client("alice");
    if (client === undefined) throw new Error("alice has a grant");
    return policyOfClient(client, { ...input, ...change });
  };
  const { addresses: led, permits: alice } = policyOf(grants);

  it("TN-62: a client's addresses lead to it; without one of its own nobody has a way", () => {
    expect(led).toEqual(addresses);
    expect(routed(GATEWAY_TABLES, "100.64.0.3")).toEqual({ kind: "drop", reason: "no-peer-state" });
    expect(routed(GATEWAY_TABLES, "192.0.2.1")).toEqual({ kind: "drop", reason: "not-a-peer" });
    expect(GATEWAY_TABLES.permits).toEqual([]);
  });

  it("TN-61 rows 5, 12, 14: only from its address, only to granted networks; the rest is refused", () => {
    expect(permits(alice.sources, "100.64.0.2")).toBe(true);
    expect(permits(alice.sources, "100.64.0.3")).toBe(false);
    expect(permits(alice.destinations, "172.20.0.1")).toBe(true);
    expect(permits(alice.destinations, "172.21.0.1")).toBe(false);
    expect(alice.refuseDestination).toBe(true);
  });

  it("TN-61 rows 6 to 8: a network that covers the tunnel and proxy ranges opens neither", () => {
    expect(permits(alice.destinations, "100.1.2.3")).toBe(true);
    expect(permits(alice.destinations, "100.64.0.3")).toBe(false);
    expect(permits(alice.destinations, "100.64.0.1")).toBe(false);
    expect(permits(alice.destinations, "100.96.0.1")).toBe(false);
    expect(permits(alice.destinations, "100.128.0.1")).toBe(true);
  });

  it("TN-56, TN-110: about a network with filters flows decide, in both directions", () => {
    for (const way of ["destinations", "egressSources"] as const) {
      expect(permits(alice[way], "10.0.0.1")).toBe(false);
      expect(permits(alice.byFlow?.[way], "10.0.0.1")).toBe(true);
      expect(permits(alice.byFlow?.[way], "172.20.0.1")).toBe(false);
    }
    expect(alice.byFlow?.isTranslated).toBe(false);
  });

  it("TN-91, TN-110: where flows are logged, they decide about every network", () => {
    const { permits: peer } = policyOf(grants, { isLogged: true });
    for (const way of ["destinations", "egressSources"] as const) {
      expect(permits(peer[way], "172.20.0.1")).toBe(false);
      expect(permits(peer.byFlow?.[way], "172.20.0.1")).toBe(true);
      expect(permits(peer.byFlow?.[way], "10.0.0.1")).toBe(true);
      expect(permits(peer.byFlow?.[way], "100.64.0.3")).toBe(false);
    }
  });

  it("TN-65, TN-110: with a name, flows decide about proxy addresses and shared real ones", () => {
    const named = createGrants(createWallClock(instant(0), unixMs(0)));
    named.insert("alice", [ip("100.64.0.2")], {
      resource: { kind: "dns", rid: "w", name: "w", address: "*.example.com", filters: [] },
    });
    named.insert("alice", [ip("100.64.0.2")], {
      resource: { kind: "cidr", rid: "o", name: "o", address: prefix("172.20.0.0/16"), filters: [] },
    });
    const reals = [ip("172.20.0.9"), ip("198.51.100.7")];
    const { permits: peer } = policyOf(named, { reals });
    expect(peer.byFlow?.isTranslated).toBe(true);
    expect(permits(peer.byFlow?.destinations, "100.96.0.1")).toBe(true);
    expect(permits(peer.byFlow?.destinations, "fd00:2021:1111:8000::1")).toBe(true);
    expect(permits(peer.byFlow?.destinations, "172.20.0.9")).toBe(true);
    expect(permits(peer.byFlow?.egressSources, "172.20.0.9")).toBe(true);
    expect(permits(peer.byFlow?.destinations, "172.20.0.8")).toBe(false);
    expect(permits(peer.byFlow?.destinations, "198.51.100.7")).toBe(false);
  });

  it("TN-62 rows 5, 9, 10: towards the client only from granted networks and the gateway itself", () => {
    expect(permits(alice.egressSources, "172.20.0.1")).toBe(true);
    expect(permits(alice.egressSources, "100.64.0.1")).toBe(true);
    expect(permits(alice.egressSources, "100.64.0.3")).toBe(false);
  });

  it("PG-6: --host-access all opens the gateway's own addresses", () => {
    const open = policyOf(grants, { isHostOpen: true });
    expect(permits(open.permits.destinations, "100.64.0.1")).toBe(true);
    expect(permits(open.permits.byFlow?.destinations, "100.64.0.1")).toBe(false);
  });

  it("TN-61 row 6, TN-110: else flows decide which of its services are reached", () => {
    expect(permits(alice.byFlow?.destinations, "100.64.0.1")).toBe(true);
    expect(permits(alice.byFlow?.destinations, "172.20.0.1")).toBe(false);
  });
});

describe("subtracting prefixes", () => {
  const anyPrefix = fc
    .tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.integer({ min: 0, max: 6 }))
    .map(([address, bits]) => prefix(`${address.join(".")}/${bits}`));

  it("contains exactly what is in the whole and in no hole", () => {
    fc.assert(
      fc.property(
        anyPrefix,
        fc.array(anyPrefix, { maxLength: 4 }),
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        (whole, holes, address) => {
          const inside = contains(whole, address) && !holes.some((hole) => contains(hole, address));
          expect(subtract(whole, holes).some((part) => contains(part, address))).toBe(inside);
        },
      ),
    );
  });

  it("leaves a prefix whole when nothing lies in it, and nothing of one that a hole covers", () => {
    expect(subtract(prefix("10.0.0.0/8"), [prefix("11.0.0.0/8")]).map(formatPrefix)).toEqual(["10.0.0.0/8"]);
    expect(subtract(prefix("10.1.0.0/16"), [prefix("10.0.0.0/8")])).toEqual([]);
    expect(subtract(prefix("10.0.0.0/8"), [prefix("10.128.0.0/9")]).map(formatPrefix)).toEqual([
      "10.0.0.0/9",
    ]);
  });
});
