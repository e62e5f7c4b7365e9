import { describe, expect, it } from "vitest";
import { concatBytes } from "../../../src/base/index.ts";
import { checksumAdd } from "../../../src/packet/checksum.ts";
import type { MalformedPacket, PacketLimits } from "../../../src/packet/ip.ts";
import fc from "../../lib/property.ts";
import {
  encodeVnet,
  type MalformedFrame,
  pseudoSumOf,
  setU16,
  splitFrame,
  type VnetHeader,
} from "../../twin/plane/split.ts";
import { counting, hostilePacket, ipPacket, tcp, udp } from "./packets.ts";
import { createSplitter, MODES } from "./split-driver.ts";

const { plane, split } = createSplitter();
const LIMITS: PacketLimits = { limitBytes: 1420, mode: "strict" };

/** A super-frame as the kernel gives it: the checksum field holds the pseudo-header's sum (PF-32). */
function superFrame(packet: Uint8Array, gsoBytes: number, vnet: Partial<VnetHeader> = {}) {
  const isV6 = (packet[0] ?? 0) >> 4 === 6;
  const start = isV6 ? 40 : ((packet[0] ?? 0) & 15) * 4;
  const isUdp = packet[isV6 ? 6 : 9] === 17;
  const frame = concatBytes(
    encodeVnet({
      needsChecksum: true,
      gsoType: isUdp ? 5 : isV6 ? 4 : 1,
      headerBytes: start,
      gsoBytes,
      checksumStart: start,
      checksumOffset: isUdp ? 6 : 16,
      ...vnet,
    }),
    packet,
  );
  const pseudo = pseudoSumOf(packet, packet.length - start, isUdp ? 17 : 6);
  setU16(frame, 10 + start + (isUdp ? 6 : 16), pseudo);
  return frame;
}

const single = (packet: Uint8Array, vnet: Partial<VnetHeader> = {}) =>
  concatBytes(
    encodeVnet({
      needsChecksum: false,
      gsoType: 0,
      headerBytes: 0,
      gsoBytes: 0,
      checksumStart: 0,
      checksumOffset: 0,
      ...vnet,
    }),
    packet,
  );

const FIN_PSH_ACK_CWR = 0x80 | 0x10 | 0x08 | 0x01;
const TIMESTAMPS = Uint8Array.of(1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8);

describe("splitting of super-frames", () => {
  it("PF-32: TCP over IPv4: lengths, identification, sequence, flags and checksums of each segment", () => {
    const options = { family: 4, identification: 0xffff, tcpOptions: TIMESTAMPS } as const;
    const payload = counting(3000);
    const frame = superFrame(
      tcp(payload, { ...options, sequence: 0xffff_fff0, flags: FIN_PSH_ACK_CWR }),
      1368,
    );
    expect(split(frame, LIMITS)).toEqual({
      ok: true,
      value: [
        tcp(payload.subarray(0, 1368), { ...options, sequence: 0xffff_fff0, flags: 0x90 }),
        tcp(payload.subarray(1368, 2736), { ...options, identification: 0, sequence: 1352, flags: 0x10 }),
        tcp(payload.subarray(2736), { ...options, identification: 1, sequence: 2720, flags: 0x19 }),
      ],
    });
  });

  it("PF-32: TCP over IPv6", () => {
    const payload = counting(2500, 3);
    const options = { family: 6, tos: 2, flowLabel: 0x12345 } as const;
    expect(split(superFrame(tcp(payload, { ...options, flags: 0x18 }), 1360), LIMITS)).toEqual({
      ok: true,
      value: [
        tcp(payload.subarray(0, 1360), { ...options, flags: 0x10 }),
        tcp(payload.subarray(1360), { ...options, sequence: 0x01020304 + 1360, flags: 0x18 }),
      ],
    });
  });

  it.each([4, 6] as const)("PF-34a: UDP over IPv%i, the last datagram shorter", (family) => {
    const payload = counting(1250, 9);
    const frame = superFrame(udp(payload, { family, identification: 7 }), 600);
    const parts = [payload.subarray(0, 600), payload.subarray(600, 1200), payload.subarray(1200)];
    expect(split(frame, LIMITS)).toEqual({
      ok: true,
      value: parts.map((part, i) => udp(part, { family, identification: 7 + i })),
    });
  });

  it("TN-8: stores a UDP checksum of zero as 0xffff, in super-frames and single packets", () => {
    // The two bytes make the sum of everything else come to 0xffff.
    const bare = udp(Uint8Array.of(0, 0), { family: 4 });
    const [high, low] = [bare[26] ?? 0, bare[27] ?? 0];
    const packet = udp(Uint8Array.of(high, low), { family: 4 });
    expect([packet[26], packet[27]]).toEqual([0xff, 0xff]);
    expect(split(superFrame(packet, 2), LIMITS)).toEqual({ ok: true, value: [packet] });
    const partial = Uint8Array.from(packet);
    setU16(partial, 26, pseudoSumOf(packet, 10, 17));
    const frame = single(partial, { needsChecksum: true, checksumStart: 20, checksumOffset: 6 });
    expect(split(frame, LIMITS)).toEqual({ ok: true, value: [packet] });
  });

  it.each([
    ["payload below gso_size", 100, 1000],
    ["payload equal to gso_size", 100, 100],
    ["no payload", 0, 1000],
  ])("PF-33: a super-frame of one segment: %s", (_name, payloadBytes, gso) => {
    const packet = tcp(counting(payloadBytes), { family: 4, flags: FIN_PSH_ACK_CWR });
    expect(split(superFrame(packet, gso), LIMITS)).toEqual({ ok: true, value: [packet] });
  });

  it("PF-54: segments shorter than their headers", () => {
    const payload = counting(10);
    const result = split(superFrame(tcp(payload, { family: 6 }), 1), LIMITS);
    expect(result).toEqual({
      ok: true,
      value: [...payload].map((byte, i) => tcp(Uint8Array.of(byte), { family: 6, sequence: 0x01020304 + i })),
    });
  });

  it("TN-4: a full frame of 65,535 bytes", () => {
    const payload = counting(65_535 - 40);
    const frame = superFrame(tcp(payload, { family: 4 }), 1380);
    const result = split(frame, LIMITS);
    expect(result).toMatchObject({ ok: true });
    expect(result).toEqual(splitFrame(frame, LIMITS));
    expect(result).toHaveProperty("value.length", 48);
  });

  it("PF-32: completes the checksum of a single packet, over its own bytes only", () => {
    const packet = tcp(counting(77), { family: 4, tcpOptions: TIMESTAMPS });
    const partial = Uint8Array.from(packet);
    setU16(partial, 36, pseudoSumOf(packet, packet.length - 20, 6));
    const vnet = { needsChecksum: true, checksumStart: 20, checksumOffset: 16 };
    expect(split(single(partial, vnet), LIMITS)).toEqual({ ok: true, value: [packet] });
    const padded = concatBytes(single(partial, vnet), Uint8Array.of(1, 2, 3, 4));
    expect(split(padded, LIMITS)).toEqual({ ok: true, value: [packet] });
  });

  it("TN-4: a fragment passes singly where fragments are carried, and is never split", () => {
    const fragment = ipPacket(17, counting(64), { family: 4, fragmentField: 0x2001 });
    expect(split(single(fragment), { ...LIMITS, mode: "plain" })).toEqual({ ok: true, value: [fragment] });
    const frame = single(fragment, { gsoType: 5, gsoBytes: 8 });
    expect(split(frame, { ...LIMITS, mode: "plain" })).toEqual({ ok: false, reason: "tun-header" });
  });
});

const TCP4 = tcp(counting(100), { family: 4 });
const TCP6 = tcp(counting(100), { family: 6 });
const UDP4 = udp(counting(100), { family: 4 });
const GSO = { gsoBytes: 50 };

/** Each frame passes, its neighbour does not; what validation refuses has its examples there. */
const BOUNDARIES = {
  "tun-header": [
    { name: "nothing but half a header", passes: single(TCP4), fails: single(TCP4).subarray(0, 9) },
    {
      name: "more than 65,535 bytes behind the header",
      passes: concatBytes(single(TCP4), new Uint8Array(65_535 - TCP4.length)),
      fails: concatBytes(single(TCP4), new Uint8Array(65_536 - TCP4.length)),
    },
    {
      name: "a checksum field behind the packet",
      passes: single(TCP4, { needsChecksum: true, checksumStart: 20, checksumOffset: TCP4.length - 22 }),
      fails: single(TCP4, { needsChecksum: true, checksumStart: 20, checksumOffset: TCP4.length - 21 }),
    },
    {
      name: "offsets whose sum exceeds 16 bits",
      passes: single(TCP4, { needsChecksum: true, checksumStart: 20, checksumOffset: 0 }),
      fails: single(TCP4, { needsChecksum: true, checksumStart: 20, checksumOffset: 65_535 }),
    },
    {
      name: "a checksum that begins in the IP header",
      passes: single(TCP6, { needsChecksum: true, checksumStart: 40, checksumOffset: 16 }),
      fails: single(TCP6, { needsChecksum: true, checksumStart: 39, checksumOffset: 16 }),
    },
    { name: "TCPV6 on IPv4", passes: superFrame(TCP6, 50), fails: superFrame(TCP4, 50, { gsoType: 4 }) },
    { name: "TCPV4 on IPv6", passes: superFrame(TCP4, 50), fails: superFrame(TCP6, 50, { gsoType: 1 }) },
    { name: "UDP_L4 on TCP", passes: superFrame(UDP4, 50), fails: superFrame(TCP4, 50, { gsoType: 5 }) },
    { name: "TCPV4 on UDP", passes: superFrame(TCP4, 50), fails: superFrame(UDP4, 50, { gsoType: 1 }) },
    { name: "gso_size 0", passes: superFrame(TCP4, 1), fails: superFrame(TCP4, 0) },
    {
      name: "a checksum start elsewhere",
      passes: superFrame(TCP4, 50, { needsChecksum: false, checksumStart: 24 }),
      fails: superFrame(TCP4, 50, { checksumStart: 24 }),
    },
    {
      name: "a checksum offset of another protocol",
      passes: superFrame(UDP4, 50),
      fails: superFrame(UDP4, 50, { checksumOffset: 16 }),
    },
    {
      name: "headers longer than are kept",
      // 40 + 58 × 8 + 8 bytes are 512; one unit more is too long.
      passes: single(ipPacket(60, extended(57), { family: 6 }), { gsoType: 5, ...GSO }),
      fails: single(ipPacket(60, extended(58), { family: 6 }), { gsoType: 5, ...GSO }),
    },
  ],
  "tun-gso-type": [
    { name: "UFO", passes: superFrame(UDP4, 50), fails: superFrame(UDP4, 50, { gsoType: 3 }) },
    { name: "type 2", passes: superFrame(TCP4, 50), fails: superFrame(TCP4, 50, { gsoType: 2 }) },
    {
      name: "the ECN bit without a type",
      passes: superFrame(TCP4, 50, { gsoType: 0x81 }),
      fails: superFrame(TCP4, 50, { gsoType: 0x80 }),
    },
  ],
  "ip-too-big": [
    {
      name: "segments above the limit",
      passes: superFrame(tcp(counting(3000), { family: 4 }), 1380),
      fails: superFrame(tcp(counting(3000), { family: 4 }), 1381),
    },
    {
      name: "one segment above the limit",
      passes: superFrame(tcp(counting(1380), { family: 4 }), 9000),
      fails: superFrame(tcp(counting(1381), { family: 4 }), 9000),
    },
    {
      name: "a single packet above the limit",
      passes: single(tcp(counting(1380), { family: 4 })),
      fails: single(tcp(counting(1381), { family: 4 })),
    },
  ],
} satisfies Record<
  Exclude<MalformedFrame, MalformedPacket> | "ip-too-big",
  readonly { readonly name: string; readonly passes: Uint8Array; readonly fails: Uint8Array }[]
>;

/** A destination options header of 8 × (units + 1) bytes before a UDP datagram with 100 bytes. */
function extended(units: number): Uint8Array {
  const header = new Uint8Array(8 * (units + 1));
  header.set([17, units, 1, header.length - 4]);
  return concatBytes(header, udp(counting(100), { family: 6 }).subarray(40));
}

const CASES = Object.entries(BOUNDARIES).flatMap(([reason, boundaries]) =>
  boundaries.map((boundary) => ({ reason, ...boundary })),
);

describe("refusal of frames", () => {
  it.each(CASES)("PF-31, TN-4: $reason for $name, and not for its neighbour", ({ reason, passes, fails }) => {
    expect(split(fails, LIMITS)).toEqual({ ok: false, reason });
    expect(splitFrame(fails, LIMITS)).toEqual({ ok: false, reason });
    expect(split(passes, LIMITS)).toMatchObject({ ok: true });
  });

  it("PF-32: agrees with its twin on frames of every kind, hostile headers included", () => {
    fc.assert(
      fc.property(frames, fc.constantFrom("plain" as const, "strict" as const), (frame, mode) => {
        const limits = { limitBytes: 1420, mode };
        expect(split(frame, limits)).toEqual(splitFrame(frame, limits));
      }),
      { numRuns: 600 },
    );
  });

  it("D-6: every segment of an accepted TCP or UDP frame has right checksums", () => {
    fc.assert(
      fc.property(goodFrames, (frame) => {
        const result = split(frame, LIMITS);
        for (const segment of result.ok ? result.value : []) {
          const isV6 = (segment[0] ?? 0) >> 4 === 6;
          const start = isV6 ? 40 : ((segment[0] ?? 0) & 15) * 4;
          if (!isV6) expect(checksumAdd(segment.subarray(0, start))).toBe(0xffff);
          const transport = segment.subarray(start);
          const pseudo = pseudoSumOf(segment, transport.length, segment[isV6 ? 6 : 9] ?? 0);
          expect(checksumAdd(transport, pseudo)).toBe(0xffff);
        }
        expect(result.ok).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  it("D-8: never traps at the end of memory, and a refused frame has no segments", () => {
    fc.assert(
      fc.property(frames, (frame) => {
        const at = plane.end - frame.length;
        plane.bytes.set(frame, at);
        const { descriptor, split } = plane;
        const count = plane.wasm.splitBegin(at, frame.length, 1420, MODES.plain, descriptor, split);
        let given = 0;
        while (given < 70_000 && plane.wasm.splitNext(split) !== 0) given++;
        expect(given).toBe(Math.max(0, count));
      }),
      { numRuns: 300 },
    );
  });
});

const goodFrames = fc
  .record({
    family: fc.constantFrom(4 as const, 6 as const),
    isUdp: fc.boolean(),
    payloadBytes: fc.integer({ min: 1, max: 5000 }),
    seed: fc.nat(255),
    gso: fc.integer({ min: 40, max: 1320 }),
    flags: fc.nat(255),
    tos: fc.nat(255),
    identification: fc.nat(65535),
    optionWords: fc.nat(10),
  })
  .map(({ isUdp, payloadBytes, seed, gso, optionWords, ...rest }) => {
    const payload = counting(payloadBytes, seed);
    const tcpOptions = counting(optionWords * 4, seed);
    return superFrame(isUdp ? udp(payload, rest) : tcp(payload, { ...rest, tcpOptions }), gso);
  });

/** Frames with right, wrong and random virtio headers around right, wrong and random packets. */
const frames = fc
  .record({
    base: fc.oneof(
      { weight: 3, arbitrary: goodFrames },
      { weight: 1, arbitrary: hostilePacket.map((packet) => single(packet)) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }) },
    ),
    changes: fc.array(
      fc.tuple(
        fc.nat(9),
        fc.oneof({ weight: 2, arbitrary: fc.constantFrom(0, 1, 5, 6, 16, 20, 40) }, fc.nat(255)),
      ),
      { maxLength: 2 },
    ),
    flips: fc.array(fc.tuple(fc.nat(90), fc.nat(7)), { maxLength: 1 }),
    cut: fc.constantFrom(0, 0, 0, 1, 30),
  })
  .map(({ base, changes, flips, cut }) => {
    const frame = base.slice(0, Math.max(0, base.length - cut));
    for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
    for (const [at, bit] of flips) if (at < frame.length) frame[at] = (frame[at] ?? 0) ^ (1 << bit);
    return frame;
  });
