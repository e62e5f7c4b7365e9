import { describe, expect, it } from "vitest";
import { createDeadlineQueue, type Instant, instant, ip } from "../../../src/base/index.ts";
import { PROTOCOL } from "../../../src/packet/index.ts";
import {
  type Ageing,
  createMappings,
  endAged,
  type Mapping,
  type Mappings,
  type NatStamps,
} from "../../../src/tunnel/nat/mappings.ts";
import fc from "../../lib/property.ts";

const PROXY = ip("100.96.0.1");
const OTHER_PROXY = ip("100.96.0.5");
const REAL = ip("198.51.100.7");
const START = instant(1_000_000);
const SECOND = 1_000;
const free = () => false;

const later = (ms: number): Instant => instant(START + ms);

/** Mappings with a queue of their own. */
function agingMappings() {
  const queue = createDeadlineQueue<Ageing>();
  const nat = createMappings(queue);
  return {
    ...nat,
    sweep: (now: Instant) => endAged(queue, now),
    mayEnd: () => queue.first() !== undefined,
  };
}

function inside(port = 40_000, { proxy = PROXY, protocol = PROTOCOL.tcp as number } = {}) {
  return { protocol, port, proxy };
}

function made(nat: Mappings, of = inside(), real = REAL): Mapping {
  const mapping = nat.create(START, { inside: of, real }, free);
  if (mapping === undefined) throw new Error("nothing free");
  return mapping;
}

function stampsAt(ms: number, more: Partial<NatStamps> = {}): NatStamps {
  return { lastOut: later(ms), lastIn: later(ms), hasFin: false, hasRst: false, ...more };
}

describe("the choice of an outside tuple", () => {
  it("TN-65: the client's own port if it is free, and the same mapping for the same inside tuple", () => {
    const nat = createMappings();
    const mapping = made(nat);
    expect(mapping.outside).toEqual({ protocol: PROTOCOL.tcp, port: 40_000, real: REAL });
    expect(nat.ofInside(inside())).toBe(mapping);
    expect(nat.ofOutside(mapping.outside)).toBe(mapping);
    expect(nat.ofInside(inside(40_001))).toBeUndefined();
  });

  it("TN-65: two names behind one real address get ports of their own; protocols do not meet", () => {
    const nat = createMappings();
    made(nat);
    expect(made(nat, inside(40_000, { proxy: OTHER_PROXY })).outside.port).toBe(40_001);
    expect(made(nat, inside(40_000, { proxy: OTHER_PROXY, protocol: PROTOCOL.udp })).outside.port).toBe(
      40_000,
    );
    expect(made(nat, inside(40_000, { proxy: ip("100.96.0.9") }), ip("198.51.100.8")).outside.port).toBe(
      40_000,
    );
  });

  it("TN-65: upwards to 65535, then from 1; untranslated flows count as taken", () => {
    const nat = createMappings();
    const wanted = { inside: inside(65_534), real: REAL };
    const taken = (...ports: readonly number[]) =>
      nat.create(START, wanted, ({ port }) => ports.includes(port));
    expect(taken(65_534)?.outside.port).toBe(65_535);
    const again = createMappings();
    const next = again.create(START, wanted, ({ port }) => port >= 65_534 || port === 1);
    expect(next?.outside.port).toBe(2);
  });

  it("TN-65: nothing free is no mapping", () => {
    expect(createMappings().create(START, { inside: inside(), real: REAL }, () => true)).toBeUndefined();
  });

  it("TN-65: a client has 16,384 mappings at most", () => {
    const nat = createMappings();
    for (let i = 1; i <= 16_384; i++) made(nat, inside(i));
    expect(nat.create(START, { inside: inside(20_000), real: REAL }, free)).toBeUndefined();
  });
});

describe("the life of a mapping", () => {
  const TTLS: readonly (readonly [string, number, NatStamps, number])[] = [
    ["TCP, answered", PROTOCOL.tcp, stampsAt(0), 7_200],
    ["TCP, unanswered", PROTOCOL.tcp, stampsAt(0, { lastIn: undefined }), 60],
    ["UDP, answered", PROTOCOL.udp, stampsAt(0), 120],
    ["UDP, unanswered", PROTOCOL.udp, stampsAt(0, { lastIn: undefined }), 120],
    ["ICMP, unanswered", PROTOCOL.icmp, stampsAt(0, { lastIn: undefined }), 120],
    ["ICMPv6, answered", PROTOCOL.icmpv6, stampsAt(0), 120],
  ];

  it.each(TTLS)("TN-68: %s: until its last packet is so old, not before", (_, protocol, stamps, seconds) => {
    const nat = agingMappings();
    const mapping = made(nat, inside(40_000, { protocol }));
    nat.addFlow(mapping);
    expect(nat.sweep(later(10 * 7_200 * SECOND))).toBe(0);
    nat.endFlow(mapping, stamps);
    expect(nat.sweep(later(seconds * SECOND - 1))).toBe(0);
    expect(nat.sweep(later(seconds * SECOND))).toBe(1);
    expect(nat.ofInside(mapping.inside)).toBeUndefined();
  });

  it.each([
    ["FIN in both directions", { hasFin: true }, 105],
    ["RST", { hasRst: true }, 100],
    ["both", { hasFin: true, hasRst: true }, 100],
  ])("TN-68: after %s", (_, flags, seconds) => {
    const nat = agingMappings();
    const mapping = made(nat);
    nat.addFlow(mapping);
    nat.endFlow(mapping, stampsAt(100 * SECOND, flags));
    expect(nat.sweep(later(seconds * SECOND - 1))).toBe(0);
    expect(nat.sweep(later(seconds * SECOND))).toBe(1);
  });

  it("TN-68: with several flows it ends with the last of them: one RST cuts no other", () => {
    const nat = agingMappings();
    const mapping = made(nat);
    nat.addFlow(mapping);
    nat.addFlow(mapping);
    nat.endFlow(mapping, stampsAt(SECOND, { hasRst: true }));
    expect(nat.sweep(later(9_000 * SECOND))).toBe(0);
    nat.endFlow(mapping, stampsAt(0));
    expect(nat.sweep(later(7_200 * SECOND - 1))).toBe(0);
    expect(nat.sweep(later(7_200 * SECOND))).toBe(1);
  });

  it("TN-68: packets that control settles prolong it, too", () => {
    const nat = agingMappings();
    const mapping = made(nat, inside(1, { protocol: PROTOCOL.udp }));
    nat.note(later(100 * SECOND), mapping, "in");
    expect(nat.sweep(later(220 * SECOND - 1))).toBe(0);
    expect(nat.sweep(later(220 * SECOND))).toBe(1);
  });
});

describe("tuples that expired", () => {
  function expired(): {
    readonly nat: ReturnType<typeof agingMappings>;
    readonly mapping: Mapping;
    readonly at: number;
  } {
    const nat = agingMappings();
    const mapping = made(nat);
    const at = 60 * SECOND;
    nat.sweep(later(at));
    return { nat, mapping, at };
  }

  it("TN-69: is remembered for 600 s", () => {
    const { nat, mapping, at } = expired();
    expect(nat.ofOutside(mapping.outside)).toBe("expired");
    nat.sweep(later(at + 600 * SECOND - 1));
    expect(nat.ofOutside(mapping.outside)).toBe("expired");
    expect(nat.mayEnd()).toBe(true);
    nat.sweep(later(at + 600 * SECOND));
    expect(nat.ofOutside(mapping.outside)).toBeUndefined();
    expect(nat.mayEnd()).toBe(false);
  });

  it("TN-69: a mapping that takes the tuple again ends the memory", () => {
    const { nat, mapping } = expired();
    const again = made(nat, inside(40_000, { proxy: OTHER_PROXY }));
    expect(again.outside).toEqual(mapping.outside);
    expect(nat.ofOutside(mapping.outside)).toBe(again);
  });

  it("TN-69: 4,096 of them, the oldest goes first", () => {
    const nat = agingMappings();
    for (let i = 1; i <= 4_097; i++) nat.create(later(i), { inside: inside(i), real: REAL }, free);
    nat.sweep(later(65 * SECOND));
    const known = (port: number) => nat.ofOutside({ protocol: PROTOCOL.tcp, port, real: REAL });
    expect([known(1), known(2), known(4_097)]).toEqual([undefined, "expired", "expired"]);
  });

  it("TN-64: a client that numbers anew has none of it left", () => {
    const { nat, mapping } = expired();
    made(nat, inside(7));
    nat.clear();
    expect([nat.size(), nat.mayEnd(), nat.ofOutside(mapping.outside)]).toEqual([0, false, undefined]);
  });
});

it("TN-65: two inside tuples never share an outside one, and each is found from both sides", () => {
  const tuple = fc.record({
    protocol: fc.constantFrom(PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.icmp),
    port: fc.constantFrom(1, 2, 3, 65_534, 65_535),
    proxy: fc.constantFrom(PROXY, OTHER_PROXY, ip("100.96.0.9")),
  });
  const reals = fc.constantFrom(REAL, ip("198.51.100.8"));
  const step = fc.record({ inside: tuple, real: reals, ms: fc.nat(90 * SECOND) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const nat = agingMappings();
      let now = START;
      const alive = new Set<Mapping>();
      for (const { ms, ...wanted } of steps) {
        now = instant(now + ms);
        nat.sweep(now);
        for (const mapping of alive) if (nat.ofInside(mapping.inside) !== mapping) alive.delete(mapping);
        const mapping = nat.ofInside(wanted.inside) ?? nat.create(now, wanted, free);
        if (mapping !== undefined) alive.add(mapping);
        expect(alive.size).toBe(nat.size());
        for (const one of alive) {
          expect(nat.ofOutside(one.outside)).toBe(one);
          expect(nat.ofInside(one.inside)).toBe(one);
        }
      }
    }),
  );
});
