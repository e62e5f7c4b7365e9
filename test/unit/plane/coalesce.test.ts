import { describe, expect, it } from "vitest";
import { parsePacket } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import { createCoalescer, type Features } from "../../twin/plane/coalesce.ts";
import { parseVnet, splitFrame } from "../../twin/plane/split.ts";
import { createDriver, type Driver } from "./coalesce-driver.ts";
import { counting, hostilePacket, ipPacket, type TcpOptions, tcp, type UdpOptions, udp } from "./packets.ts";

const ALL: Features = { tcp: true, udp: true };
const PLAIN = { limitBytes: 65_535, mode: "plain" } as const;

/** Like `toEqual`, but megabytes of bytes are compared in no time. */
function expectSame(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  const i = actual.findIndex((bytes, i) => Buffer.compare(bytes, expected[i] ?? new Uint8Array(0)) !== 0);
  if (i >= 0) expect({ i, bytes: actual[i] }).toEqual({ i, bytes: expected[i] });
  expect(actual.length).toBe(expected.length);
}

/** The packets that the kernel makes of what was written. */
function resplit(driver: Driver): readonly Uint8Array[] {
  return driver.written.flatMap(({ bytes, segments }) => {
    const result = splitFrame(bytes, PLAIN);
    if (!result.ok) throw new Error(`the kernel would refuse a frame: ${result.reason}`);
    expect(result.value).toHaveLength(segments);
    return result.value;
  });
}

function run(packets: readonly Uint8Array[], features = ALL): Driver {
  const driver = createDriver(features);
  for (const packet of packets) driver.accept(packet);
  driver.close();
  return driver;
}

const segmentsOf = (driver: Driver) => driver.written.map(({ segments }) => segments);

const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8);
const SEQUENCE = 0xffff_f000;

/** Packet `i` of a flow whose packets all carry `bytes` bytes. */
function tcpRun(i: number, bytes: number, options: TcpOptions): Uint8Array {
  return tcp(counting(bytes, i), {
    identification: i,
    sequence: (SEQUENCE + i * bytes) >>> 0,
    tcpOptions: TIMESTAMPS,
    ...options,
  });
}

const udpRun = (i: number, bytes: number, options: UdpOptions): Uint8Array =>
  udp(counting(bytes, i), { identification: i, ...options });

describe("coalescing towards the TUN device", () => {
  it.each([4, 6] as const)(
    "PF-56: a run of TCP over IPv%i becomes one frame, and the same packets again",
    (family) => {
      const packets = Array.from({ length: 40 }, (_, i) =>
        tcpRun(i, 1368, { family, flags: i === 39 ? 0x18 : 0x10 }),
      );
      const driver = run(packets);
      expect(segmentsOf(driver)).toEqual([40]);
      expectSame(resplit(driver), packets);
      expect(parseVnet(driver.written[0]?.bytes ?? new Uint8Array(10))).toEqual({
        needsChecksum: true,
        gsoType: family === 4 ? 1 : 4,
        headerBytes: (family === 4 ? 20 : 40) + 32,
        gsoBytes: 1368,
        checksumStart: family === 4 ? 20 : 40,
        checksumOffset: 16,
      });
    },
  );

  it.each([4, 6] as const)("plane-facts §9.2: a run of UDP over IPv%i becomes one frame", (family) => {
    const packets = Array.from({ length: 20 }, (_, i) => udpRun(i, i === 19 ? 500 : 1200, { family }));
    const driver = run(packets);
    expect(segmentsOf(driver)).toEqual([20]);
    expectSame(resplit(driver), packets);
    expect(parseVnet(driver.written[0]?.bytes ?? new Uint8Array(10)).gsoType).toBe(5);
  });

  it.each([1, 7, 16, 51, 52, 53, 103, 104, 105])(
    "PF-56: packets with %i bytes of payload, around the length of their headers",
    (bytes) => {
      for (const family of [4, 6] as const) {
        const packets = Array.from({ length: 30 }, (_, i) => tcpRun(i, bytes, { family }));
        const driver = run(packets);
        expect(segmentsOf(driver)).toEqual([30]);
        expectSame(resplit(driver), packets);
      }
    },
  );

  it("PF-58: a frame survives batches, from half to half of the arena", () => {
    const packets = Array.from({ length: 400 }, (_, i) => tcpRun(i, 1000, { family: 4 }));
    const driver = createDriver(ALL);
    for (const [i, packet] of packets.entries()) {
      driver.accept(packet);
      if (i % 7 === 0) driver.endBatch();
    }
    driver.close();
    expect(segmentsOf(driver)).toEqual([64, 64, 64, 64, 64, 64, 16]);
    expectSame(resplit(driver), packets);
  });

  it("PF-33: a frame has at most 64 segments and 65,535 bytes", () => {
    const small = Array.from({ length: 65 }, (_, i) => udpRun(i, 20, { family: 4 }));
    expect(segmentsOf(run(small))).toEqual([64, 1]);
    // 20 + 20 + 47 × 1393 + 24 bytes are 65,535.
    const bytes = 1393;
    const last = (payload: number) => tcp(counting(payload), { family: 4, sequence: 1 + 47 * bytes });
    const full = Array.from({ length: 47 }, (_, i) =>
      tcp(counting(bytes, i), { family: 4, sequence: 1 + i * bytes }),
    );
    const fits = run([...full, last(24)]);
    expect(segmentsOf(fits)).toEqual([48]);
    expect(fits.written[0]?.bytes).toHaveLength(10 + 65_535);
    const exceeds = run([...full, last(25)]);
    expect(segmentsOf(exceeds)).toEqual([47, 1]);
    expectSame(resplit(exceeds).map(withoutIdentification), [...full, last(25)].map(withoutIdentification));
  });

  it("PF-57: PSH and a shorter packet end a frame", () => {
    const packets = [
      tcpRun(0, 100, { family: 4 }),
      tcpRun(1, 100, { family: 4, flags: 0x18 }),
      tcpRun(2, 100, { family: 4 }),
      tcp(counting(99), { family: 4, sequence: SEQUENCE + 300, tcpOptions: TIMESTAMPS }),
      tcp(counting(99), { family: 4, sequence: SEQUENCE + 399, tcpOptions: TIMESTAMPS }),
    ];
    const driver = run(packets);
    expect(segmentsOf(driver)).toEqual([2, 2, 1]);
    expect(parseVnet(driver.written[0]?.bytes ?? new Uint8Array(10)).gsoBytes).toBe(100);
  });

  it("PF-62: a packet that stayed alone keeps its bytes and is marked as verified", () => {
    const packet = tcpRun(0, 100, { family: 6 });
    const driver = run([packet]);
    expect([...(driver.written[0]?.bytes.subarray(0, 10) ?? [])]).toEqual([2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(driver.written[0]?.bytes.subarray(10)).toEqual(packet);
  });

  it("PF-57: the window of the first packet stands for all", () => {
    const driver = run([tcpRun(0, 100, { family: 4, window: 7 }), tcpRun(1, 100, { family: 4, window: 9 })]);
    expect(resplit(driver)).toEqual([
      tcpRun(0, 100, { family: 4, window: 7 }),
      tcpRun(1, 100, { family: 4, window: 7 }),
    ]);
  });

  it("D-6: without features every packet is a frame of its own, unmodified", () => {
    const packets = [
      tcpRun(0, 100, { family: 4 }),
      tcpRun(1, 100, { family: 4 }),
      udpRun(2, 100, { family: 6 }),
    ];
    const driver = run(packets, { tcp: false, udp: false });
    expect(driver.written.map(({ bytes }) => bytes.subarray(10))).toEqual(packets);
    expect(segmentsOf(run(packets, { tcp: true, udp: false }))).toEqual([2, 1]);
    const datagrams = [udpRun(0, 9, { family: 4 }), udpRun(1, 9, { family: 4 })];
    expect(segmentsOf(run(datagrams, { tcp: true, udp: false }))).toEqual([1, 1]);
    expect(segmentsOf(run(datagrams, { tcp: false, udp: true }))).toEqual([2]);
  });
});

const corrupted = (packet: Uint8Array, at: number): Uint8Array => {
  const copy = Uint8Array.from(packet);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};
const other = (family: 4 | 6): Uint8Array => counting(family === 4 ? 4 : 16, 99);

/** What may not follow a packet of the same flow (PF-57); each is passed on singly, unmodified. */
const CONTRADICTIONS: readonly [string, Uint8Array, Uint8Array][] = ([4, 6] as const).flatMap((family) => {
  const first = tcpRun(0, 100, { family });
  const next = (options: Partial<TcpOptions>): Uint8Array => tcpRun(1, 100, { family, ...options });
  const ip = family === 4 ? 20 : 40;
  const datagram = udpRun(0, 100, { family });
  const nextDatagram = (options: Partial<UdpOptions>) => udpRun(1, 100, { family, ...options });
  const of = (name: string, packet: Uint8Array, before = first): [string, Uint8Array, Uint8Array] => [
    `IPv${family}: ${name}`,
    before,
    packet,
  ];
  return [
    of("another source", next({ source: other(family) })),
    of("another destination", next({ destination: other(family) })),
    of("another source port", next({ ports: [53781, 80] })),
    of("another destination port", next({ ports: [53780, 81] })),
    of("another TOS, as by a CE mark", next({ tos: 3 })),
    of("another hop limit", next({ hops: 63 })),
    of("a gap in the sequence", next({ sequence: (SEQUENCE + 101) >>> 0 })),
    of("a repeated sequence", next({ sequence: SEQUENCE })),
    of("another acknowledgment", next({ acknowledgment: 1 })),
    of("other options", next({ tcpOptions: corrupted(TIMESTAMPS, 11) })),
    of("longer options", next({ tcpOptions: counting(16) })),
    of("FIN", next({ flags: 0x11 })),
    of("SYN", next({ flags: 0x12 })),
    of("RST", next({ flags: 0x14 })),
    of("URG", next({ flags: 0x30 })),
    of("ECE", next({ flags: 0x50 })),
    of("CWR", next({ flags: 0x90 })),
    of("no ACK", next({ flags: 0x00 })),
    of("no payload", tcp(new Uint8Array(0), { family, sequence: SEQUENCE + 100, tcpOptions: TIMESTAMPS })),
    of("more payload", tcp(counting(101), { family, sequence: SEQUENCE + 100, tcpOptions: TIMESTAMPS })),
    of("a wrong TCP checksum", corrupted(next({}), ip + 17)),
    of("a corrupted payload", corrupted(next({}), ip + 60)),
    of("another protocol", nextDatagram({})),
    of("another UDP port", nextDatagram({ ports: [53780, 81] }), datagram),
    of("more UDP payload", udpRun(1, 101, { family }), datagram),
    of("no UDP payload", udpRun(1, 0, { family }), datagram),
    of("no UDP checksum", nextDatagram({ hasChecksum: false }), datagram),
    of("a wrong UDP checksum", corrupted(nextDatagram({}), ip + 7), datagram),
    of(
      "a UDP trailer",
      ipPacket(17, concatTrailer(udpRun(1, 96, { family }).subarray(ip)), { family }),
      datagram,
    ),
    of("a portless protocol", ipPacket(50, counting(108), { family })),
    ...(family === 6
      ? [of("another flow label", next({ flowLabel: 1 }))]
      : [
          of("a wrong header checksum", corrupted(next({}), 11)),
          of("IPv4 options", next({ options: Uint8Array.of(1, 1, 1, 0) })),
          of("no DF", next({ fragmentField: 0 })),
          of("a first fragment", next({ fragmentField: 0x2000 })),
          of("a later fragment", next({ fragmentField: 0x4001 })),
          of(
            "an identification that does not count up, without DF",
            next({ fragmentField: 0, identification: 2 }),
            tcpRun(0, 100, { family, fragmentField: 0 }),
          ),
        ]),
  ];
});

/**
 * A UDP datagram with four bytes behind it (RFC 9868). They add 0xfffb to the sum, and the length in the
 * pseudo-header, taken for the packet's, 4: the checksum would be right over everything, too.
 */
function concatTrailer(datagram: Uint8Array): Uint8Array {
  return Uint8Array.of(...datagram, 0xff, 0xfb, 0, 0);
}

describe("what ends a frame", () => {
  it.each(CONTRADICTIONS)("PF-57, PF-62: %s", (_name, first, packet) => {
    const driver = run([first, packet]);
    expect(segmentsOf(driver)).toEqual([1, 1]);
    expect(driver.written.map(({ bytes }) => bytes.subarray(10))).toEqual([first, packet]);
  });

  it.each([
    ["DF makes the identification meaningless", 0x4000, 77],
    ["it counts up without DF", 0, 1],
  ])("PF-57: %s", (_name, fragmentField, identification) => {
    const first = tcpRun(0, 100, { family: 4, fragmentField });
    const driver = run([first, tcpRun(1, 100, { family: 4, fragmentField, identification })]);
    expect(segmentsOf(driver)).toEqual([2]);
  });

  it("PF-57: the identification counts up through its end", () => {
    const packets = Array.from({ length: 5 }, (_, i) =>
      tcpRun(i, 100, { family: 4, fragmentField: 0, identification: (0xfffd + i) & 0xffff }),
    );
    const driver = run(packets);
    expect(segmentsOf(driver)).toEqual([5]);
    expectSame(resplit(driver), packets);
  });

  it.each([1, 40, 72, 128, 129, 1500])("PF-56: a forged datagram of %i bytes leaves no trace", (bytes) => {
    const packets = Array.from({ length: 6 }, (_, i) => tcpRun(i, 500, { family: 6 }));
    const driver = createDriver(ALL);
    for (const packet of packets) {
      driver.discard(counting(bytes, 77));
      driver.accept(packet);
    }
    driver.discard(counting(bytes, 77));
    driver.close();
    expect(segmentsOf(driver)).toEqual([6]);
    expectSame(resplit(driver), packets);
  });

  it("PF-56: a packet that contradicts is moved, and the frame before it is whole", () => {
    const first = Array.from({ length: 5 }, (_, i) => tcpRun(i, 1000, { family: 4 }));
    const second = Array.from({ length: 5 }, (_, i) => tcpRun(i, 900, { family: 4, ports: [1, 2] }));
    const packets = [...first, ...second, ...first, ...second];
    const driver = run(packets);
    expect(segmentsOf(driver)).toEqual([5, 5, 5, 5]);
    expectSame(resplit(driver), packets);
  });

  it("PF-56: interleaved flows stay in order", () => {
    const packets = Array.from({ length: 20 }, (_, i) =>
      tcpRun(i >> 1, 700, { family: 6, ports: [i % 2, 80] }),
    );
    const driver = run(packets);
    expect(segmentsOf(driver)).toEqual(Array.from(packets, () => 1));
    expect(driver.written.map(({ bytes }) => bytes.subarray(10))).toEqual(packets);
  });
});

interface RunStep {
  readonly kind: "next";
  readonly flow: number;
  readonly count: number;
  readonly bytes: number;
  readonly flags: number;
  readonly change: string;
}

type Step =
  | RunStep
  | { readonly kind: "forged"; readonly noise: Uint8Array }
  | { readonly kind: "batch" }
  | { readonly kind: "idle" }
  | { readonly kind: "other"; readonly packet: Uint8Array };

const nextPackets: fc.Arbitrary<RunStep> = fc.record({
  kind: fc.constant("next" as const),
  flow: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
  count: fc.constantFrom(1, 1, 2, 5, 20),
  bytes: fc.constantFrom(0, 1, 30, 100, 100, 1368),
  flags: fc.constantFrom(0x10, 0x10, 0x10, 0x18, 0x11, 0x90),
  change: fc.constantFrom("none", "none", "none", "gap", "tos", "corrupt", "options", "window"),
});

/** Streams in which runs are frequent and everything that may end one happens. */
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: nextPackets },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("forged" as const),
      noise: fc
        .tuple(fc.integer({ min: 1, max: 1500 }), fc.nat(255))
        .map(([bytes, seed]) => counting(bytes, seed)),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "batch" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "idle" as const }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("other" as const), packet: hostilePacket }) },
);

/** Plays a stream to the plane and to its twin; returns both. */
function play(steps: readonly Step[], arenaBytes?: number) {
  const driver = createDriver(ALL, arenaBytes);
  const twin = createCoalescer(ALL);
  const sent: Uint8Array[] = [];
  const accept = (packet: Uint8Array): void => {
    sent.push(packet);
    driver.accept(packet);
    twin.accept(packet);
  };
  const closeBoth = (): void => {
    driver.close();
    twin.close();
  };
  const positions = [0, 0, 0, 0];
  for (const one of steps) {
    if (one.kind === "forged") driver.discard(one.noise);
    else if (one.kind === "batch") driver.endBatch();
    else if (one.kind === "idle") closeBoth();
    else if (one.kind === "other") {
      const result = parsePacket(one.packet, PLAIN);
      if (result.ok) accept(one.packet.subarray(0, result.value.totalBytes));
    } else {
      for (let i = 0; i < one.count; i++) accept(nextOf(positions, one));
    }
  }
  closeBoth();
  return { driver, twin, sent };
}

function nextOf(positions: number[], { flow, bytes, flags, change }: RunStep): Uint8Array {
  const at = (positions[flow] ?? 0) + (change === "gap" ? 1 : 0);
  positions[flow] = at + bytes;
  const options: TcpOptions = {
    family: flow % 2 === 0 ? 4 : 6,
    sequence: (SEQUENCE + at) >>> 0,
    flags,
    identification: at & 0xffff,
    tos: change === "tos" ? 3 : 0,
    window: change === "window" ? 1 : 500,
    ...(change === "options" && flow % 2 === 0 && { options: Uint8Array.of(1, 1, 1, 0) }),
  };
  const packet = (flow < 2 ? tcp : udp)(counting(bytes, at), options);
  return change === "corrupt" ? corrupted(packet, packet.length - 1) : packet;
}

describe("coalescing and its twin", () => {
  it("D-4: agree on every stream, and no forged datagram leaves a trace", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: "max" }), (steps) => {
        const { driver, twin } = play(steps);
        expect(segmentsOf(driver)).toEqual(twin.frames.map(({ segments }) => segments));
        expectSame(
          driver.written.map(({ bytes }) => bytes),
          twin.frames.map(({ bytes }) => bytes),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("PF-56: splitting what was written gives every packet back, in order", () => {
    const harmless = step.filter((one) => one.kind !== "next" || one.change !== "window");
    fc.assert(
      fc.property(fc.array(harmless, { maxLength: 30, size: "max" }), (steps) => {
        const { driver, sent } = play(steps);
        expectSame(resplit(driver).map(withoutIdentification), sent.map(withoutIdentification));
      }),
      { numRuns: 200 },
    );
  });

  it("D-8: the smallest arena fills up in the middle of batches and loses nothing", () => {
    let fullCount = 0;
    const long = nextPackets.map((one) => ({ ...one, change: "none", count: 20, bytes: 1368 }));
    fc.assert(
      fc.property(fc.array(long, { minLength: 10, maxLength: 20, size: "max" }), (steps) => {
        const { driver, sent } = play(steps, 0x40000);
        fullCount += driver.fullCount();
        expectSame(resplit(driver).map(withoutIdentification), sent.map(withoutIdentification));
      }),
      { numRuns: 10 },
    );
    expect(fullCount).toBeGreaterThan(0);
  });

  it("D-8: a list of 256 frames is enough for any batch, and a longer batch is told to write first", () => {
    const driver = createDriver(ALL);
    const packets = Array.from({ length: 1000 }, (_, i) => udpRun(i, 20, { family: 4, ports: [i, 1] }));
    for (const packet of packets) driver.accept(packet);
    driver.close();
    expect(driver.fullCount()).toBeGreaterThan(2);
    expect(driver.written.map(({ bytes }) => bytes.subarray(10))).toEqual(packets);
  });
});

/** With DF the identification of a merged packet may change (RFC 6864), and its checksum with it. */
function withoutIdentification(packet: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(packet);
  if ((copy[0] ?? 0) >> 4 === 4 && ((copy[6] ?? 0) & 0x40) !== 0) {
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
  }
  return copy;
}
