import { describe, expect, it } from "vitest";
import type { BestRoute, InterfaceAddress, KernelRoute, Link } from "../../../bindings/linux/index.ts";
import { formatIp, instant, ip, PosternError, prefix } from "../../../src/base/index.ts";
import {
  acceptChain,
  createBurstWatch,
  createSuspendWatch,
  equalAddresses,
  foreignDropChains,
  gatewayRuleset,
  NO_NETWORK,
  networkFingerprint,
  planForwarding,
  type SysctlPath,
  selectOwnAddresses,
} from "../../../src/host/index.ts";

const LO = 1;
const ETH = 2;
const WLAN = 3;
const TUN = 9;
const OTHER_TUN = 10;

function link(index: number, name: string, changes: Partial<Link> = {}): Link {
  return {
    index,
    name,
    mtu: 1500,
    isUp: true,
    isLoopback: index === LO,
    isOperational: true,
    txQueueLength: 1000,
    ...changes,
  };
}

function address(index: number, text: string, changes: Partial<InterfaceAddress> = {}): InterfaceAddress {
  return {
    index,
    address: ip(text),
    bits: 24,
    scope: 0,
    isTentative: false,
    isDeprecated: false,
    ...changes,
  };
}

function defaultRoute(outputIndex: number, metric: number, changes: Partial<KernelRoute> = {}): KernelRoute {
  return {
    destination: prefix("0.0.0.0/0"),
    table: 254,
    outputIndex,
    metric,
    protocol: 16,
    scope: 0,
    type: 1,
    hasNextHops: false,
    ...changes,
  };
}

const LINKS = [
  link(OTHER_TUN, "tun1", { kind: "tun" }),
  link(LO, "lo"),
  link(ETH, "eth0"),
  link(WLAN, "wlan0"),
  link(TUN, "tun-postern"),
  link(5, "down", { isUp: false }),
];

describe("own addresses", () => {
  const select = (addresses: readonly InterfaceAddress[], routes: readonly KernelRoute[] = []) =>
    selectOwnAddresses({ links: LINKS, addresses, routes }, TUN).map(formatIp);

  it.each([
    { name: "an ordinary address", one: address(ETH, "192.0.2.1"), taken: true },
    { name: "loopback", one: address(LO, "192.0.2.1"), taken: false },
    { name: "an interface that is down", one: address(5, "192.0.2.1"), taken: false },
    { name: "an interface that is gone", one: address(77, "192.0.2.1"), taken: false },
    { name: "our own TUN", one: address(TUN, "192.0.2.1"), taken: false },
    { name: "another tunnel's IPv4 address", one: address(OTHER_TUN, "100.95.255.255"), taken: false },
    { name: "just beyond the tunnel's IPv4 range", one: address(OTHER_TUN, "100.96.0.0"), taken: true },
    { name: "another tunnel's IPv6 address", one: address(OTHER_TUN, "fd00:2021:1111::7"), taken: false },
    { name: "a carrier's address in the tunnel's range", one: address(ETH, "100.70.0.2"), taken: true },
    { name: "IPv4 link-local", one: address(ETH, "169.254.1.1"), taken: false },
    { name: "IPv6 link-local", one: address(ETH, "fe80::1"), taken: false },
    { name: "a tentative address", one: address(ETH, "2001:db8::1", { isTentative: true }), taken: false },
    { name: "a deprecated address", one: address(ETH, "2001:db8::1", { isDeprecated: true }), taken: false },
  ])("PG-142: $name is taken: $taken", ({ one, taken }) => {
    expect(select([one])).toHaveLength(taken ? 1 : 0);
  });

  it("PG-142: the interface of the default route comes first, by family and metric", () => {
    const addresses = [address(ETH, "192.0.2.1"), address(WLAN, "198.51.100.1"), address(ETH, "2001:db8::1")];
    const routes = [defaultRoute(ETH, 100), defaultRoute(WLAN, 50)];
    expect(select(addresses, routes)).toEqual(["198.51.100.1", "192.0.2.1", "2001:db8::1"]);
    expect(select(addresses)).toEqual(["192.0.2.1", "198.51.100.1", "2001:db8::1"]);
  });

  it("PG-142: at most 8 per family", () => {
    const many = (count: number) =>
      Array.from({ length: count }, (_, i) => [
        address(ETH, `192.0.2.${i}`),
        address(ETH, `2001:db8::${i}`),
      ]).flat();
    expect(select(many(8))).toHaveLength(16);
    expect(select(many(9))).toHaveLength(16);
  });

  it("PG-142: an equal list is no news", () => {
    const list = [ip("192.0.2.1"), ip("2001:db8::1")];
    expect(equalAddresses(list, [ip("192.0.2.1"), ip("2001:db8::1")])).toBe(true);
    expect(equalAddresses(list, list.slice(1))).toBe(false);
    expect(equalAddresses(list, [...list].reverse())).toBe(false);
  });
});

describe("network changes", () => {
  const at = instant;
  const event = { kind: "address", index: ETH } as const;

  it("PG-34: a burst settles 200 ms after its last event, not before", () => {
    const watch = createBurstWatch(TUN);
    expect(watch.pollTimeout()).toBeUndefined();
    watch.handleEvents(at(1000), [event]);
    watch.handleEvents(at(1100), [event]);
    expect(watch.pollTimeout()).toBe(1300);
    expect(watch.handleTimeout(at(1299))).toBe(false);
    expect(watch.handleTimeout(at(1300))).toBe(true);
    expect(watch.pollTimeout()).toBeUndefined();
    expect(watch.handleTimeout(at(5000))).toBe(false);
  });

  it("PG-34: at the latest 500 ms after its first event", () => {
    const watch = createBurstWatch(TUN);
    for (let ms = 0; ms <= 450; ms += 50) watch.handleEvents(at(ms), [event]);
    expect(watch.pollTimeout()).toBe(500);
    expect(watch.handleTimeout(at(500))).toBe(true);
    watch.handleEvents(at(600), [event]);
    expect(watch.pollTimeout()).toBe(800);
  });

  it("PG-73: events of the TUN, of our tables, of rules and firewalls do not count; events without interface and overruns do", () => {
    const watch = createBurstWatch(TUN);
    watch.handleEvents(at(0), [
      { kind: "address", index: TUN },
      { kind: "link", index: TUN },
      { kind: "rule" },
      { kind: "parameter" },
      { kind: "firewall", table: "filter" },
      // A copy of the LAN's route in a table of ours.
      { kind: "route", index: ETH, table: 0x2021fe01 },
    ]);
    watch.handleEvents(at(0), []);
    expect(watch.pollTimeout()).toBeUndefined();
    watch.handleEvents(at(0), [{ kind: "route" }]);
    expect(watch.handleTimeout(at(500))).toBe(true);
    watch.handleEvents(at(1000), [{ kind: "overrun" }]);
    expect(watch.handleTimeout(at(1500))).toBe(true);
  });

  it("PG-73: interface, gateway and source of the marked default route make the fingerprint", () => {
    const print = (route: BestRoute | undefined) =>
      networkFingerprint({
        links: () => [],
        bestRoute: (destination, mark) =>
          destination.length === 4 && mark === 0xfd002021 ? route : undefined,
      });
    const home = { outputIndex: ETH, gateway: ip("192.0.2.1"), source: ip("192.0.2.2") };
    expect(print(home)).toBe("interface 2 via 192.0.2.1 from 192.0.2.2, none");
    const others = [
      undefined,
      { ...home, outputIndex: WLAN },
      { ...home, gateway: ip("192.0.2.9") },
      { ...home, source: ip("192.0.2.3") },
      { outputIndex: ETH },
    ];
    expect(new Set([home, ...others].map(print)).size).toBe(6);
  });
});

describe("one interface for everything (--egress-interface)", () => {
  it("PG-62, PG-73: the way by that interface makes the fingerprint; without it there is no network", () => {
    const print = (device: string) =>
      networkFingerprint(
        {
          links: () => LINKS,
          bestRoute: (destination, _mark, outputIndex) =>
            destination.length === 4 && outputIndex !== undefined ? { outputIndex } : undefined,
        },
        device,
      );
    expect(print("wlan0")).toBe(`interface ${WLAN} via direct from any, none`);
    expect(print("ppp0")).toBe(NO_NETWORK);
  });

  it("PG-62, PG-142: only its addresses are own addresses", () => {
    const addresses = [address(ETH, "192.0.2.1"), address(WLAN, "192.0.2.2")];
    const own = selectOwnAddresses({ links: LINKS, addresses, routes: [] }, TUN, "wlan0");
    expect(own.map(formatIp)).toEqual(["192.0.2.2"]);
  });
});

describe("forwarding", () => {
  const RIGHT: Readonly<Record<string, string>> = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/src_valid_mark": "1",
    "net/ipv6/conf/all/disable_ipv6": "0",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/default/forwarding": "1",
  };
  const plan = (changes: Readonly<Record<string, string | undefined>>, routes: readonly KernelRoute[] = []) =>
    planForwarding({ links: LINKS, routes, read: (path: SysctlPath) => ({ ...RIGHT, ...changes })[path] });

  it("PG-68: right values are not written", () => {
    expect(plan({})).toEqual({ v4: [], v6: [] });
  });

  it("PG-68: wrong ones are, and ones that the kernel lacks are not", () => {
    expect(plan({ "net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0" })).toEqual({
      v4: [{ path: "net/ipv4/ip_forward", value: "1" }],
      v6: [{ path: "net/ipv6/conf/all/forwarding", value: "1" }],
    });
    expect(plan({ "net/ipv6/conf/all/forwarding": undefined })).toEqual({ v4: [], v6: [] });
  });

  it("PG-68: before IPv6 forwarding goes on, an advertised default route is kept by accept_ra = 2", () => {
    const routes = [defaultRoute(ETH, 1024, { destination: prefix("::/0"), protocol: 9 })];
    const off = { "net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/eth0/accept_ra": "1" };
    expect(plan(off, routes).v6).toEqual([
      { path: "net/ipv6/conf/eth0/accept_ra", value: "2" },
      { path: "net/ipv6/conf/all/forwarding", value: "1" },
    ]);
    expect(plan({ ...off, "net/ipv6/conf/eth0/accept_ra": "2" }, routes).v6).toHaveLength(1);
    // Forwarding was on before: whatever accept_ra is, it works already.
    expect(plan({ "net/ipv6/conf/eth0/accept_ra": "1" }, routes).v6).toEqual([]);
    expect(plan(off, [defaultRoute(ETH, 1, { destination: prefix("::/0"), protocol: 4 })]).v6).toHaveLength(
      1,
    );
  });
});

describe("firewall", () => {
  const chain = (changes: object) => ({
    chain: {
      family: "ip",
      table: "filter",
      name: "FORWARD",
      hook: "forward",
      prio: 0,
      policy: "drop",
      ...changes,
    },
  });
  const chains = (...list: readonly object[]) => ({ nftables: [{ metainfo: {} }, ...list] });

  it("PG-69: masquerades what leaves the tunnel's ranges by another device", () => {
    const text = gatewayRuleset("tun-postern");
    expect(text).toContain('ip saddr 100.64.0.0/11 oifname != { "tun-postern", "lo" } masquerade');
    expect(text).toContain('ip6 saddr fd00:2021:1111::/107 oifname != { "tun-postern", "lo" } masquerade');
    expect(text.indexOf("delete table inet postern")).toBeLessThan(text.indexOf("chain forward"));
  });

  it("PG-69: a name cannot break out of its quotes", () => {
    expect(() => gatewayRuleset('x" accept')).toThrow(PosternError);
    expect(() => gatewayRuleset("")).toThrow(PosternError);
  });

  it("PG-70: base chains at hook forward with policy drop count, ours and accepting ones do not", () => {
    const found = foreignDropChains(
      chains(
        chain({}),
        chain({ policy: "accept" }),
        chain({ hook: "input", name: "INPUT" }),
        chain({ hook: undefined, name: "DOCKER-USER", policy: undefined }),
        chain({ family: "inet", table: "firewalld", name: "filter_FORWARD" }),
        chain({ family: "inet", table: "postern", name: "forward" }),
        { rule: { family: "ip" } },
      ),
    );
    expect(found.map(({ name }) => name)).toEqual(["FORWARD", "filter_FORWARD"]);
  });

  it("PG-70: accepts go to FORWARD, or to DOCKER-USER; other firewalls are not edited", () => {
    const drop = { family: "ip", table: "filter", name: "FORWARD" };
    const docker = chain({ name: "DOCKER-USER", hook: undefined });
    expect(acceptChain(drop, chains(chain({})))).toEqual(drop);
    expect(acceptChain(drop, chains(chain({}), docker))).toEqual({ ...drop, name: "DOCKER-USER" });
    expect(acceptChain({ ...drop, family: "ip6" }, chains(docker))).toEqual({ ...drop, family: "ip6" });
    expect(acceptChain({ ...drop, family: "inet" }, chains())).toBeUndefined();
    expect(acceptChain({ ...drop, table: "firewalld" }, chains())).toBeUndefined();
  });

  it.each([undefined, null, 7, {}, { nftables: 7 }, { nftables: [null, 7, { chain: 7 }] }])(
    "survives nft output %j",
    (output) => {
      expect(foreignDropChains(output)).toEqual([]);
    },
  );
});

describe("suspend", () => {
  it("PG-74: a turn more than 5 s later than the wake-up that was asked for tells of a standstill", () => {
    const watch = createSuspendWatch();
    expect(watch.stoodStillMs(instant(99_000)), "nothing was asked for").toBeUndefined();
    watch.sleepUntil(instant(100_000));
    expect(watch.stoodStillMs(instant(105_000))).toBeUndefined();
    expect(watch.stoodStillMs(instant(105_001)), "at least").toBe(5_001);
  });

  it("PG-74: a loop that slept long, as it had asked, has not stood still", () => {
    const watch = createSuspendWatch();
    watch.sleepUntil(instant(600_000));
    expect(watch.stoodStillMs(instant(600_050))).toBeUndefined();
    expect(watch.stoodStillMs(instant(300_000)), "woken early by something else").toBeUndefined();
    watch.sleepUntil(instant(601_050));
    expect(
      watch.stoodStillMs(instant(601_100)),
      "told once: each sleep has its own due time",
    ).toBeUndefined();
  });
});
