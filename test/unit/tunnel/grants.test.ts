import { describe, expect, it } from "vitest";
import { createWallClock, instant, ip, prefix, unixMs } from "../../../src/base/index.ts";
import type { GatewayResource } from "../../../src/portal/protocol/index.ts";
import { createGrants } from "../../../src/tunnel/grants.ts";

const at = (ms: number) => instant(ms);
const ALICE = [ip("100.64.0.2"), ip("fd00:2021:1111::2")];
const BOB = [ip("100.64.0.3"), ip("fd00:2021:1111::3")];
const office = cidr("office", "172.20.0.0/16");
const lab = cidr("lab", "172.21.0.0/16");

type Cidr = Extract<GatewayResource, { kind: "cidr" }>;

function cidr(rid: string, network: string, filters: Cidr["filters"] = []): Cidr {
  return { kind: "cidr", rid, name: rid, address: prefix(network), filters };
}

describe("grants of a gateway", () => {
  it("TN-53: each grant ends at its own lease, not before, and the earliest is the next time-out", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office, expiresAt: unixMs(5_000) });
    grants.insert("alice", ALICE, { resource: lab, expiresAt: unixMs(9_000) });
    expect(grants.pollTimeout()).toBe(5_000);
    expect(grants.handleTimeout(at(4_999))).toEqual([]);
    expect(grants.handleTimeout(at(5_000))).toEqual([
      { cid: "alice", rid: "office", reason: "expired", isLast: false },
    ]);
    expect(grants.pollTimeout()).toBe(9_000);
    expect(grants.handleTimeout(at(9_000))).toEqual([
      { cid: "alice", rid: "lab", reason: "expired", isLast: true },
    ]);
    expect(grants.client("alice")).toBeUndefined();
    expect(grants.pollTimeout()).toBeUndefined();
  });

  it("TN-52: a renewed grant takes the new expiry, longer, shorter or none", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office, expiresAt: unixMs(5_000) });
    grants.insert("alice", ALICE, { resource: office, expiresAt: unixMs(3_000) });
    expect(grants.pollTimeout()).toBe(3_000);
    grants.insert("alice", ALICE, { resource: office });
    expect(grants.pollTimeout()).toBeUndefined();
    expect(grants.handleTimeout(at(10_000))).toEqual([]);
  });

  it("TN-52: a client that gets another's address takes it over", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office });
    const lost = grants.insert("bob", ALICE, { resource: office });
    expect(lost).toEqual([{ cid: "alice", rid: "office", reason: "address-taken", isLast: true }]);
    expect(grants.client("alice")).toBeUndefined();
    expect(grants.client("bob")).toBeDefined();
  });

  it("TN-54: revoking one of two grants keeps the client, revoking the last ends it", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office });
    grants.insert("alice", ALICE, { resource: lab });
    expect(grants.revoke("alice", "office")).toEqual([
      { cid: "alice", rid: "office", reason: "revoked", isLast: false },
    ]);
    expect(grants.revoke("alice", "office")).toEqual([]);
    expect(grants.revoke("alice", "lab").map(({ isLast }) => isLast)).toEqual([true]);
  });

  it("TN-55: init revokes what it does not list, also all of a client that it does not name", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office });
    grants.insert("alice", ALICE, { resource: lab, expiresAt: unixMs(1_000) });
    grants.insert("bob", BOB, { resource: office });
    const lost = grants.reconcile([
      { cid: "alice", rid: "lab", expiresAt: unixMs(7_000) },
      { cid: "carol", rid: "office" },
    ]);
    expect(lost).toEqual([
      { cid: "alice", rid: "office", reason: "not-listed", isLast: false },
      { cid: "bob", rid: "office", reason: "not-listed", isLast: true },
    ]);
    expect(grants.pollTimeout()).toBe(7_000);
    expect(grants.client("carol")).toBeUndefined();
  });

  it("TN-51: another network revokes from everybody; another name or other filters do not", () => {
    const grants = createGrants(createWallClock(instant(0), unixMs(0)));
    grants.insert("alice", ALICE, { resource: office });
    grants.insert("bob", BOB, { resource: office, expiresAt: unixMs(9_000) });
    expect(grants.updateResources([office])).toEqual({ lost: [], changed: [] });
    expect(grants.updateResources([{ ...office, name: "Head office" }])).toEqual({
      ...{ lost: [], changed: ["alice", "bob"] },
    });
    expect(grants.client("bob")?.grants.get("office")?.resource).toMatchObject({ name: "Head office" });
    expect(grants.pollTimeout()).toBe(9_000);
    const filtered = cidr("office", "172.20.0.0/16", [{ protocol: "icmp" }]);
    expect(grants.updateResources([filtered, cidr("other", "10.0.0.0/8")]).lost).toEqual([]);
    expect(grants.client("alice")?.grants.get("office")?.resource).toEqual(filtered);
    const moved = cidr("office", "172.20.0.0/17");
    expect(grants.updateResources([moved]).lost.map(({ cid }) => cid)).toEqual(["alice", "bob"]);
  });
});
