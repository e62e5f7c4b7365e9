import { describe, expect, it } from "vitest";
import { instant, ip } from "../../../src/base/index.ts";
import { createSetups, type Setup } from "../../../src/tunnel/nat/setups.ts";

const SETUP: Setup = { cid: "c", rid: "r", domain: "example.com", proxies: [ip("100.96.0.1")] };
const at = instant;

describe("lookups for clients", () => {
  it("TN-63: one per client, name and resource; who asks again has a new list", () => {
    const setups = createSetups();
    expect(setups.begin(at(0), SETUP)).toBe("begun");
    const again = { ...SETUP, proxies: [ip("100.96.0.9")] };
    expect(setups.begin(at(1), again)).toBe("joined");
    for (const other of [{ cid: "d" }, { rid: "s" }, { domain: "a.b" }]) {
      expect(setups.begin(at(2), { ...SETUP, ...other })).toBe("begun");
    }
    const first = setups.pollQuery();
    expect(first?.domain).toBe("example.com");
    expect([1, 2, 3, 4].map(() => setups.pollQuery()?.domain)).toEqual([
      "example.com",
      "example.com",
      "a.b",
      undefined,
    ]);
    expect(setups.finish(first?.token ?? 0)).toBe(again);
    expect(setups.finish(first?.token ?? 0)).toBeUndefined();
    expect(setups.begin(at(3), SETUP)).toBe("begun");
  });

  it("TN-63: a thousand at once; one more is not looked up", () => {
    const setups = createSetups();
    const nth = (n: number): Setup => ({ ...SETUP, domain: `n${n}.example` });
    for (let n = 0; n < 1_000; n++) expect(setups.begin(at(0), nth(n))).toBe("begun");
    expect(setups.begin(at(0), nth(1_000))).toBe("full");
    expect(setups.begin(at(0), nth(999))).toBe("joined");
    setups.finish(setups.pollQuery()?.token ?? 0);
    expect(setups.begin(at(0), nth(1_000))).toBe("begun");
  });

  it("TN-63: ends after 10 s, not before, whatever the resolver does", () => {
    const setups = createSetups();
    setups.begin(at(0), SETUP);
    setups.begin(at(500), { ...SETUP, rid: "s" });
    expect(setups.pollTimeout()).toBe(at(10_000));
    expect(setups.handleTimeout(at(9_999))).toEqual([]);
    expect(setups.handleTimeout(at(10_000))).toEqual([SETUP]);
    expect(setups.pollTimeout()).toBe(at(10_500));
    expect(setups.finish(setups.pollQuery()?.token ?? 0)).toBeUndefined();
  });
});
