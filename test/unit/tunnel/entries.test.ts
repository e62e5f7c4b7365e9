import { describe, expect, it } from "vitest";
import { formatIp, type IpAddress, ip } from "../../../src/base/index.ts";
import {
  createEntries,
  type Entries,
  entryOf,
  isProxyList,
  isRenumbered,
  keepEntries,
  setEntries,
  usableReals,
} from "../../../src/tunnel/nat/entries.ts";

const NAME = { rid: "r", domain: "example.com" };
const ips = (...texts: readonly string[]): readonly IpAddress[] => texts.map(ip);
const V4 = ips("100.96.0.1", "100.96.0.2", "100.96.0.3", "100.96.0.4");
const V6 = ips("fd00:2021:1111:8000::", "fd00:2021:1111:8000::1");

function reals(entries: Entries, proxies: readonly IpAddress[]): readonly (string | undefined)[] {
  return proxies.map((proxy) => {
    const real = entryOf(entries, proxy)?.real;
    return real && formatIp(real);
  });
}

describe("the list of a client", () => {
  it.each([
    ["four of one family", V4, true],
    ["both families", [...V4, ...V6], true],
    ["none", [], false],
    ["more than eight", Array.from({ length: 9 }, (_, i) => ip(`100.96.0.${i + 1}`)), false],
    ["a duplicate", [...V4, ip("100.96.0.1")], false],
    ["a real address", ips("100.96.0.1", "10.0.0.1"), false],
    ["another client's address", ips("100.64.0.7"), false],
    ["a sentinel", ips("100.100.111.1"), false],
    ["a sentinel of IPv6", ips("fd00:2021:1111:8000:100:100:111:1"), false],
    ["the last proxy address", ips("100.127.255.255"), true],
    ["the address behind it", ips("100.128.0.0"), false],
  ])("TN-63: %s", (_, proxies, isFine) => {
    expect(isProxyList(proxies)).toBe(isFine);
  });
});

describe("real addresses", () => {
  it.each([
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "100.64.0.1",
    "100.96.0.1",
    "100.100.111.1",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "ff02::1",
    "fd00:2021:1111::1",
    "fd00:2021:1111:8000::1",
    "169.254.169.254",
    "fe80::1",
  ])("TN-64: a name never leads to %s", (text) => {
    expect(usableReals(ips(text, "198.51.100.7", "2001:db8::7"), { allowLinkLocal: false })).toEqual(
      ips("198.51.100.7", "2001:db8::7"),
    );
  });

  it("TN-64: private ones are what resources are for; link-local ones if the gateway says so", () => {
    const list = ips("10.0.0.1", "192.168.1.1", "fc00::1", "169.254.1.1", "fe80::1");
    expect(usableReals(list, { allowLinkLocal: true })).toEqual(list);
    expect(usableReals(list, { allowLinkLocal: false })).toEqual(list.slice(0, 3));
  });
});

describe("entries", () => {
  it("TN-64: in numeric order of both, round and round, per family", () => {
    const entries = createEntries();
    const found = ips("198.51.100.10", "198.51.100.9", "198.51.100.9", "2001:db8::a", "2001:db8::9");
    setEntries(entries, NAME, { proxies: [...V6, ...V4].toReversed(), reals: found });
    expect(reals(entries, V4)).toEqual(["198.51.100.9", "198.51.100.10", "198.51.100.9", "198.51.100.10"]);
    expect(reals(entries, V6)).toEqual(["2001:db8::9", "2001:db8::a"]);
  });

  it("TN-64: a family without addresses has entries without one", () => {
    const entries = createEntries();
    setEntries(entries, NAME, { proxies: [...V4, ...V6], reals: ips("198.51.100.9") });
    expect(entries.size).toBe(6);
    expect(reals(entries, V6)).toEqual([undefined, undefined]);
  });

  it("TN-64: an error leaves what there is, and gives the rest entries without address", () => {
    const entries = createEntries();
    setEntries(entries, NAME, { proxies: V4.slice(0, 2), reals: ips("198.51.100.9") });
    keepEntries(entries, NAME, V4);
    expect(reals(entries, V4)).toEqual(["198.51.100.9", "198.51.100.9", undefined, undefined]);
    expect(entries.size).toBe(4);
  });

  it("TN-64: an address of another name or resource means that the client numbers anew", () => {
    const entries = createEntries();
    setEntries(entries, NAME, { proxies: V4, reals: [] });
    expect(isRenumbered(entries, NAME, V4)).toBe(false);
    expect(isRenumbered(entries, { ...NAME, domain: "example.net" }, V4.slice(3))).toBe(true);
    expect(isRenumbered(entries, { ...NAME, rid: "s" }, V4.slice(3))).toBe(true);
    expect(isRenumbered(entries, { ...NAME, rid: "s" }, V6)).toBe(false);
  });
});
