import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import {
  addGateway,
  createGateways,
  handleGatewaysTimeout,
  linkedGateways,
  pollGatewaysTimeout,
  preferredGateways,
  removeAllGateways,
  removeGateway,
  setGatewayOnline,
  setSitesOffline,
  statusOfSites,
} from "../../../src/tunnel/gateways.ts";

const at = (ms: number) => instant(ms);
const G1 = { gid: "g1", siteId: "s1", addresses: [ip("100.64.0.1")] };
const G2 = { gid: "g2", siteId: "s1", addresses: [ip("100.64.0.9")] };

describe("the gateways a client knows", () => {
  it("TN-34: a lost gateway is gone, once", () => {
    const gateways = createGateways();
    addGateway(gateways, G1);
    expect(linkedGateways(gateways)).toEqual([{ gid: "g1", addresses: G1.addresses }]);
    expect(removeGateway(gateways, "g1")).toBe(true);
    expect(removeGateway(gateways, "g1")).toBe(false);
    expect(linkedGateways(gateways)).toEqual([]);
  });

  it("TN-29: prefers who served last, then connected ones, then by id, and remembers after a loss", () => {
    const gateways = createGateways();
    addGateway(gateways, G2);
    addGateway(gateways, G1);
    addGateway(gateways, { gid: "g0", siteId: "s1", addresses: [] });
    setGatewayOnline(gateways, "g1");
    expect(preferredGateways(gateways, "g2")).toEqual(["g2", "g1", "g0"]);
    expect(preferredGateways(gateways, undefined)).toEqual(["g1", "g0", "g2"]);
    removeGateway(gateways, "g2");
    removeAllGateways(gateways);
    expect(preferredGateways(gateways, "g2")).toEqual(["g2", "g0", "g1"]);
  });

  it("TN-27: a site is online with a connected gateway, unknown after its loss", () => {
    const gateways = createGateways();
    addGateway(gateways, G1);
    expect(statusOfSites(gateways, ["s1"])).toBe("unknown");
    setGatewayOnline(gateways, "g1");
    expect(statusOfSites(gateways, ["s1"])).toBe("online");
    expect(statusOfSites(gateways, ["s2"])).toBe("unknown");
    removeGateway(gateways, "g1");
    expect(statusOfSites(gateways, ["s1"])).toBe("unknown");
  });

  it("TN-31: a gateway that is named again stays online", () => {
    const gateways = createGateways();
    addGateway(gateways, G1);
    setGatewayOnline(gateways, "g1");
    addGateway(gateways, G1);
    expect(statusOfSites(gateways, ["s1"])).toBe("online");
  });

  it("TN-27: offline lasts 300 s, for resources all of whose sites are offline", () => {
    const gateways = createGateways();
    setSitesOffline(gateways, at(1_000), ["s1"]);
    expect(statusOfSites(gateways, ["s1"])).toBe("offline");
    expect(statusOfSites(gateways, ["s1", "s2"])).toBe("unknown");
    expect(statusOfSites(gateways, [])).toBe("unknown");
    expect(pollGatewaysTimeout(gateways)).toBe(301_000);
    expect(handleGatewaysTimeout(gateways, at(300_999))).toBe(false);
    expect(handleGatewaysTimeout(gateways, at(301_000))).toBe(true);
    expect(statusOfSites(gateways, ["s1"])).toBe("unknown");
    expect(pollGatewaysTimeout(gateways)).toBeUndefined();
  });
});
