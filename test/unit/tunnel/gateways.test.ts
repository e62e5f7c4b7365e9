import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import { createGateways } from "../../../src/tunnel/gateways.ts";

const at = (ms: number) => instant(ms);
const G1 = { gid: "g1", siteId: "s1", addresses: [ip("100.64.0.1")] };
const G2 = { gid: "g2", siteId: "s1", addresses: [ip("100.64.0.9")] };

describe("the gateways a client knows", () => {
  it("TN-31: a resource that moves leaves its former gateway, which goes when it serves nothing", () => {
    const gateways = createGateways();
    gateways.authorise("r", G1);
    gateways.authorise("q", G1);
    expect(gateways.authorise("r", G2)).toBeUndefined();
    expect(gateways.authorise("q", G2)).toBe("g1");
    expect(gateways.authorise("q", G2)).toBeUndefined();
    expect(gateways.all().find(({ gid }) => gid === "g2")?.rids).toEqual(["r", "q"]);
  });

  it("TN-26: ending the last authorisation names the gateway that is free to go", () => {
    const gateways = createGateways();
    gateways.authorise("r", G1);
    gateways.authorise("q", G1);
    expect(gateways.unauthorise("r")).toBeUndefined();
    expect(gateways.unauthorise("q")).toBe("g1");
    expect(gateways.unauthorise("q")).toBeUndefined();
  });

  it("TN-34: a lost gateway takes its authorisations with it, once", () => {
    const gateways = createGateways();
    gateways.authorise("r", G1);
    expect(gateways.remove("g1")).toBe(true);
    expect(gateways.authorisedOn("r")).toBeUndefined();
    expect(gateways.remove("g1")).toBe(false);
  });

  it("TN-29: prefers who served last, then connected ones, then by id, and remembers after a loss", () => {
    const gateways = createGateways();
    gateways.authorise("r", G2);
    gateways.authorise("q", G1);
    gateways.authorise("p", { gid: "g0", siteId: "s1", addresses: [] });
    gateways.setOnline("g1");
    expect(gateways.preferredFor("r")).toEqual(["g2", "g1", "g0"]);
    expect(gateways.preferredFor("other")).toEqual(["g1", "g0", "g2"]);
    gateways.remove("g2");
    gateways.clear();
    expect(gateways.preferredFor("r")).toEqual(["g2", "g0", "g1"]);
  });

  it("TN-27: a site is online with a connected gateway, unknown after its loss", () => {
    const gateways = createGateways();
    gateways.authorise("r", G1);
    expect(gateways.statusOf(["s1"])).toBe("unknown");
    gateways.setOnline("g1");
    expect(gateways.statusOf(["s1"])).toBe("online");
    expect(gateways.statusOf(["s2"])).toBe("unknown");
    gateways.remove("g1");
    expect(gateways.statusOf(["s1"])).toBe("unknown");
  });

  it("TN-27: offline lasts 300 s, for resources all of whose sites are offline", () => {
    const gateways = createGateways();
    gateways.setOffline(at(1_000), ["s1"]);
    expect(gateways.statusOf(["s1"])).toBe("offline");
    expect(gateways.statusOf(["s1", "s2"])).toBe("unknown");
    expect(gateways.statusOf([])).toBe("unknown");
    expect(gateways.pollTimeout()).toBe(301_000);
    expect(gateways.handleTimeout(at(300_999))).toBe(false);
    expect(gateways.handleTimeout(at(301_000))).toBe(true);
    expect(gateways.statusOf(["s1"])).toBe("unknown");
    expect(gateways.pollTimeout()).toBeUndefined();
  });
});
