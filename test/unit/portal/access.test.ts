import { describe, expect, it } from "vitest";
import { ip, prefix, unixMs } from "../../../src/base/index.ts";
import { connectableResources, decideGrant, type Subject } from "../../../src/portal/server/access.ts";
import { createAddressPool } from "../../../src/portal/server/address-pool.ts";
import type { ConfiguredResource, PortalModel } from "../../../src/portal/server/model.ts";
import { modelOf, OFFICE } from "./server-world.ts";

const OFFICE_RESOURCE: ConfiguredResource = {
  kind: "cidr",
  id: "r",
  name: "Office",
  siteId: "s",
  address: prefix("10.0.0.0/8"),
  filters: [],
};

describe("resources of every kind", () => {
  it.each<[string, ConfiguredResource]>([
    ["a network", OFFICE_RESOURCE],
    ["a network with filters", { ...OFFICE_RESOURCE, filters: [{ protocol: "icmp" }] }],
    ["a name", { ...OFFICE_RESOURCE, kind: "dns", address: "git.example", ipStack: "dual" }],
    ["everything", { ...OFFICE_RESOURCE, kind: "internet" }],
  ])("PT-80: %s is shown and granted under a policy, and not without one", (_, resource) => {
    const model = withResource(resource);
    expect(decideGrant(model, subjectOf(model), resource.id).kind).toBe("granted");
    expect(connectableResources(model, subjectOf(model)).resources).toEqual([resource]);
    const without: PortalModel = { ...model, policiesByResource: new Map() };
    expect(decideGrant(without, subjectOf(without), resource.id).kind).toBe("not-found");
    expect(connectableResources(without, subjectOf(without)).resources).toEqual([]);
  });
});

describe("tunnel addresses", () => {
  it("PT-103: gives the highest in use + 1, never the first or last of the range", () => {
    const pool = createAddressPool(prefix("100.64.0.0/29"));
    const taken = Array.from({ length: 7 }, () => pool.take());
    expect(taken.map((address) => address?.[3])).toEqual([1, 2, 3, 4, 5, 6, undefined]);
  });

  it("PT-103: goes on after the highest in the store, wraps, and skips what is used", () => {
    const pool = createAddressPool(prefix("100.64.0.0/29"));
    for (const address of [ip("100.64.0.5"), ip("100.64.0.1"), ip("192.0.2.1")]) pool.reserve(address);
    expect(Array.from({ length: 5 }, () => pool.take()?.[3])).toEqual([6, 2, 3, 4, undefined]);
  });

  it("PT-103: works on IPv6 as on IPv4", () => {
    const pool = createAddressPool(prefix("fd00:2021:1111::/107"));
    pool.reserve(ip("fd00:2021:1111::1f:fffd"));
    expect(pool.take()).toEqual(ip("fd00:2021:1111::1f:fffe"));
    expect(pool.take()).toEqual(ip("fd00:2021:1111::1"));
  });
});

/** The model of `OFFICE` with its resource exchanged. */
function withResource(resource: ConfiguredResource): PortalModel {
  const model = modelOf(OFFICE);
  const [policy] = model.policies.values();
  if (policy === undefined) throw new Error("no policy");
  const own = { ...policy, resourceId: resource.id };
  return {
    ...model,
    resources: new Map([[resource.id, resource]]),
    policies: new Map([[own.id, own]]),
    policiesByResource: new Map([[resource.id, [own]]]),
  };
}

function subjectOf(model: PortalModel): Subject {
  const [actor] = model.actors.values();
  if (actor === undefined) throw new Error("no actor");
  return { actor, circumstances: { wallNow: unixMs(0), remote: ip("192.0.2.1"), isVerified: false } };
}
