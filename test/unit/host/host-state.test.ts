import { describe, expect, it } from "vitest";
import type { KernelRoute, Link, Rule } from "../../../bindings/linux/index.ts";
import { instant, ip, prefix } from "../../../src/base/index.ts";
import {
  compareHost,
  createRepairLimit,
  describeChange,
  type HostSnapshot,
  policyRules,
  tunnelRoutes,
  type WantedHost,
  withoutMissing,
} from "../../../src/host/index.ts";

const TUN = 9;
const LINK = {
  index: TUN,
  name: "tun-postern",
  mtu: 1280,
  txQueueLength: 1000,
  addresses: [{ address: ip("100.64.0.1"), bits: 32 }],
};
const WANTED: WantedHost = {
  link: LINK,
  rules: policyRules(4),
  routes: tunnelRoutes([prefix("100.64.0.0/11"), prefix("172.20.0.0/16")], TUN),
  parameters: [{ path: "net/ipv4/ip_forward", value: "1" }],
};
const DEVICE: Link = {
  ...LINK,
  isUp: true,
  isLoopback: false,
  isOperational: true,
};

function present(changes: Partial<HostSnapshot> = {}): HostSnapshot {
  return {
    links: [DEVICE],
    addresses: [
      { index: TUN, ...LINK.addresses[0], scope: 0, isTentative: false, isDeprecated: false },
    ] as HostSnapshot["addresses"],
    rules: [{ family: 4, table: 255, priority: 0, isInverted: false, protocol: 2 }, ...policyRules(4)],
    routes: WANTED.routes.map((route): KernelRoute => ({ ...route, type: 1, hasNextHops: false })),
    readParameter: () => "1",
    ...changes,
  };
}

function changesOf(changes: Partial<HostSnapshot>): readonly string[] {
  return compareHost(WANTED, present(changes)).map((change) => describeChange(change, "tun-postern"));
}

describe("what others did to the host", () => {
  it("PG-153: a host as it should be has no changes, whatever else is on it", () => {
    expect(changesOf({})).toEqual([]);
    const foreign: Rule = { family: 4, table: 77, priority: 50, isInverted: false, protocol: 4 };
    expect(changesOf({ rules: [foreign, ...policyRules(4), ...policyRules(6)] })).toEqual([]);
  });

  it("PG-153: each kind of change is named, in the order in which it can be repaired", () => {
    const gone = changesOf({
      links: [{ ...DEVICE, isUp: false, mtu: 1400 }],
      addresses: [],
      routes: present().routes.slice(1),
      rules: policyRules(4).slice(1),
      readParameter: () => "0",
    });
    expect(gone).toEqual([
      "the MTU of tun-postern is 1400 instead of 1280",
      "tun-postern is down",
      "100.64.0.1 is gone from tun-postern",
      "the route to 100.64.0.0/11 is gone",
      "the IPv4 rule of priority 100 is gone",
      "net.ipv4.ip_forward is 0 instead of 1",
    ]);
  });

  it("PG-153, PG-31: a rule that lacks the `not` is not ours, nor is a route by another device", () => {
    const [first, ...others] = policyRules(4);
    expect(first).toBeDefined();
    const turned = { ...first, isInverted: false } as Rule;
    expect(changesOf({ rules: [turned, ...others] })).toEqual(["the IPv4 rule of priority 100 is gone"]);
    const elsewhere = present().routes.map((route) => ({ ...route, outputIndex: 2 }));
    expect(changesOf({ routes: elsewhere })).toHaveLength(2);
  });

  it("PG-38: without the device there is nothing to repair", () => {
    expect(changesOf({ links: [], addresses: [], routes: [] })).toEqual([]);
  });

  it("PG-153: what is missing before anybody looks after it is not wanted", () => {
    expect(withoutMissing(WANTED, present())).toEqual(WANTED);
    const spoilt = present({
      links: [{ ...DEVICE, mtu: 1300 }],
      addresses: [],
      routes: present().routes.slice(1),
      rules: policyRules(4).slice(1),
      readParameter: () => "0",
    });
    const left = withoutMissing(WANTED, spoilt);
    expect(left.routes).toEqual(WANTED.routes.slice(1));
    expect(compareHost(left, spoilt)).toEqual([]);
  });

  it("PG-153: a parameter that the kernel lacks is no change", () => {
    expect(changesOf({ readParameter: () => undefined })).toEqual([]);
  });
});

describe("repairs", () => {
  it("PG-153: three in a minute, then one word and a minute's pause", () => {
    const limit = createRepairLimit();
    const ask = (ms: number) => limit.ask(instant(ms));
    expect([0, 1000, 2000].map(ask)).toEqual(["repair", "repair", "repair"]);
    expect(ask(3000)).toBe("give-up");
    expect(ask(3001)).toBe("paused");
    expect(ask(62_999)).toBe("paused");
    expect(ask(63_000)).toBe("repair");
  });

  it("PG-153: a repair that could not be made is none", () => {
    const limit = createRepairLimit();
    for (let ms = 0; ms < 10_000; ms += 1000) {
      expect(limit.ask(instant(ms))).toBe("repair");
      limit.takeBack();
    }
  });

  it("PG-153: repairs a minute apart go on for ever", () => {
    const limit = createRepairLimit();
    for (let ms = 0; ms < 3_600_000; ms += 20_000) expect(limit.ask(instant(ms))).toBe("repair");
  });
});
