/** Packets cut up to what their path carries (TN-121). */
import { describe, expect, it } from "vitest";
import { concatBytes, ip } from "../../../src/base/index.ts";
import {
  cutPacket,
  cutUdp,
  encodeIcmp,
  fragmentOf,
  parsePacket,
  viewPacket,
} from "../../../src/packet/index.ts";
import fc from "../../lib/property.ts";
import { counting, fragmentsOf, ipPacket, tcp, udp } from "../plane/packets.ts";

const MTU = 1220;
const ID = 0xabcd_1234;
const V4 = { family: 4, source: ip("10.1.0.1"), destination: ip("10.2.0.1") } as const;
const V6 = { family: 6, source: ip("fd01::1"), destination: ip("fd02::1") } as const;
const NO_DF = 0;
/** Of ICMP and ICMPv6: a place cannot be reached. */
const ERRORS: readonly number[] = [3, 1];

const isTaken = (packet: Uint8Array): boolean => parsePacket(packet, { limitBytes: 1280, mode: "strict" }).ok;
const cut = (packet: Uint8Array, mtu = MTU) => cutPacket(packet, mtu, ID);
const u16 = (packet: Uint8Array, at: number) => ((packet[at] ?? 0) << 8) | (packet[at + 1] ?? 0);

/** Where a fragment lies in its datagram, and whether more follow. */
function placeOf(packet: Uint8Array): { readonly position: number; readonly hasMore: boolean } {
  const at = packet.length - viewPacket(packet).transport.length;
  if ((packet[0] ?? 0) >> 4 === 6) {
    const field = u16(packet, at - 6);
    return { position: field & 0xfff8, hasMore: (field & 1) !== 0 };
  }
  const field = u16(packet, 6);
  return { position: (field & 0x1fff) * 8, hasMore: (field & 0x2000) !== 0 };
}

/** What a receiver makes of the pieces: the transport. They follow each other, of one datagram. */
function joined(pieces: readonly Uint8Array[]): Uint8Array {
  let bytes = new Uint8Array();
  expect(new Set(pieces.map((piece) => fragmentOf(piece)?.datagram)).size).toBe(1);
  for (const [i, piece] of pieces.entries()) {
    expect(placeOf(piece)).toEqual({ position: bytes.length, hasMore: i + 1 < pieces.length });
    bytes = concatBytes(bytes, viewPacket(piece).transport);
  }
  return bytes;
}

describe("a packet longer than its path", () => {
  it("TN-121: of IPv4 without DF goes in pieces that keep its number; what fits stays as it is", () => {
    const long = udp(counting(1280 - 28), { ...V4, fragmentField: NO_DF, identification: 77 });
    expect(cut(long)).toEqual(fragmentsOf(long, 1200, 77));
    const fitting = udp(counting(MTU - 28), V4);
    expect(cut(fitting)).toEqual([fitting]);
    expect(cut(udp(counting(MTU - 27), { ...V4, fragmentField: NO_DF }))).toHaveLength(2);
  });

  it("TN-121: of IPv4 with DF, which control has made, gets a number", () => {
    const long = udp(counting(1280 - 28), V4);
    expect(cut(long)).toEqual(fragmentsOf(long, 1200, ID & 0xffff));
  });

  it("TN-121: of IPv6 gets a fragment header", () => {
    const long = udp(counting(1280 - 48), V6);
    expect(cut(long)).toEqual(fragmentsOf(long, 1168, ID));
    expect(cut(long, 1196)).toEqual(fragmentsOf(long, 1144, ID));
  });

  it("TN-121: a fragment is cut up further", () => {
    for (const ends of [{ ...V4, fragmentField: NO_DF }, V6]) {
      const whole = udp(counting(3000), ends);
      const pieces = fragmentsOf(whole, 1232 - (ends.family === 6 ? 8 : 0)).flatMap((each) => cut(each));
      expect(pieces.length).toBeGreaterThan(4);
      expect(joined(pieces)).toEqual(viewPacket(whole).transport);
    }
  });

  it("TN-121, TN-111: every piece fits and is taken, and together they are the packet", () => {
    const sizes = fc.record({
      bytes: fc.integer({ min: 1000, max: 1230 }),
      mtu: fc.integer({ min: 548, max: 1240 }),
    });
    const kinds = fc.record({ isV6: fc.boolean(), isTcp: fc.boolean(), options: fc.constantFrom(0, 4, 40) });
    fc.assert(
      fc.property(sizes, kinds, ({ bytes, mtu }, { isV6, isTcp, options }) => {
        const ends = isV6 ? V6 : { ...V4, fragmentField: NO_DF, options: new Uint8Array(options).fill(1) };
        const most = 1280 - (isV6 ? 40 : 20 + options) - 20;
        const packet = (isTcp ? tcp : udp)(counting(Math.min(bytes, most)), ends);
        const pieces = cut(packet, mtu);
        if (packet.length <= mtu) {
          expect(pieces).toEqual([packet]);
          return;
        }
        for (const piece of pieces) {
          expect(piece.length).toBeLessThanOrEqual(mtu);
          expect(isTaken(piece)).toBe(true);
        }
        expect(joined(pieces)).toEqual(viewPacket(packet).transport);
      }),
    );
  });

  it("TN-121, TN-111: the fragment header stands behind extension headers", () => {
    const udpBytes = viewPacket(udp(counting(1200), V6)).transport;
    // Hop-by-hop options and destination options, each of padding only.
    const hopByHop = Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0);
    const destination = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
    const packet = ipPacket(0, concatBytes(hopByHop, destination, udpBytes), V6);
    const pieces = cut(packet);
    expect(pieces.map(({ length }) => length <= MTU)).toEqual([true, true]);
    expect(pieces.every(isTaken)).toBe(true);
    expect([pieces[0]?.[6], pieces[0]?.[40], pieces[0]?.[48], pieces[0]?.[56]]).toEqual([0, 60, 44, 17]);
    expect(joined(pieces)).toEqual(udpBytes);
  });

  it.each([
    ["UDP", 17, () => viewPacket(udp(counting(4), V6)).transport],
    ["an ICMPv6 error", 58, () => Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
  ])("TN-121: headers that leave no room for a piece leave it whole: %s", (_, protocol, transport) => {
    const lengths: number[] = [];
    for (let units = 1; 40 + 8 * units + transport().length <= 1280; units++) {
      const options = new Uint8Array(8 * units);
      options.set([protocol, units - 1]);
      const packet = ipPacket(60, concatBytes(options, transport()), V6);
      for (const piece of cutPacket(packet, packet.length - 1, ID))
        lengths.push(piece.length - packet.length);
    }
    expect(lengths).toEqual(lengths.map(() => 0));
  });
});

describe("an ICMP message longer than its path", () => {
  const icmp = (ends: typeof V4 | typeof V6, type: number): Uint8Array => {
    const quote = udp(counting(1280), { ...ends, source: ends.destination, destination: ends.source });
    const { source, destination } = ends;
    const body = quote.subarray(0, 1232);
    const code = ERRORS.includes(type) ? 1 : 0;
    const made = encodeIcmp({ source, destination, type, code, body });
    return made.ok ? made.value : expect.fail(made.reason);
  };

  it.each([
    [V4, 3],
    [V6, 1],
  ] as const)("TN-121, TN-111: an error quotes less", (ends, type) => {
    const [error, ...more] = cut(icmp(ends, type));
    expect(more).toEqual([]);
    expect(error?.length).toBe(MTU);
    const full = icmp(ends, type);
    const shorter = viewPacket(full).transport.subarray(
      8,
      8 + MTU - (full.length - viewPacket(full).transport.length) - 8,
    );
    const made = encodeIcmp({ ...ends, type, code: 1, body: shorter });
    expect(made.ok && made.value).toEqual(error);
  });

  it("TN-121: an echo goes in pieces, and what may only be whole stays so", () => {
    for (const [ends, type] of [
      [V4, 8],
      [V6, 128],
    ] as const) {
      const echo = icmp(ends, type);
      const pieces = cut(echo);
      expect(pieces).toHaveLength(2);
      expect(pieces.every(isTaken)).toBe(true);
      expect(joined(pieces)).toEqual(viewPacket(echo).transport);
    }
    const report = icmp(V6, 143);
    expect(cut(report)).toEqual([report]);
  });
});

describe.each([
  ["IPv4", V4, 1256, 65_507, ID & 0xffff],
  ["IPv6", V6, 1232, 65_487, ID],
] as const)(
  "a datagram longer than a packet of the tunnel, over %s",
  (_, ends, step, most, identification) => {
    const [from, to] = [
      { address: ends.source, port: 5000 },
      { address: ends.destination, port: 443 },
    ];
    const whole = (bytes: number) => udp(counting(bytes), { ...ends, ports: [5000, 443] });

    it("PG-129: leaves in as few packets as carry it, which a router may cut up further", () => {
      for (const bytes of [step + 1, 2 * step - 8, 2 * step - 7, 9000, most]) {
        const pieces = cutUdp(from, to, counting(bytes), ID);
        expect(pieces).toEqual(fragmentsOf(whole(bytes), step, identification));
        expect(pieces).toHaveLength(Math.ceil((bytes + 8) / step));
        expect(pieces.every(isTaken)).toBe(true);
      }
    });

    it("PG-129: is none where it is longer than a datagram can be", () => {
      expect(cutUdp(from, to, counting(most), ID)).not.toEqual([]);
      expect(cutUdp(from, to, counting(most + 1), ID)).toEqual([]);
    });
  },
);
