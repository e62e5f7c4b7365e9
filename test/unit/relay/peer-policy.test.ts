import { describe, expect, it } from "vitest";
import { ip, prefix } from "../../../src/base/index.ts";
import { createPeerPolicy, type PeerPolicyOptions } from "../../../src/relay/peer-policy.ts";

const OPTIONS: PeerPolicyOptions = {
  publicAddresses: [ip("198.51.100.7"), ip("2001:db8::7")],
  ports: { lowest: 49152, highest: 65535 },
  privatePeers: "auto",
  deniedPeers: [],
  allowLoopbackPeers: false,
};

function verdict(address: string, options: Partial<PeerPolicyOptions> = {}, port = 1000) {
  return createPeerPolicy({ ...OPTIONS, ...options }).judge({ address: ip(address), port });
}

/** First and last address of each class of RL-57. */
const NEVER = [
  ["unspecified and 0/8", "0.0.0.0", "0.255.255.255"],
  ["link-local", "169.254.0.0", "169.254.255.255"],
  ["multicast", "224.0.0.0", "239.255.255.255"],
  ["240/4 and broadcast", "240.0.0.0", "255.255.255.255"],
  ["IPv4-compatible", "::", "::ffff:ffff"],
  ["IPv4-mapped", "::ffff:0:0", "::ffff:255.255.255.255"],
  ["NAT64", "64:ff9b::", "64:ff9b::ffff:ffff"],
  ["link-local of IPv6", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ["multicast of IPv6", "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
] as const;

const PRIVATE = [
  ["10/8", "10.0.0.0", "10.255.255.255"],
  ["100.64/10", "100.64.0.0", "100.127.255.255"],
  ["172.16/12", "172.16.0.0", "172.31.255.255"],
  ["192.168/16", "192.168.0.0", "192.168.255.255"],
  ["198.18/15", "198.18.0.0", "198.19.255.255"],
  ["fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
] as const;

const ALLOWED = [
  "1.0.0.0",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "126.255.255.255",
  "128.0.0.0",
  "169.253.255.255",
  "172.15.255.255",
  "172.32.0.0",
  "192.167.255.255",
  "198.17.255.255",
  "198.20.0.0",
  "223.255.255.255",
  "::1:0:0",
  "64:ff9b::1:0:0",
  "fbff::1",
  "fe00::1",
  "fec0::1",
  "2001:db9::1",
];

describe("peer policy", () => {
  it.each(NEVER)("RL-57: denies %s always", (_, first, last) => {
    for (const address of [first, last]) {
      expect(verdict(address)).toBe("denied");
      expect(verdict(address, { privatePeers: "allow", allowLoopbackPeers: true })).toBe("denied");
    }
  });

  it.each(["127.0.0.0", "127.255.255.255", "::1"])("RL-57: denies loopback %s but for tests", (address) => {
    expect(verdict(address, { privatePeers: "allow" })).toBe("denied");
    expect(verdict(address, { allowLoopbackPeers: true })).toBe("allowed");
  });

  it.each(PRIVATE)("RL-57: denies %s where a public address is globally routable", (_, first, last) => {
    for (const address of [first, last]) {
      expect(verdict(address)).toBe("denied");
      expect(verdict(address, { privatePeers: "allow" })).toBe("allowed");
      const inside = { publicAddresses: [ip("10.0.0.1"), ip("fd00::1")] };
      expect(verdict(address, inside)).toBe("allowed");
      expect(verdict(address, { ...inside, privatePeers: "deny" })).toBe("denied");
      expect(verdict(address, { publicAddresses: [ip("10.0.0.1"), ip("2001:db8::7")] })).toBe("denied");
    }
  });

  it("RL-57: allows the addresses next to all of these", () => {
    for (const address of ALLOWED) expect(verdict(address), address).toBe("allowed");
  });

  it("RL-57: denies what the operator names, in both families", () => {
    const options = { deniedPeers: [prefix("203.0.113.0/24"), prefix("2001:db9::/32")] };
    for (const address of ["203.0.113.0", "203.0.113.255", "2001:db9::1"]) {
      expect(verdict(address, options), address).toBe("denied");
    }
    expect(verdict("203.0.114.0", options)).toBe("allowed");
  });

  it.each([
    [49151, "denied"],
    [49152, "hairpin"],
    [65535, "hairpin"],
    [3478, "denied"],
  ])("RL-45, RL-57: our own address with port %s is %s", (port, expected) => {
    for (const address of ["198.51.100.7", "2001:db8::7"]) {
      expect(verdict(address, {}, port)).toBe(expected);
      expect(verdict(address, { deniedPeers: [prefix("198.51.100.0/24"), prefix("::/0")] }, port)).toBe(
        expected,
      );
    }
  });
});
