import { describe, expect, it } from "vitest";
import {
  type DeviceRoute,
  errnoNumber,
  type Family,
  type KernelRoute,
  type Link,
  type Refusal,
  type Rtnetlink,
  type Rule,
} from "../../../bindings/linux/index.ts";
import { formatPrefix, ip, type Log, PosternError, prefix, SILENT } from "../../../src/base/index.ts";
import {
  addPolicyRules,
  applyRoutes,
  applyTunnelRoutes,
  applyWgRoutes,
  flushPolicyRouting,
  linkRoutes,
  planWgRoutes,
  removeWgLeftovers,
  TABLE_INTERNET,
  TABLE_LINK,
  TABLE_RESOURCES,
  tunnelRoutes,
} from "../../../src/host/index.ts";
import fc from "../../lib/property.ts";

const TUN = 9;
const LAN = 2;
const MAIN = 254;

function route(changes: Partial<KernelRoute>): KernelRoute {
  return {
    destination: prefix("192.0.2.0/24"),
    table: MAIN,
    outputIndex: LAN,
    protocol: 2,
    scope: 253,
    type: 1,
    hasNextHops: false,
    ...changes,
  };
}

function link(changes: Partial<Link> = {}): Link {
  return {
    index: LAN,
    name: "eth0",
    mtu: 1500,
    isUp: true,
    isLoopback: false,
    isOperational: true,
    txQueueLength: 1000,
    ...changes,
  };
}

/** Routes and rules in memory, refusing as the kernel does. */
function createTwin(
  routes: KernelRoute[] = [],
  rules: Rule[] = [],
): Rtnetlink & { routes_: KernelRoute[]; rules_: Rule[] } {
  const refuse = (name: "EEXIST" | "ESRCH" | "ENOENT"): Refusal => ({
    errno: errnoNumber(name),
    message: name,
  });
  const key = (one: DeviceRoute | KernelRoute) =>
    `${one.table} ${formatPrefix(one.destination)} ${one.metric ?? 0}`;
  const familyOf = (one: KernelRoute): Family => (one.destination.address.length === 4 ? 4 : 6);
  let nextPriority = 32766;
  return {
    routes_: routes,
    rules_: rules,
    links: () => [],
    addresses: () => [],
    routes: (family, table) =>
      routes.filter((one) => familyOf(one) === family && (table === undefined || one.table === table)),
    rules: (family) => rules.filter((rule) => rule.family === family),
    changeLink: () => undefined,
    addAddress: () => undefined,
    deleteAddress: () => undefined,
    addRoute(one) {
      if (routes.some((old) => key(old) === key(one))) return refuse("EEXIST");
      routes.push({ ...one, type: 1, hasNextHops: false });
      return undefined;
    },
    deleteRoute(one) {
      const at = routes.findIndex((old) => key(old) === key(one) && old.outputIndex === one.outputIndex);
      if (at < 0) return refuse("ESRCH");
      routes.splice(at, 1);
      return undefined;
    },
    addRule(rule) {
      if (
        rule.priority !== undefined &&
        rules.some((old) => old.family === rule.family && old.priority === rule.priority)
      )
        return refuse("EEXIST");
      rules.push({ priority: --nextPriority, ...rule });
      return undefined;
    },
    deleteRule(rule) {
      const at = rules.findIndex((old) => old.family === rule.family && old.priority === rule.priority);
      if (at < 0) return refuse("ENOENT");
      rules.splice(at, 1);
      return undefined;
    },
    bestRoute: () => undefined,
    close: () => undefined,
  };
}

describe("client and gateway routes", () => {
  it("PG-32: default routes stand in a table of their own", () => {
    const networks = ["172.20.0.0/16", "0.0.0.0/0", "::/0", "fd00:7::/32", "128.0.0.0/1"].map(prefix);
    expect(tunnelRoutes(networks, TUN).map(({ table }) => table)).toEqual([
      TABLE_RESOURCES,
      TABLE_INTERNET,
      TABLE_INTERNET,
      TABLE_RESOURCES,
      TABLE_RESOURCES,
    ]);
  });

  it.each([
    { name: "a LAN", route: route({}), qualifies: true },
    { name: "the default route", route: route({ destination: prefix("0.0.0.0/0") }), qualifies: false },
    { name: "half of IPv4", route: route({ destination: prefix("0.0.0.0/1") }), qualifies: false },
    { name: "a quarter of IPv4", route: route({ destination: prefix("0.0.0.0/2") }), qualifies: true },
    { name: "IPv4 via a gateway", route: route({ scope: 0, gateway: ip("192.0.2.1") }), qualifies: false },
    { name: "our TUN", route: route({ outputIndex: TUN }), qualifies: false },
    { name: "a blackhole", route: route({ type: 6 }), qualifies: false },
    { name: "an interface that is gone", route: route({ outputIndex: 77 }), qualifies: false },
    { name: "an interface without carrier", route: route({ outputIndex: 3 }), qualifies: false },
    {
      name: "an IPv6 LAN",
      route: route({ destination: prefix("2001:db8::/64"), scope: 0 }),
      qualifies: true,
    },
    {
      name: "IPv6 via a gateway",
      route: route({ destination: prefix("2001:db8::/64"), scope: 0, gateway: ip("fe80::1") }),
      qualifies: false,
    },
    {
      name: "IPv6 by a next-hop group",
      route: route({ destination: prefix("2001:db8::/64"), scope: 0, hasNextHops: true }),
      qualifies: false,
    },
  ])("PG-33: $name is copied: $qualifies", ({ route: one, qualifies }) => {
    const links = [link(), link({ index: TUN, name: "pt0" }), link({ index: 3, isOperational: false })];
    const copies = linkRoutes([one], links, TUN);
    expect(copies).toHaveLength(qualifies ? 1 : 0);
    if (qualifies)
      expect(copies[0]).toMatchObject({ table: TABLE_LINK, destination: one.destination, outputIndex: LAN });
  });

  const networks = fc.uniqueArray(
    fc.constantFrom("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8", "::/0"),
    {
      maxLength: 5,
    },
  );
  it("PG-32: the difference reaches the wanted set from any state, and touches no other table", () => {
    fc.assert(
      fc.property(networks, networks, networks, (before, wanted, others) => {
        const foreign = others.map((text) => route({ destination: prefix(text) }));
        const twin = createTwin([
          ...tunnelRoutes(before.map(prefix), TUN).map((one) => ({ ...one, type: 1, hasNextHops: false })),
          ...foreign,
        ]);
        const apply = () =>
          applyRoutes(twin, [TABLE_RESOURCES, TABLE_INTERNET], tunnelRoutes(wanted.map(prefix), TUN), SILENT);
        const counts = apply();
        const present = twin.routes_.filter(({ table }) => table !== MAIN);
        expect(new Set(present.map((one) => formatPrefix(one.destination)))).toEqual(new Set(wanted));
        expect(present).toHaveLength(wanted.length);
        expect(twin.routes_.filter(({ table }) => table === MAIN)).toEqual(foreign);
        expect(counts.added - counts.deleted).toBe(wanted.length - before.length);
        expect(apply()).toEqual({ deleted: 0, added: 0 });
      }),
      { numRuns: 200 },
    );
  });

  it("PG-32: a route that exists is ours only if it leads to our device; another's is named and left", () => {
    const [other] = tunnelRoutes([prefix("10.1.0.0/16")], 7);
    if (other === undefined) throw new Error("a network has a route");
    const twin = createTwin([{ ...other, type: 1, hasNextHops: false }]);
    const warned: unknown[] = [];
    const log: Log = { ...SILENT, warn: (event) => void warned.push(event) };
    applyTunnelRoutes(twin, TUN, ["10.0.0.0/8", "10.1.0.0/16"].map(prefix), log);
    expect(warned).toEqual(["route not added: another device has it"]);
    expect(twin.routes_.map(({ outputIndex }) => outputIndex)).toEqual([7, TUN]);
    applyTunnelRoutes(twin, TUN, [prefix("10.0.0.0/8")], log);
    expect(
      twin.routes_.map(({ outputIndex }) => outputIndex),
      "nor is it deleted",
    ).toEqual([7, TUN]);
  });

  it("PG-31: a rule that exists is ours only if it says the same", () => {
    const turned: Rule = { family: 4, table: TABLE_RESOURCES, priority: 100, isInverted: false, protocol: 2 };
    const warned: unknown[] = [];
    const log: Log = { ...SILENT, warn: (event) => void warned.push(event) };
    const twin = createTwin([], [turned]);
    addPolicyRules(twin, [4], log);
    addPolicyRules(twin, [4], log);
    expect(warned, "once for each time").toEqual(["rule refused", "rule refused"]);
  });

  it("PG-35: flushing removes our rules and routes, whoever set them, and nothing else", () => {
    const main: Rule = { family: 4, table: MAIN, priority: 32766, isInverted: false, protocol: 2 };
    const twin = createTwin([route({}), route({ table: TABLE_LINK })], [main]);
    addPolicyRules(twin, [4, 6], SILENT);
    expect(twin.rules_).toHaveLength(7);
    flushPolicyRouting(twin, SILENT);
    expect(twin.rules_).toEqual([main]);
    expect(twin.routes_).toEqual([route({})]);
  });
});

describe("a kernel that tells nothing", () => {
  const deaf = (twin: ReturnType<typeof createTwin>, ...lists: ("rules" | "routes")[]) => ({
    ...twin,
    ...Object.fromEntries(
      lists.map((list) => [
        list,
        () => {
          throw new PosternError("host", `cannot list ${list}`);
        },
      ]),
    ),
  });

  it("PG-35: rules that cannot be listed are deleted unseen, before routes are asked for", () => {
    const twin = createTwin([]);
    addPolicyRules(twin, [4, 6], SILENT);
    const other: Rule = { family: 4, table: 99, priority: 50, isInverted: false, protocol: 4 };
    twin.addRule(other);
    expect(() => flushPolicyRouting(deaf(twin, "rules", "routes"), SILENT)).toThrow("cannot list routes");
    expect(twin.rules(4)).toEqual([other]);
    expect(twin.rules(6)).toEqual([]);
  });

  it("WG-64: what cannot be taken back keeps nothing else from being taken back", () => {
    const twin = createTwin([]);
    const settings = { index: TUN, table: "auto" as const, addresses: [] };
    const allowedIps = ["10.1.0.0/16", "0.0.0.0/0", "::/0"].map(prefix);
    const routes = applyWgRoutes(twin, planWgRoutes({ ...settings, allowedIps }, 51820), SILENT);
    const { rules } = twin;
    let asked = 0;
    twin.rules = (family) => {
      if (++asked === 1) throw new PosternError("host", "cannot list rules");
      return rules(family);
    };
    expect(() => routes.remove()).toThrow("cannot list rules");
    expect([...rules(4), ...rules(6)]).toHaveLength(1);
    expect(twin.routes_).toEqual([]);
  });
});

describe("wg routes", () => {
  const settings = {
    index: TUN,
    table: "auto" as const,
    addresses: [{ address: ip("10.9.0.1"), bits: 24 }],
    allowedIps: [],
  };
  const plan = (changes: object) => planWgRoutes({ ...settings, ...changes }, 51820);
  const names = (one: { routes: readonly DeviceRoute[] }) =>
    one.routes.map(({ destination, table }) => `${formatPrefix(destination)} ${table}`);

  it("WG-64: one route per allowed prefix, unless our own address covers it", () => {
    const allowedIps = ["10.9.0.2/32", "10.9.0.0/24", "10.9.0.0/16", "192.0.2.0/24", "192.0.2.0/24"].map(
      prefix,
    );
    const result = plan({ allowedIps });
    expect(names(result)).toEqual(["10.9.0.0/16 254", "192.0.2.0/24 254"]);
    expect(result.defaults).toEqual([]);
    expect(result.mark).toBeUndefined();
  });

  it("WG-64: a default route has a table and a mark", () => {
    const result = plan({ allowedIps: [prefix("0.0.0.0/0")] });
    expect(names(result)).toEqual(["0.0.0.0/0 51820"]);
    expect(result.mark).toBe(51820);
    expect(result.defaults).toEqual([{ family: 4, table: 51820, mark: 51820 }]);
    expect(plan({ allowedIps: [prefix("::/0")], mark: 7 })).toMatchObject({
      mark: 7,
      defaults: [{ family: 6, table: 51820, mark: 7 }],
    });
    // Two halves are no default route: nothing keeps the tunnel's own datagrams out, as with wg-quick.
    expect(plan({ allowedIps: [prefix("0.0.0.0/1")] }).defaults).toEqual([]);
  });

  it("WG-64: Table off sets nothing, a number takes all routes and no rules", () => {
    const allowedIps = [prefix("0.0.0.0/0"), prefix("10.9.0.2/32")];
    expect(plan({ allowedIps, table: "off", mark: 5 })).toEqual({
      routes: [],
      defaults: [],
      mark: 5,
    });
    const numbered = plan({ allowedIps, table: 77 });
    expect(names(numbered)).toEqual(["0.0.0.0/0 77", "10.9.0.2/32 77"]);
    expect(numbered.defaults).toEqual([]);
  });

  it("WG-64: the main table is asked before each instance's own, and each takes its own rules away", () => {
    const twin = createTwin();
    const defaults = { allowedIps: [prefix("::/0")] };
    const first = applyWgRoutes(twin, planWgRoutes({ ...settings, ...defaults }, 51820), SILENT);
    const second = applyWgRoutes(twin, planWgRoutes({ ...settings, ...defaults, index: 10 }, 51821), SILENT);
    const inOrder = () =>
      [...twin.rules_].sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0)).map(({ table }) => table);
    expect(inOrder()).toEqual([MAIN, 51821, MAIN, 51820]);
    first.remove();
    expect(inOrder()).toEqual([MAIN, 51821]);
    second.remove();
    expect(twin.rules_).toEqual([]);
    expect(twin.routes_).toEqual([]);
  });

  it("WG-64: after a refusal nothing stays", () => {
    const twin = createTwin();
    const failing = { ...twin, addRule: () => ({ errno: errnoNumber("EPERM"), message: "EPERM" }) };
    const wanted = plan({ allowedIps: [prefix("::/0"), prefix("192.0.2.0/24")] });
    expect(() => applyWgRoutes(failing, wanted, SILENT)).toThrow("cannot add rule for table 51820");
    expect(twin.routes_).toEqual([]);
  });

  it("WG-64: a route that is there already is a failure that names its device", () => {
    const lan = route({ destination: prefix("192.0.2.0/24"), outputIndex: LAN });
    const twin = { ...createTwin([lan]), links: () => [link()] };
    const wanted = plan({ allowedIps: [prefix("198.51.100.0/24"), prefix("192.0.2.0/24")] });
    const message = "cannot add route 192.0.2.0/24: there is one already to eth0";
    expect(() => applyWgRoutes(twin, wanted, SILENT)).toThrow(message);
    expect(twin.routes_).toEqual([lan]);
  });

  it("D-22: rules of a killed instance go, those of a living one and of others stay", () => {
    const mark = { mark: 51820, isInverted: true, protocol: 80 };
    const suppress = { table: MAIN, isInverted: false, suppressPrefixLength: 0 };
    const dead: Rule = { family: 4, table: 51820, priority: 100, ...mark };
    const alive: Rule = { family: 6, table: 51821, priority: 101, ...mark };
    const foreign: Rule = { family: 4, priority: 102, ...suppress, protocol: 3 };
    const twin = createTwin(
      [route({ destination: prefix("::/0"), table: 51821, outputIndex: TUN })],
      [
        dead,
        { family: 4, priority: 99, ...suppress, protocol: 80 },
        alive,
        { family: 6, priority: 100, ...suppress, protocol: 80 },
        foreign,
      ],
    );
    expect(removeWgLeftovers(twin)).toBe(2);
    expect(twin.rules_).toEqual([alive, { family: 6, priority: 100, ...suppress, protocol: 80 }, foreign]);
    expect(removeWgLeftovers(twin)).toBe(0);
  });
});
