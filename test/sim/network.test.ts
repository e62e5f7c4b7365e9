/** The simulated network against its own rules (TS §10): what a NAT claims is measured from inside and outside. */
import { describe, expect, it } from "vitest";
import { formatSocketAddress, ip, type SocketAddress } from "../../src/base/index.ts";
import { NAT_KINDS, type NatKind } from "../lib/nat.ts";
import { type NatOptions, natOptions } from "./nat.ts";
import { reboot } from "./network.ts";
import { createWorld, type Host, type NetworkOptions, type World } from "./world.ts";

const A = "198.51.100.1";
const B = "198.51.100.2";
const P = "203.0.113.9";
const HOME: readonly string[] = ["192.168.1.10"];

/** A host that shows what came, and sends what it is told. */
interface Probe {
  readonly host: Host;
  /** Sources, and first bytes, of what came. */
  readonly heard: { readonly from: string; readonly text: string }[];
  send(to: SocketAddress, text: string, port?: number): void;
}

function addProbe(world: World, name: string, options: Parameters<World["addHost"]>[1]): Probe {
  const host = world.addHost(name, { port: 5000, ...options });
  host.takesPort = () => true;
  const out: { sourcePort: number; destination: SocketAddress; bytes: Uint8Array }[] = [];
  const heard: Probe["heard"] = [];
  host.program = {
    handleDatagram: (_now, { from, bytes }) =>
      void heard.push({ from: formatSocketAddress(from), text: new TextDecoder().decode(bytes) }),
    handleTimeout: () => {},
    pollTimeout: () => undefined,
    pollTransmit: () => out.shift(),
    drain: () => {},
  };
  return {
    host,
    heard,
    send(to, text, port = host.port) {
      out.push({ sourcePort: port, destination: to, bytes: new TextEncoder().encode(text) });
      world.flush(host);
      world.run(1);
    },
  };
}

function at(address: string, port = 5000): SocketAddress {
  return { address: ip(address), port };
}

interface Scene {
  readonly world: World;
  readonly inside: Probe;
  readonly second: Probe;
  readonly a: Probe;
  readonly b: Probe;
  readonly router: ReturnType<World["addNetwork"]>["router"];
  /** The outside port from which something of `inside` came to a probe last. */
  seenBy(probe: Probe): number;
}

function scene(nat: NatOptions | undefined, options: Partial<NetworkOptions> = {}): Scene {
  const world = createWorld(1);
  const home = world.addNetwork("home", { outside: [P], ...(nat && { nat }), ...options });
  return {
    world,
    router: home.router,
    inside: addProbe(world, "inside", { addresses: HOME, network: home }),
    second: addProbe(world, "second", { addresses: ["192.168.1.11"], network: home }),
    a: addProbe(world, "a", { addresses: [A] }),
    b: addProbe(world, "b", { addresses: [B] }),
    seenBy({ heard }) {
      const from = heard.at(-1)?.from ?? "";
      expect(from.startsWith(`${P}:`), from).toBe(true);
      return Number(from.split(":")[1]);
    },
  };
}

/** What a NAT does, measured as in namespaces (TS-29). */
function measure(nat: NatOptions): Pick<NatOptions, "mapping" | "filtering" | "isPortKept" | "hairpin"> {
  const { inside, second, a, b, seenBy } = scene(nat);
  inside.send(at(A), "1");
  const port = seenBy(a);
  // It has sent to A:5000 alone so far.
  for (const [probe, from] of [
    [a, 5000],
    [a, 7000],
    [b, 5000],
  ] as const) {
    probe.send(at(P, port), "in", from);
  }
  const filtering = (["address-and-port", "address", "endpoint"] as const)[inside.heard.length - 1];
  inside.send(at(A, 6000), "2");
  const toOtherPort = seenBy(a);
  inside.send(at(B), "3");
  const toOtherAddress = seenBy(b);
  second.send(at(A), "4");
  inside.send(at(P, seenBy(a)), "5");
  second.send(at(P, port), "6");
  const source = inside.heard.find(({ text }) => text === "6")?.from;
  return {
    mapping:
      toOtherPort !== port
        ? "address-and-port-dependent"
        : toOtherAddress !== port
          ? "address-dependent"
          : "endpoint-independent",
    filtering:
      filtering === "endpoint" ? "endpoint-independent" : `${filtering ?? "address-and-port"}-dependent`,
    isPortKept: port === 5000,
    hairpin: source === undefined ? "none" : source.startsWith(P) ? "outside" : "inside",
  };
}

describe("a NAT of the simulated world", () => {
  it.each(Object.keys(NAT_KINDS) as NatKind[])(
    "TS-27, RFC 4787 §4 to §6: %s is what it claims to be",
    (kind) => {
      expect(measure(natOptions(kind))).toEqual(NAT_KINDS[kind]);
    },
  );

  it("RFC 4787 REQ-9: a hairpin may leave the inside source", () => {
    expect(measure(natOptions("full-cone", { hairpin: "inside" })).hairpin).toBe("inside");
  });

  it("TS-11: a host whose port is taken gets another, and answers reach the right one", () => {
    const { inside, second, a, seenBy } = scene(natOptions("port-restricted"));
    inside.send(at(A), "1");
    expect(seenBy(a)).toBe(5000);
    second.send(at(A), "2");
    const other = seenBy(a);
    expect(other).not.toBe(5000);
    a.send(at(P, other), "to the second");
    expect([inside.heard.length, second.heard.length]).toEqual([0, 1]);
  });

  it("TS-11: ports are given one after the other where that is its way, and again once they are free", () => {
    const { world, inside, second, a, seenBy } = scene(
      natOptions("port-not-kept", {
        allocation: "sequential",
        ports: { lowest: 2000, highest: 2001 },
        lifetimeMs: 30_000,
      }),
    );
    inside.send(at(A), "1", 1);
    expect(seenBy(a)).toBe(2000);
    inside.send(at(A), "2", 2);
    expect(seenBy(a)).toBe(2001);
    second.send(at(A), "3");
    expect(a.heard).toHaveLength(2);
    world.run(30_000);
    second.send(at(A), "4");
    // The tuple of a host that is gone (seed 001).
    expect(seenBy(a)).toBe(2000);
  });

  it.each([
    { lifetimeMs: 30_000, isRefreshedFromOutside: false, isKept: false },
    { lifetimeMs: 30_000, isRefreshedFromOutside: true, isKept: true },
    { lifetimeMs: 120_000, isRefreshedFromOutside: false, isKept: true },
  ])("RFC 4787 REQ-5, REQ-6: mappings end as said: %o", ({ isKept, ...change }) => {
    const { world, inside, a, seenBy } = scene(natOptions("full-cone", change));
    inside.send(at(A), "1");
    const port = seenBy(a);
    for (let i = 0; i < 3; i++) {
      world.run(20_000);
      a.send(at(P, port), `${i}`);
    }
    expect(inside.heard.at(-1)?.text).toBe(isKept ? "2" : "0");
  });

  it("TS-11: a reboot clears all, and its next mapping is another", () => {
    const { inside, a, seenBy, router } = scene(natOptions("port-not-kept"));
    inside.send(at(A), "1");
    const before = seenBy(a);
    reboot(router);
    a.send(at(P, before), "late");
    expect(inside.heard).toEqual([]);
    inside.send(at(A), "2");
    expect(seenBy(a)).not.toBe(before);
  });

  it("TS-27: a forwarded port reaches its host from anywhere, and the answers leave by it", () => {
    const forward = { port: 5000, to: at(HOME[0] ?? "") };
    const { inside, a, b, seenBy } = scene(natOptions("symmetric", { forward }));
    a.send(at(P, 5000), "knock", 1234);
    expect(inside.heard).toEqual([{ from: `${A}:1234`, text: "knock" }]);
    inside.send(at(A, 1234), "yes");
    expect(seenBy(a)).toBe(5000);
    inside.send(at(B), "another flow");
    expect(seenBy(b)).not.toBe(5000);
  });
});

describe("a router of the simulated world", () => {
  it("TS-11: guards what it does not translate: in come answers alone", () => {
    const { world, inside, a, b } = scene(undefined, { isGuarded: true });
    a.send(at(HOME[0] ?? ""), "knock");
    expect(inside.heard).toEqual([]);
    inside.send(at(A), "out");
    a.send(at(HOME[0] ?? ""), "answer");
    b.send(at(HOME[0] ?? ""), "stranger");
    expect(inside.heard.map(({ text }) => text)).toEqual(["answer"]);
    world.run(121_000);
    a.send(at(HOME[0] ?? ""), "late");
    expect(inside.heard).toHaveLength(1);
  });

  it("TS-27: blocks UDP, or all but some ports", () => {
    const { inside, a, router } = scene(natOptions("full-cone"));
    router.blocks = "udp";
    inside.send(at(A), "1");
    router.blocks = { allButPorts: [3478] };
    inside.send(at(A), "2");
    inside.send(at(A, 3478), "3");
    expect(a.heard.map(({ text }) => text)).toEqual(["3"]);
  });

  it("TS-11: two of them behind each other translate twice, and the same private address is not the same host", () => {
    const world = createWorld(1);
    const isp = world.addNetwork("isp", { outside: [P], nat: natOptions("full-cone") });
    const homes = ["100.64.0.1", "100.64.0.2"].map((outside, i) =>
      world.addNetwork(`home ${i}`, { outside: [outside], above: isp, nat: natOptions("port-restricted") }),
    );
    const [first, second] = homes.map((network, i) =>
      addProbe(world, `host ${i}`, { addresses: HOME, network }),
    );
    const a = addProbe(world, "a", { addresses: [A] });
    first?.send(at(A), "from the first");
    second?.send(at(A), "from the second");
    expect(a.heard.map(({ from }) => from.split(":")[0])).toEqual([P, P]);
    a.send(at(P, Number(a.heard[1]?.from.split(":")[1])), "to the second");
    expect([first?.heard.length, second?.heard.length]).toEqual([0, 1]);
    second?.send(at("100.64.0.1"), "neighbours are filtered");
    expect(first?.heard.length).toBe(0);
  });

  it("TS-11: one that does not translate lets addresses behind it be reached, whatever lies above", () => {
    const world = createWorld(1);
    const campus = world.addNetwork("campus", { outside: [P] });
    const lab = world.addNetwork("lab", { outside: ["198.51.100.254"], above: campus, isGuarded: false });
    const inside = addProbe(world, "inside", { addresses: ["198.51.100.130"], network: lab });
    addProbe(world, "a", { addresses: [A] }).send(at("198.51.100.130"), "knock");
    expect(inside.heard).toHaveLength(1);
  });
});

describe("a link of the simulated world", () => {
  const lost = (link: Parameters<World["addHost"]>[1]["link"], count: number): number => {
    const world = createWorld(3);
    const a = addProbe(world, "a", { addresses: [A], ...(link && { link }) });
    const b = addProbe(world, "b", { addresses: [B] });
    for (let i = 0; i < count; i++) a.send(at(B), `${i}`);
    world.run(1_000);
    return count - b.heard.length;
  };

  it("TS §10: with loss p it loses p ± 3σ", () => {
    const [p, count] = [0.2, 20_000];
    const sigma = Math.sqrt(count * p * (1 - p));
    expect(Math.abs(lost({ loss: p }, count) - count * p)).toBeLessThanOrEqual(3 * sigma);
  });

  it("TS-10: losses come together in bursts, at the share that follows from them", () => {
    const burst = { begins: 0.01, ends: 0.1, loss: 0.5 };
    // Bad for begins / (begins + ends) of the time.
    const expected = 20_000 * (0.01 / 0.11) * 0.5;
    expect(Math.abs(lost({ burst }, 20_000) - expected)).toBeLessThan(expected / 4);
  });
});
